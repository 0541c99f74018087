"""One condition: what its signals say, when it is lost, and when it is met again."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agent_service.agents import condition as module
from agent_service.agents.condition import Condition
from agent_service.agents.losses import Losses
from agent_service.agents.silent_signals import LOST_AFTER_S, LOST_THOUGH_IT_TELLS_S, SILENT_AFTER_S
from agent_service.models import ConditionSpec, ConditionState
from agent_service.models.condition_rules import parse_condition
from agent_service.models.guardrail_rules import NotARule
from agent_service.protocols import SignalReading


class Clock:
    """Stands for an event loop and for `time`: a test says how late it is."""

    def __init__(self):
        self.now = 1000.0
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, delay, call):
        timer = Timer(self.now + delay, call)
        self.timers.append(timer)
        return timer

    def to(self, now):
        self.now = now
        due = [timer for timer in self.timers if timer.at <= now]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            if not timer.cancelled:
                timer.call()


class Timer:
    def __init__(self, at, call):
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def clock(monkeypatch):
    one = Clock()
    monkeypatch.setattr(module.time, "time", one.time)
    return one


class Watched:
    """A condition, and what it told."""

    def __init__(self, clock, *, watched_since=0.0, tells_changes=True, **spec):
        self.told = []
        self.watched = {"watched_since": watched_since, "tells_changes": tells_changes}
        self.clock = clock
        self.one = Condition(
            "beam",
            ConditionSpec.model_validate({"rule": "ring > 100", "settle_s": 10, **spec}),
            Losses(),
            loop=clock,
            note=lambda state, at, reason: self.told.append((str(state), at, reason)),
        )

    def says(self, value, *, at=None, asked=True, fault="", signal="ring"):
        now = self.clock.now
        when = now if at is None else at
        asked_at = now - 0.01 if asked else None
        self.one.on_reading(signal, SignalReading(value, when, now, asked_at, "mA", fault, **self.watched))

    def met(self):
        self.one.begin(self.clock.now, "not heard of yet")
        for _ in range(10):
            self.says(300.0)
            self.clock.to(self.clock.now + 1)
        assert self.one.state is ConditionState.MET
        self.says(300.0)
        self.told.clear()


def test_it_is_lost_until_it_was_met_for_its_settle_time(clock):
    watched = Watched(clock)
    watched.one.begin(clock.now, "not heard of yet")
    assert watched.one.text == "nothing was heard of ring yet"
    watched.says(300.0)
    assert watched.one.state is ConditionState.SETTLING
    clock.to(1005)
    watched.says(50.0)
    assert watched.one.text == "ring 50 mA, needs > 100"
    watched.says(300.0)
    clock.to(1014)
    assert watched.one.unmet
    clock.to(1015)
    assert not watched.one.unmet
    assert watched.told == [("lost", 1000.0, "not heard of yet"), ("met", 1015.0, "ring 300 mA")]


@pytest.mark.parametrize(
    ("at", "begins"),
    [
        (1010.6, 1010.6),  # after it was known to be met, and before it was heard: the signal's own time
        (1005.0, 1009.99),  # a clock that is late
        (1300.0, 1009.99),  # a clock that is early
    ],
)
def test_a_loss_begins_when_the_signal_says_where_that_can_be(clock, at, begins):
    watched = Watched(clock)
    watched.met()  # it is 1010 now
    clock.to(1011)
    watched.says(0.0, at=at, asked=False)
    assert watched.told == [("lost", pytest.approx(begins), "ring 0 mA, needs > 100")]


@pytest.mark.parametrize("fault", ["it is disconnected", ""])
def test_what_is_not_known_is_not_met_since_it_was_known_last(clock, fault):
    watched = Watched(clock)
    watched.met()
    clock.to(1010.5)
    watched.says(None, fault=fault, at=1000)
    [(state, at, reason)] = watched.told
    assert (state, at) == ("lost", pytest.approx(1009.99))
    assert reason == f"ring is not known: {fault or 'it has no value'}"


def test_a_signal_that_is_silent_holds_the_agents_and_what_it_says_then_decides(clock):
    watched = Watched(clock)
    watched.met()
    clock.to(1010 + SILENT_AFTER_S)
    watched.one.look(clock.now)
    assert not watched.one.unmet
    clock.to(1018)
    watched.one.look(clock.now)
    assert (watched.one.state, watched.one.unmet) == (ConditionState.SILENT, True)
    assert watched.one.text == "nothing was heard of ring for 8 s"
    assert not watched.one.heard_since(1011), "an outcome waits"
    clock.to(1022)
    watched.says(300.0)
    assert watched.one.unmet, "a change that waited may be heard behind the answer"
    clock.to(1023.1)
    watched.says(300.0)
    assert (watched.one.state, watched.told) == (ConditionState.MET, [])
    assert watched.one.heard_since(1023)


def test_a_loss_that_waited_in_a_busy_process_is_one_from_when_it_was(clock):
    watched = Watched(clock)
    watched.met()
    clock.to(1022)
    watched.says(300.0)
    watched.says(0.0, at=1013, asked=False)
    watched.says(300.0, at=1014, asked=False)
    assert watched.told == [("lost", 1013, "ring 0 mA, needs > 100")]
    assert watched.one.losses.overlapping(1012, 1013.5)
    assert not watched.one.losses.overlapping(1011, 1012)
    assert watched.one.state is ConditionState.SETTLING


@pytest.mark.parametrize(
    ("tells_changes", "longest_s"), [(False, LOST_AFTER_S), (True, LOST_THOUGH_IT_TELLS_S)], ids=["asked", "told"]
)
@pytest.mark.parametrize("heard", [False, True])
def test_a_silence_that_is_too_long_is_a_loss(clock, tells_changes, longest_s, heard):
    watched = Watched(clock, tells_changes=tells_changes)
    watched.met()
    clock.to(1010 + longest_s)
    watched.one.look(clock.now)
    assert watched.told == []
    clock.to(1012 + longest_s)
    watched.says(300.0) if heard else watched.one.look(clock.now)
    [(state, at, reason)] = watched.told
    assert (state, at) == ("lost", pytest.approx(1009.99))
    says = "nobody heard of ring for" if heard else "ring is not known: it has not answered for"
    assert reason == f"{says} {2 + longest_s:.0f} s"


def test_it_does_not_settle_while_it_is_silent(clock):
    watched = Watched(clock)
    watched.met()
    watched.says(0.0)
    watched.says(300.0)
    clock.to(1016)
    watched.one.look(clock.now)
    clock.to(1025)
    assert watched.one.state is ConditionState.LOST
    watched.says(300.0)
    clock.to(1035)
    assert watched.one.state is ConditionState.MET


def test_what_was_watched_while_the_service_was_away_is_known_and_what_was_not_is_lost(clock):
    """The last fact of the service before is of 700; a process watched the signal since 100."""
    for watched_since, lost in ((100.0, False), (900.0, True), (None, True)):
        clock.now = 1000.0
        watched = Watched(clock, watched_since=watched_since)
        watched.one.go_on(700.0)
        assert (watched.one.state, watched.one.unmet) == (ConditionState.SILENT, True)
        assert not watched.one.heard_since(1000)
        for at in range(701, 1001):  # what was kept comes first
            watched.one.on_reading("ring", SignalReading(300.0, at, at, at - 0.01, "mA", **watched.watched))
            assert watched.one.unmet or at > 990
        assert watched.one.unmet is lost
        reason = "nobody watched it while the service was not there"
        assert watched.told == ([("lost", 700.0, reason)] if lost else [])


def test_a_service_that_ended_soon_after_it_began_was_watched_all_the_same(clock):
    """The signal is watched since 699; the first word of it is older, and the last fact but two seconds younger."""
    watched = Watched(clock, settle_s=0, watched_since=699.0)
    watched.one.losses.begin(690.0, "nothing was heard of ring yet")
    watched.one.losses.end(699.1)
    watched.one.go_on(698.5)
    watched.one.on_reading("ring", SignalReading(300.0, 600.0, 699.05))  # before it is known since when it is watched
    for at in range(700, 1001):
        watched.one.on_reading("ring", SignalReading(300.0, at, at, at - 0.01, "mA", **watched.watched))
    assert watched.told == []
    assert not watched.one.unmet


def test_a_loss_while_the_service_was_away_is_known(clock):
    watched = Watched(clock, settle_s=0)
    watched.one.go_on(700.0)
    for at in range(701, 1001):
        value = 0.0 if 750 <= at < 760 else 300.0
        watched.one.on_reading("ring", SignalReading(value, at, at, at - 0.01, "mA", **watched.watched))
    assert watched.told == [("lost", 750, "ring 0 mA, needs > 100")]
    assert watched.one.losses.overlapping(700, 751)
    assert not watched.one.losses.overlapping(700, 749)


def test_a_reading_that_was_overtaken_says_nothing(clock):
    watched = Watched(clock)
    watched.met()
    watched.one.on_reading("ring", SignalReading(0.0, 1009.9, 1009.95, 1009.9))
    assert not watched.one.unmet


def test_a_clock_that_was_set_back_hides_no_loss(clock):
    watched = Watched(clock, settle_s=0)
    watched.met()
    clock.now = 400.0
    watched.says(0.0)
    assert watched.one.state is ConditionState.LOST
    assert "ring 0 mA, needs > 100" in watched.one.text
    assert watched.one.losses.overlapping(398, 399), "since the clock says so"
    clock.to(401)
    watched.says(300.0)
    clock.to(402)
    watched.says(300.0)
    assert watched.one.state is ConditionState.MET


def test_it_has_been_heard_since_when_each_signal_answered_after_that(clock):
    watched = Watched(clock, rule="ring > 100 and shutter == 1", settle_s=0)
    watched.says(300.0)
    watched.says(1.0, signal="shutter")
    clock.to(1001)
    assert not watched.one.heard_since(clock.now)
    clock.to(1002)
    watched.says(300.0)
    assert not watched.one.heard_since(1001)
    watched.says(1.0, signal="shutter", asked=False)
    assert not watched.one.heard_since(1001)
    watched.says(1.0, signal="shutter")
    assert watched.one.heard_since(1001)
    watched.says(0.0, signal="shutter")
    assert watched.one.heard_since(2000)  # it is lost: nobody waits for more
    assert watched.one.text == "ring 300 mA, shutter 0 mA, needs ring > 100 and shutter == 1"


def test_switched_off_it_counts_no_more_and_on_again_as_it_is_then(clock):
    watched = Watched(clock, settle_s=0)
    watched.met()
    clock.to(1011)
    watched.says(0.0)
    watched.one.switched(off_by="amy")
    assert (watched.one.state, watched.one.unmet) == (ConditionState.OFF, False)
    assert watched.one.text == "beam is switched off by amy: what is measured counts without it"
    assert watched.one.losses.current is None
    clock.to(1020)
    watched.says(0.0)
    assert not watched.one.unmet
    watched.one.switched(off_by=None)
    assert watched.one.state is ConditionState.LOST
    assert watched.told[-1][1] == 1020


@pytest.mark.parametrize(
    ("suspender", "rules"),
    [
        ({"kind": "floor", "suspend": 100, "resume": 200}, ("ring >= 100.0", "ring >= 200.0")),
        ({"kind": "floor", "suspend": 100}, ("ring >= 100.0", "ring >= 100.0")),
        ({"kind": "ceil", "suspend": 5, "resume": 4}, ("ring <= 5.0", "ring <= 4.0")),
        ({"kind": "bool_high"}, ("ring == 0", "ring == 0")),
        ({"kind": "bool_low"}, ("ring != 0", "ring != 0")),
        ({"kind": "band", "band": (1, 2)}, ("1.0 < ring < 2.0", "1.0 < ring < 2.0")),
    ],
)
def test_a_suspender_is_a_rule(suspender, rules):
    spec = ConditionSpec.model_validate({"suspender": {"signal": "ring", **suspender}})
    assert spec.texts == rules
    assert spec.signals == ["ring"]
    assert all(parse_condition(text) for text in rules)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "give rule or suspender, one of the two"),
        ({"rule": "ring > 1", "suspender": {"kind": "bool_low", "signal": "ring"}}, "one of the two"),
        ({"suspender": {"kind": "floor", "signal": "ring"}}, "a suspender of kind floor needs suspend"),
        ({"suspender": {"kind": "bool_low", "signal": "ring", "resume": 1}}, "bool_low takes no resume"),
        ({"suspender": {"kind": "bool_low", "signal": "ring"}, "resume": "ring > 1"}, "suspender.resume"),
        ("ring", "is a number, neither true nor false"),
        ("ring = 3", "to say that two are equal, write =="),
        ({"rule": "shutter > 'open'"}, "'open' is not possible here"),
    ],
)
def test_what_is_no_condition_is_refused_in_words(spec, says):
    with pytest.raises(ValidationError, match=says):
        ConditionSpec.model_validate(spec)


@pytest.mark.parametrize(
    ("rule", "values", "holds"),
    [
        ("ring > 100", {"ring": 101}, True),
        ("ring > 100", {"ring": 100}, False),
        ("ring > 100", {"ring": "101"}, False),
        ("sr.ring > 100 and `2theta` < 9", {"sr.ring": 101.0, "2theta": 3.0}, True),
        ("shutter == 'open'", {"shutter": "open"}, True),
        ('sr.shutter != "closed"', {"sr.shutter": "closed"}, False),
        ('shutter != "closed"', {"shutter": 0}, False),
        ('shutter != "2"', {"shutter": 0}, True),
        ("`front end` == 'two words'", {"front end": "two words"}, True),
        ("1 / ring > 0", {"ring": 0.0}, False),
    ],
)
def test_a_rule_holds_of_what_signals_say(rule, values, holds):
    parsed = parse_condition(rule)
    assert set(parsed.names) == set(values)
    assert parsed.holds(values) is holds


def test_a_rule_without_a_signal_is_none():
    with pytest.raises(NotARule):
        parse_condition("1 < 2")
