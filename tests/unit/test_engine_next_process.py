"""The RunEngine's process that comes behind one that has hung up, and what people asked of the queue meanwhile."""

import asyncio

import pytest

from agent_service.errors import BackendUnavailable
from agent_service.models import QueueState, QueueStatus
from agent_service.plans.sinks.engine_process._handed_plans import HandedPlan, HandedPlans
from agent_service.plans.sinks.engine_process._live_plans import SentPlans
from agent_service.plans.sinks.engine_process._messages import Hello
from agent_service.plans.sinks.engine_process._next_process import NextProcess
from agent_service.plans.sinks.engine_process._steering import Steering
from agent_service.plans.sinks.engine_process._turns import TurnFile
from agent_service.plans.sinks.engine_settings import EngineSettings
from agent_service.protocols import ExitStatus, PlanOrder


class Link:
    """A process, and those that are there when it is opened again."""

    def __init__(self, hello: Hello, *others: Hello) -> None:
        self.hello, self.others = hello, list(others)
        self.sent: list[tuple] = []
        self.answers = True

    up = True

    @property
    def takes_plans(self) -> bool:
        return not self.hello.quitting

    async def open(self, settings) -> Hello:
        self.hello = self.others.pop(0)
        return self.hello

    def send(self, *messages) -> None:
        self.sent += messages

    def tell(self, method, *args) -> None:
        self.send(("call", method, *args))

    async def call(self, method, *args, timeout_s):
        self.tell(method, *args)
        if not self.answers:
            raise BackendUnavailable("the RunEngine's process does not answer")


class Passes:
    """Documents that are there at once, a source that has no runs, and signals that nobody watches."""

    @property
    def numbering(self) -> dict:
        return {}

    def barrier(self, passed) -> None:
        passed()

    def interrupt(self, reason) -> list:
        return []

    def lose(self, why) -> None: ...

    def watch_again(self) -> None: ...


class Rig:
    def __init__(self, path, *hellos: Hello) -> None:
        self.link, passes, changed = Link(*hellos), Passes(), lambda: None
        self.turns, self.child = TurnFile(path), TurnFile(path)
        self.plans = HandedPlans(self.link, self.turns, passes, SentPlans(), on_change=changed)
        self.steering = Steering(self.link, self.plans, changed)
        about = {"plans": self.plans, "steering": self.steering, "signals": passes, "on_change": changed}
        self.process = NextProcess(self.link, EngineSettings(()), source=passes, **about)

    def hand(self, suggestion) -> HandedPlan:
        plan = HandedPlan.of(PlanOrder(suggestion, "agent", {"x": 1.0}, "acquire", ("x",), ()))
        self.plans.hand_over(plan)
        return plan

    async def comes_again(self) -> None:
        self.process.follow("ended")
        while self.process.away is not None and "again" in self.process.away:
            await asyncio.sleep(0)

    @property
    def submitted(self) -> list[int]:
        return [message[1] for message in self.link.sent if message[0] == "submit"]


@pytest.fixture
def rig(tmp_path):
    made = []

    def rig(*hellos: Hello) -> Rig:
        made.append(Rig(tmp_path / "turns", *hellos))
        return made[-1]

    yield rig
    for one in made:
        one.turns.close()
        one.child.close()


async def test_a_process_that_only_hung_up_is_handed_nothing_that_it_has_still(rig):
    one = rig(Hello(1, "digest"))
    first, second, third = (one.hand(name) for name in "abc")
    one.child.take(first.number)
    one.link.others = [Hello(1, "digest", {plan.number: plan.order for plan in (first, second)})]
    one.link.sent.clear()
    await one.comes_again()
    assert first.ended.result().exit_status is ExitStatus.FAIL
    assert (second.number, third.number) == (2, 4)
    assert one.submitted == [4]


async def test_a_plan_that_the_process_has_and_nobody_waits_for_is_taken_back(rig):
    one = rig(Hello(1, "digest"))
    began = one.hand("a")
    one.child.take(began.number)
    one.plans.disown(7)
    assert one.link.sent[-1] == ("take back", 7)
    assert not one.child.take(7)
    one.plans.disown(began.number)
    assert one.link.sent[-1] == ("take back", 7), "it runs"


async def test_plans_go_to_the_process_behind_one_that_is_about_to_end(rig):
    one = rig(Hello(1, "digest", quitting=True), Hello(2, "digest"))
    one.process.attach()
    assert one.link.sent == [("attach",), ("call", "quit")]
    plan = one.hand("a")
    idle = QueueStatus(kind="run_engine", state=QueueState.IDLE)
    state, why = one.steering.shown(idle, one.process.away)
    assert (state, one.submitted) == (QueueState.SUSPENDED, [])
    assert "plans go to the next one" in why
    await one.comes_again()
    assert one.submitted == [plan.number]
    assert one.process.away is None
    assert not plan.ended.done()


@pytest.mark.parametrize(
    ("held", "state", "again"), [(None, "paused", ("pause",)), ("smoke", "held", ("latch", "smoke"))]
)
@pytest.mark.parametrize("by_request", [True, False])
async def test_a_resume_that_gets_no_answer_is_asked_back(rig, held, state, again, by_request):
    one = rig(Hello(1, "digest"))
    if by_request:  # else the plan paused itself
        await one.steering.pause()
    if held is not None:
        one.steering.latch(held)
    one.link.sent.clear()
    one.link.answers = False
    with pytest.raises(BackendUnavailable):
        await one.steering.resume(paused=True)
    assert one.link.sent == [("call", "resume"), ("call", *again)]
    assert one.steering.shown(QueueStatus(kind="run_engine", state=QueueState.RUNNING), None)[0] == state
    one.link.answers = True
    await one.steering.resume(paused=True)
    assert one.steering.shown(QueueStatus(kind="run_engine", state=QueueState.RUNNING), None)[0] == "running"
