"""The plans that the RunEngine's process has: taken back, ended behind their documents, settled when decided."""

import asyncio
import contextlib

import pytest

from agent_service.errors import InvalidPoint
from agent_service.plans.sinks.engine_process._handed_plans import HandedPlan, HandedPlans
from agent_service.plans.sinks.engine_process._live_plans import SentPlans
from agent_service.plans.sinks.engine_process._messages import Hello, packed
from agent_service.plans.sinks.engine_process._turns import TurnFile
from agent_service.protocols import MOVE, ExitStatus, PlanOrder, PlanResult

DONE = PlanResult(ExitStatus.SUCCESS, "", ("uid",))


def order(suggestion, plan="acquire"):
    return PlanOrder(suggestion, "agent", {"x": 1.0}, plan, ("x",), ())


class Link:
    """A process that says it had ``orders`` from before."""

    def __init__(self, *orders: int) -> None:
        self.takes_plans = True
        self.hello = Hello(1, "digest", {number: order(f"before-{number}") for number in orders})
        self.sent: list[tuple] = []

    def send(self, *messages) -> None:
        self.sent += messages

    send_later = send


class Intake:
    """Passes barriers when its documents were delivered."""

    def __init__(self) -> None:
        self.behind = []

    def barrier(self, passed) -> None:
        self.behind.append(passed)

    def deliver(self) -> None:
        while self.behind:
            self.behind.pop(0)()


class Rig:
    def __init__(self, path, *orders: int) -> None:
        self.link, self.intake, self.changes = Link(*orders), Intake(), []
        self.turns, self.child = TurnFile(path), TurnFile(path)
        self.plans = HandedPlans(
            self.link, self.turns, self.intake, SentPlans(), on_change=lambda: self.changes.append(1)
        )

    def hand(self, suggestion, plan="acquire"):
        handed = HandedPlan.of(order(suggestion, plan))
        self.plans.hand_over(handed)
        return handed


@pytest.fixture
async def rig(tmp_path):
    with contextlib.ExitStack() as stack:
        made = Rig(tmp_path / "turns")
        stack.callback(made.turns.close)
        stack.callback(made.child.close)
        yield made


async def test_numbers_go_on_behind_what_was_ever_handed_over(tmp_path, rig) -> None:
    assert rig.hand("a").number == 1
    rig.child.take(1)
    later = Rig(tmp_path / "turns", 5)
    assert later.hand("b").number == 6
    later.turns.close()
    later.child.close()


async def test_a_plan_is_said_to_have_ended_behind_its_documents_and_forgotten_when_it_is_decided(rig) -> None:
    plan = rig.hand("a")
    rig.child.take(plan.number)
    rig.plans.end(plan.number, DONE)
    assert not plan.ended.done()
    rig.intake.deliver()
    assert plan.ended.result() == DONE
    assert ("settled", 1) not in rig.link.sent, "its fate is not written yet"
    rig.plans.decide("a")
    assert rig.link.sent[-1] == ("settled", 1)
    assert rig.plans.all == []


async def test_a_fate_that_is_written_first_does_not_forget_a_plan_that_runs(rig) -> None:
    plan = rig.hand("a")
    rig.child.take(plan.number)
    rig.plans.decide("a")
    assert rig.plans.under_way == [plan]
    rig.plans.end(plan.number, DONE)
    rig.intake.deliver()
    assert rig.plans.all == []
    assert rig.link.sent[-1] == ("settled", 1)


@pytest.mark.parametrize(
    ("plan", "result"),
    [
        (MOVE, DONE),
        ("acquire", PlanResult(ExitStatus.ABORT, "held", begun=False)),
        ("acquire", packed(InvalidPoint("not a number"))),
    ],
)
async def test_what_has_no_fate_is_forgotten_at_once(rig, plan, result) -> None:
    handed = rig.hand("" if plan == MOVE else "a", plan)
    rig.plans.end(handed.number, result)
    rig.intake.deliver()
    assert rig.link.sent[-1] == ("settled", 1)
    assert rig.plans.all == []
    if isinstance(result, tuple) and not isinstance(result, PlanResult):
        assert "not a number" in str(handed.ended.exception())


async def test_only_what_has_not_begun_is_taken_back(rig) -> None:
    runs, waits = rig.hand("a"), rig.hand("b")
    rig.child.take(runs.number)
    assert (rig.plans.under_way, rig.plans.waiting) == ([runs], [waits])
    assert rig.plans.take_back(rig.plans.all, "no longer wanted")
    assert waits.ended.result() == PlanResult(ExitStatus.ABORT, "no longer wanted", begun=False)
    assert not runs.ended.done()
    assert rig.link.sent[-1] == ("take back", 2)
    assert not rig.child.take(waits.number), "the child knows without being asked"
    assert not rig.plans.take_back(rig.plans.all, "again")


async def test_who_no_longer_waits_takes_a_plan_back_but_not_one_that_runs(rig) -> None:
    first, second = (asyncio.create_task(rig.plans.result(order(name))) for name in "ab")
    await asyncio.sleep(0)
    rig.child.take(1)
    for task in (first, second):
        task.cancel()
    await asyncio.wait((first, second))
    assert [plan.order.suggestion_id for plan in rig.plans.all] == ["a"]
    assert rig.link.sent[-1] == ("take back", 2)


async def test_a_plan_that_waits_goes_to_the_next_process_with_another_number(rig) -> None:
    rig.link.takes_plans = False
    plan = rig.hand("a")
    assert rig.link.sent == []
    rig.link.takes_plans = True
    rig.plans.hand_over(plan)
    assert rig.link.sent == [("submit", 2, plan.order, False, None)]
    assert rig.plans.get(1) is None


async def test_an_end_that_nobody_waits_for_is_settled(rig) -> None:
    rig.plans.end(9, DONE)
    assert rig.link.sent == [("settled", 9)]


async def test_one_waits_for_what_is_under_way_to_end(rig) -> None:
    await rig.plans.none_under_way(1.0)
    plan = rig.hand("a")
    rig.child.take(plan.number)
    waiting = asyncio.create_task(rig.plans.none_under_way(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    plan.settle(DONE)
    await waiting
