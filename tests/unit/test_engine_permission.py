"""Whether a plan of the RunEngine's process may begin, and what is answered when it asks early."""

import asyncio
from dataclasses import replace

import pytest

from agent_service.errors import NotYet, OutOfBounds
from agent_service.plans.sinks.engine_process._messages import Question, unpacked
from agent_service.plans.sinks.engine_process._permission import Permission
from agent_service.protocols import DeviceWords, PlanOrder

ORDER = PlanOrder("s", "agent", {"x": 1.0}, "acquire", ("x",), ())

WORDS = DeviceWords({"x": (-5.0, 5.0)}, {}, {})


class Link:
    def __init__(self) -> None:
        self.sent: asyncio.Queue = asyncio.Queue()

    def send(self, message) -> None:
        self.sent.put_nowait(message)


class Intake:
    """Is full until `empty` is called."""

    backlog = 7

    def __init__(self) -> None:
        self.full = False
        self.waiting = []

    def when_room(self, callback) -> None:
        self.waiting.append(callback)

    def empty(self) -> None:
        self.full = False
        for callback in self.waiting:
            callback()


class Rails:
    """Guardrails; ``forbids`` and ``devices_forbid`` are raised."""

    early = True
    forbids: Exception | None = None
    devices_forbid: Exception | None = None

    def __init__(self) -> None:
        self.places = []
        self.begun = []

    def may_be_early(self, order) -> bool:
        return self.early

    def ask_devices(self, order) -> None:
        if self.devices_forbid is not None:
            raise self.devices_forbid

    def heard_devices(self, order, words) -> bool:
        if words is WORDS and self.devices_forbid is not None:
            raise self.devices_forbid
        return words is WORDS

    def permit(self, order, places, wholes, *, begins) -> None:
        self.places.append((places, wholes))
        if self.forbids is not None:
            raise self.forbids
        if begins:
            self.note_begun(order)

    def note_begun(self, order) -> None:
        self.begun.append(order)


class Asked:
    """The permission of a service, and what the process hears."""

    def __init__(self) -> None:
        self.words, self.wholes = None, {"stage": ["x"]}
        self.link, self.intake, self.rails, self.changes = Link(), Intake(), Rails(), []
        self.permission = Permission(
            self.link, lambda: self.rails, self.intake, lambda: self.changes.append(self.permission.full)
        )

    async def __call__(self, found, *, paused=False):
        question = Question(found, self.wholes, self.words)
        self.permission.answer(3, ORDER, question, paused=paused)
        kind, number, early, verdict = await asyncio.wait_for(self.link.sent.get(), 20)
        assert (kind, number, early) == ("permitted", 3, found is None)
        return verdict


@pytest.fixture
async def ask():
    return Asked()


async def test_a_plan_may_begin_with_where_its_devices_are(ask) -> None:
    assert await ask({"x": 0.5}) is True
    assert await ask(None) is True
    assert ask.rails.places == [({"x": 0.5}, {"stage": ["x"]}), ({}, {"stage": ["x"]})]


@pytest.mark.parametrize("words", [None, WORDS])
@pytest.mark.parametrize("who", ["forbids", "devices_forbid"])
async def test_what_a_guardrail_forbids_is_said_when_its_turn_has_come_and_asked_again_before(ask, who, words) -> None:
    ask.words = words
    setattr(ask.rails, who, OutOfBounds("x = 1 is out of bounds"))
    assert await ask(None) is False
    error = unpacked(await ask({"x": 0.5}))
    assert (type(error), error.detail) == (OutOfBounds, "x = 1 is out of bounds")


async def test_what_is_not_to_begin_now_is_asked_again_or_goes_back(ask, caplog):
    ask.rails.forbids = NotYet("the agent is paused")
    assert await ask(None) is False
    error = unpacked(await ask({"x": 0.5}))
    assert (type(error), error.detail) == (NotYet, "the agent is paused")
    assert "could not be said" not in caplog.text


async def test_a_guardrail_that_breaks_forbids_it(ask, caplog) -> None:
    ask.rails.forbids = ValueError("broken")
    assert "broken" in unpacked(await ask({"x": 0.5})).detail
    assert "whether a plan may begin could not be said" in caplog.text


async def test_none_is_permitted_early_where_that_may_not_be(ask) -> None:
    assert await ask(None, paused=True) is False
    ask.rails.early = False
    assert await ask(None) is False
    ask.rails.early, ask.intake.full = True, True
    assert await ask(None) is False
    assert ask.rails.places == []


async def test_none_is_permitted_early_whose_devices_did_not_say_in_time_what_they_are_parts_of(ask) -> None:
    ask.wholes = None
    assert await ask(None) is False
    assert ask.rails.places == []


async def test_none_begins_until_there_is_room_for_its_documents(ask) -> None:
    ask.intake.full = True
    answered = asyncio.create_task(ask({"x": 0.5}))
    while not ask.intake.waiting:
        await asyncio.sleep(0)
    assert ask.permission.full == "7 documents wait to be written; no further plan begins until then"
    assert ask.link.sent.empty()
    ask.intake.empty()
    assert await answered is True
    assert ask.changes == ["7 documents wait to be written; no further plan begins until then", None]


async def test_what_was_permitted_early_counts_as_begun_when_the_process_says_so_and_no_sooner(ask) -> None:
    orders = {number: replace(ORDER, suggestion_id=str(number)) for number in range(6)}

    async def asked(number, found, begun=()):
        question = Question(found, {}, WORDS, begun=begun)
        ask.permission.answer(number, orders[number], question, paused=False)
        await asyncio.wait_for(ask.link.sent.get(), 20)

    ask.words = WORDS
    for number in range(4):
        await asked(number, None)
    assert ask.rails.begun == []
    ask.permission.note_begun(0)  # it has ended
    await asked(4, {}, begun=(0, 1, 3))  # 2 was taken back
    ask.permission.note_begun(3)
    assert ask.rails.begun == [orders[number] for number in (0, 1, 3, 4)]
    ask.rails.forbids = OutOfBounds("x = 1 is out of bounds")
    await asked(5, None)
    ask.permission.note_begun(5)
    assert orders[5] not in ask.rails.begun
