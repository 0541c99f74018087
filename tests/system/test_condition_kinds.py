"""Each kind of condition in a service: as bluesky's suspender of that kind, of texts, enumerations and truth values."""

import asyncio
import datetime as dt
import warnings

import beamline_of_conditions as beamline
import numpy as np
import pytest
from beam_ioc import BeamIoc
from bluesky import suspenders
from services import running, wait_until

LEVELS = (150.0, 100.0, 99.9, 100.0, 150.0, 200.0, 200.1, 0.0, 1, True, False, np.bool_(1), -0.5, 99.0, 100.5, 150.0)
KINDS = {
    "floor": ({"suspend": 100}, suspenders.SuspendFloor, (100,), {}),
    "floor_resume": ({"suspend": 100, "resume": 200}, suspenders.SuspendFloor, (100,), {"resume_thresh": 200}),
    "ceil": ({"suspend": 100}, suspenders.SuspendCeil, (100,), {}),
    "ceil_resume": ({"suspend": 150, "resume": 100}, suspenders.SuspendCeil, (150,), {"resume_thresh": 100}),
    "bool_high": ({}, suspenders.SuspendBoolHigh, (), {}),
    "bool_low": ({}, suspenders.SuspendBoolLow, (), {}),
    "band": ({"band": [99, 200]}, suspenders.SuspendWhenOutsideBand, (99, 200), {}),
}


@pytest.fixture
def serve(start):
    def serve(**conditions):
        given = {name: {"settle_s": 0, **one} for name, one in conditions.items()}
        return start(run_engine={"startup": "beamline_of_conditions"}, conditions=given)

    beamline.level.put(150.0)
    yield serve
    beamline.level.put(150.0)


def one(service, name):
    return next(each for each in service.get("conditions")["items"] if each["name"] == name)


def says(service, name, state, value):
    """Wait for a state of a condition whose signal says a value; return it."""

    def there():
        found = one(service, name)
        return (found["state"], found["signals"][0]["value"]) == (state, value) and found

    return wait_until(there, what=lambda: f"{name} {state} at {value}, which is {one(service, name)}")


def test_each_kind_of_suspender_is_met_and_lost_as_bluesky_s_own(serve):
    service = serve(
        **{
            name: {"suspender": {"kind": name.removesuffix("_resume"), "signal": "level", **KINDS[name][0]}}
            for name in KINDS
        }
    )
    theirs = {name: kind(beamline.level, *args, **options) for name, (_, kind, args, options) in KINDS.items()}
    tripped = dict.fromkeys(KINDS, True)  # as ours are until the signal was heard
    for level in LEVELS:
        beamline.level.put(level)
        for name, suspender in theirs.items():
            tripped[name] = (
                not suspender._should_resume(level) if tripped[name] else bool(suspender._should_suspend(level))
            )
            says(service, name, "lost" if tripped[name] else "met", float(level))


@pytest.mark.parametrize("kind", [name for name in KINDS if not name.endswith("_resume")])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "level is not known: it says nan, neither a number nor a text"),
        (float("inf"), "level is not known: it says inf, neither a number nor a text"),
        (None, "level is not known: it says None, neither a number nor a text"),
        (np.zeros(3), "level is not known: it says [0. 0. 0.], neither a number nor a text"),
        ("open", "level open, needs "),
    ],
    ids=["nan", "inf", "None", "array", "text"],
)
def test_what_no_suspender_can_judge_holds_the_agents_and_says_so(serve, kind, value, why):
    met = {"bool_high": 0.0}.get(kind, 100.0)
    beamline.level.put(met)
    with warnings.catch_warnings(action="ignore"):  # ophyd compares an array with a number
        service = serve(beam={"suspender": {"kind": kind, "signal": "level", **KINDS[kind][0]}})
        says(service, "beam", "met", met)
        beamline.level.put(value)
        lost = says(service, "beam", "lost", value if isinstance(value, str) else None)
        assert lost["text"].startswith(why)
        queue = service.get("queue")
        assert (queue["state"], queue["reason"]) == ("suspended", lost["text"])
        beamline.level.put(met)
        says(service, "beam", "met", met)


LONG = "the machine is in a study, and nobody has beam until noon"


@pytest.mark.parametrize(
    ("rule", "met", "unmet", "shown"),
    [
        ('mode == "user beam"', beamline.Mode.USER, beamline.Mode.STUDY, "machine study"),
        ('mode != "machine study"', beamline.Mode.USER, beamline.Mode.STUDY, "machine study"),
        (f'message != "{LONG}"', "", LONG, LONG),
        (f'message == "{LONG}"', LONG, LONG + "!", LONG + "!"),
        ('message == "10"', "10", "10.0", "10.0"),
    ],
)
def test_a_text_is_compared_as_it_is(serve, rule, met, unmet, shown):
    signal = rule.split()[0]
    device = getattr(beamline, signal)
    device.put(met)
    service = serve(beam={"rule": rule})
    says(service, "beam", "met", getattr(met, "value", met))
    device.put(unmet)
    assert says(service, "beam", "lost", shown)["text"].startswith(f"{signal} {shown}, needs ")
    device.put(met)
    says(service, "beam", "met", getattr(met, "value", met))


def test_an_enumeration_and_a_truth_value_of_ophyd_async(serve):
    def change(signal, value):
        async def to():
            await signal.set(value)

        asyncio.run_coroutine_threadsafe(to(), beamline.RE.loop).result(10)

    service = serve(
        shutter={"rule": 'shutter == "open"'}, interlock={"suspender": {"kind": "bool_low", "signal": "interlock"}}
    )
    says(service, "shutter", "met", "open")
    says(service, "interlock", "met", 1.0)
    change(beamline.shutter, beamline.Shutter.CLOSED)
    change(beamline.interlock, False)
    assert says(service, "shutter", "lost", "closed")["text"] == 'shutter closed, needs == "open"'
    assert says(service, "interlock", "lost", 0.0)["text"] == "interlock 0, needs != 0"
    change(beamline.shutter, beamline.Shutter.OPEN)
    change(beamline.interlock, True)
    says(service, "shutter", "met", "open")
    says(service, "interlock", "met", 1.0)


@pytest.fixture
def ioc(monkeypatch):
    with BeamIoc() as one:
        for name, value in one.env.items():
            monkeypatch.setenv(name, value)
        yield one


def test_channels_of_epics(tmp_path, ioc):
    """A number, and a record of two states read as its number and as its text; nan, and an IOC that is away."""
    conditions = {
        "beam": {"suspender": {"kind": "floor", "signal": "ring", "suspend": 100, "resume": 200}},
        "gate": {"suspender": {"kind": "bool_low", "signal": "gate"}},
        "text": {"rule": 'gate_text == "open"'},
        "odd": {"rule": 'gate != "closed"'},
    }
    conditions = {name: {"settle_s": 0, **one} for name, one in conditions.items()}
    section = {"startup": "beamline_of_conditions", "process": True, "waits_s": 5}
    with running(tmp_path / "state", run_engine=section, conditions=conditions) as service:
        says(service, "beam", "met", 300.0)
        says(service, "gate", "met", 1.0)
        says(service, "text", "met", "open")
        assert says(service, "odd", "lost", 1.0)["text"] == 'gate 1, needs != "closed"', "it says no text"
        ioc.put("shutter", "closed")
        assert says(service, "gate", "lost", 0.0)["text"] == "gate 0, needs != 0"
        assert says(service, "text", "lost", "closed")["text"] == 'gate_text closed, needs == "open"'
        ioc.put("shutter", "open")
        says(service, "gate", "met", 1.0)
        says(service, "text", "met", "open")
        ioc.put("current", "INVALID_ALARM")
        text = "ring is not known: it says 300, with an alarm of severity INVALID (READ)"
        assert says(service, "beam", "lost", None)["text"] == text, "though it is 300 mA"
        ioc.put("shutter", "INVALID_ALARM")
        assert "INVALID" in says(service, "gate", "lost", None)["text"]
        assert "INVALID" in says(service, "text", "lost", None)["text"]
        for name in ("current", "shutter"):
            ioc.put(name, "MAJOR_ALARM")
        says(service, "beam", "met", 300.0)
        says(service, "gate", "met", 1.0)
        says(service, "text", "met", "open")
        ioc.put("current", "nan")
        assert says(service, "beam", "lost", None)["text"].startswith("ring is not known: it says nan")
        ioc.put("current", "150")
        assert says(service, "beam", "lost", 150.0)["text"].startswith("ring 150 mA, needs >= 200")
        ioc.put("current", "300")
        says(service, "beam", "met", 300.0)
        ioc.end()
        for name, signal in (("beam", "ring"), ("gate", "gate"), ("text", "gate_text")):
            text = f"{signal} is not known: it is disconnected"
            assert says(service, name, "lost", None)["text"] == text
            assert text in service.get("queue")["reason"]
        ioc.start()
        says(service, "beam", "met", 300.0)
        says(service, "gate", "met", 1.0)
        says(service, "text", "met", "open")


def test_a_value_whose_alarm_says_that_it_is_invalid_is_not_known(tmp_path, ioc):
    """EPICS: INVALID is a value that nobody vouches for. MINOR and MAJOR are of values that are so: the rule judges."""
    conditions = {"beam": {"rule": "ring > 100", "settle_s": 0}}
    section = {"startup": "beamline_of_conditions", "process": True, "waits_s": 5}
    with running(tmp_path / "state", run_engine=section, conditions=conditions) as service:
        says(service, "beam", "met", 300.0)
        losses = one(service, "beam")["losses"]
        for severity in ("MINOR", "MAJOR", "NO"):
            ioc.put("current", f"{severity}_ALARM")
            asked_at = dt.datetime.now(dt.UTC).isoformat()
            wait_until(lambda at=asked_at: one(service, "beam")["signals"][0]["at"] > at, what="its next value")
            assert one(service, "beam")["losses"] == losses, severity
        ioc.put("current", "INVALID_ALARM")
        text = "ring is not known: it says 300, with an alarm of severity INVALID (READ)"
        assert says(service, "beam", "lost", None)["text"] == text
        assert text in service.get("queue")["reason"]
        ioc.put("current", "NO_ALARM")
        says(service, "beam", "met", 300.0)


def test_a_signal_that_is_derived_from_an_invalid_one_is_not_known_either(tmp_path, ioc):
    """It has the alarm of what it is derived from, whether it tells it by itself or is asked."""
    section = {"startup": "beamline_of_conditions", "process": True, "waits_s": 5}
    with running(
        tmp_path / "state", run_engine=section, conditions={"beam": {"rule": "derived > 100", "settle_s": 0}}
    ) as service:
        says(service, "beam", "met", 300.0)
        ioc.put("current", "INVALID_ALARM")
        at = says(service, "beam", "lost", None)["signals"][0]["at"]
        for _ in range(3):  # it is asked again and again
            found = wait_until(
                lambda at=at: (c := one(service, "beam"))["signals"][0]["at"] > at and c, what="an answer"
            )
            assert (found["state"], "severity INVALID (READ)" in found["text"]) == ("lost", True)
            at = found["signals"][0]["at"]
        ioc.put("current", "NO_ALARM")
        says(service, "beam", "met", 300.0)


def test_a_value_that_is_invalid_when_the_service_starts_is_not_known(tmp_path, ioc):
    ioc.put("current", "INVALID_ALARM")
    section = {"startup": "beamline_of_conditions", "process": True, "waits_s": 5}
    with running(
        tmp_path / "state", run_engine=section, conditions={"beam": {"rule": "ring > 100", "settle_s": 0}}
    ) as service:
        wait_until(lambda: "severity INVALID" in one(service, "beam")["text"], what="its alarm")
        ioc.put("current", "MAJOR_ALARM")
        says(service, "beam", "met", 300.0)
