import pytest

from agent_service.errors import Conflict, QueueHeld
from agent_service.models import QueueState
from agent_service.plans.sinks.own_run_engine import OwnRunEngine
from agent_service.plans.sinks.run_engine_backlog import PlanBacklog, PlanJob
from agent_service.protocols import ExitStatus, PlanResult


def job(label: str = "s1") -> PlanJob:
    ended: list[PlanResult] = []
    made = PlanJob(lambda: iter(()), ended.append, label=label)
    made.md["ended"] = ended
    return made


@pytest.fixture
def queue() -> PlanBacklog:
    return PlanBacklog()


def running(queue: PlanBacklog) -> PlanJob:
    queue.submit(job())
    taken = queue.next_job()
    assert taken is not None
    assert queue.begin(taken) == "go"
    return taken


def test_held_goes_before_paused_and_paused_before_running(queue: PlanBacklog) -> None:
    running(queue)
    assert queue.status.state is QueueState.RUNNING
    queue.pause("by request")
    assert (queue.status.state, queue.status.reason) == (QueueState.PAUSED, "by request")
    queue.hold("smoke")
    assert (queue.status.state, queue.status.reason) == (QueueState.HELD, "smoke")
    queue.pause("by request")
    queue.resume()
    assert queue.status.state is QueueState.RUNNING


def test_a_held_queue_takes_nothing(queue: PlanBacklog) -> None:
    queue.hold("smoke")
    with pytest.raises(QueueHeld) as error:
        queue.submit(job())
    assert error.value.legal == ("resume",)


def test_a_closed_queue_gives_plans_back(queue: PlanBacklog) -> None:
    queue.close("the service stops")
    late = job()
    assert not queue.submit(late)
    assert late.md["ended"] == [PlanResult("abort", "the service stops")]
    assert queue.next_job() is None


def test_a_pause_before_the_first_message_counts(queue: PlanBacklog) -> None:
    queue.submit(job())
    taken = queue.next_job()
    assert taken is not None
    assert queue.pause("by request") is None, "there is nothing yet that the RunEngine could pause"
    assert queue.begin(taken) == "pause"


def test_a_pause_that_was_taken_back_does_not_stop_the_plan(queue: PlanBacklog) -> None:
    taken = running(queue)
    assert queue.pause("by request") is taken
    queue.resume()
    queue.note_paused(taken)
    assert queue.status.state is QueueState.RUNNING
    assert queue.await_decision(taken) == "resume"


def test_a_plan_that_pauses_itself_after_ours_stops(queue: PlanBacklog) -> None:
    taken = running(queue)
    queue.pause("by request")
    queue.note_paused(taken)
    queue.resume()
    queue.note_paused(taken)
    assert (queue.status.state, queue.status.reason) == (QueueState.PAUSED, "the plan paused itself")


def test_abort_takes_all_and_the_first_reason_stays(queue: PlanBacklog) -> None:
    taken = running(queue)
    waiting = job("s2")
    queue.submit(waiting)
    assert queue.abort("smoke") == ([waiting], taken)
    assert queue.abort("again") == ([], None), "an abort under way is not repeated"
    assert queue.await_decision(taken) == "abort"
    assert taken.result(ExitStatus.ABORT) == PlanResult("abort", "smoke")


@pytest.mark.parametrize(
    ("runs", "ended", "why", "status", "reason"),
    [
        ({"u": ("success", "")}, "success", "", "success", ""),
        ({"u": ("success", ""), "v": ("fail", "lost")}, "success", "", "success", ""),
        ({"u": ("success", ""), "v": ("", "the run was left open")}, "success", "", "fail", "the run was left open"),
        ({"u": ("fail", "")}, "success", "", "fail", "the run ended with exit_status fail"),
        ({"u": ("", "the run was left open")}, "success", "", "fail", "the run was left open"),
        ({"u": ("fail", "lost")}, "fail", "ValueError: lost", "fail", "ValueError: lost"),
        ({}, "success", "", "fail", "the plan made no run"),
    ],
)
def test_verdict(runs: dict[str, tuple[str, str]], ended: str, why: str, status: str, reason: str) -> None:
    one = job()
    one.runs.update(runs)
    assert one.result(ExitStatus(ended), why) == PlanResult(status, reason, tuple(runs))
    assert one.result(ExitStatus.ABORT).asked is False
    one.abort_reason = "smoke"
    assert one.result(ExitStatus.ABORT).asked is True
    assert one.result(ExitStatus(ended), why).exit_status == ("success" if status == "success" else "abort")


@pytest.mark.parametrize("begun", [False, True])
def test_a_plan_that_is_taken_back_at_its_turn_has_not_begun(begun):
    def build():
        raise Conflict("taken back before it began")

    plan = PlanJob(build, lambda result: None, begun=begun)
    result = OwnRunEngine(PlanBacklog(), lambda: None, None, lambda engine: None).run(plan)
    expected = (ExitStatus.FAIL, True) if begun else (ExitStatus.ABORT, False)
    assert (result.exit_status, result.begun, result.reason) == (*expected, "taken back before it began")
