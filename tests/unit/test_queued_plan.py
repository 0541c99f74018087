"""How a plan's end is read from a queue server's history and from documents."""

import pytest

from agent_service.plans.sinks.queue_server.queued_plan import QueuedPlan, item_of, move_item
from agent_service.protocols import ExitStatus, PlanOrder

TRACEBACK = """Traceback (most recent call last):
  File "plan.py", line 3, in raises
    raise ValueError("the shutter is closed,\\nsays the plan")
ValueError: the shutter is closed,
says the plan
"""


def order(**changes):
    given = {"suggestion_id": "s1", "agent": "aligner", "point": {"motor": 1.5}, "plan": "acquire"} | changes
    return PlanOrder(actuators=("motor",), sensors=("det",), **given)


def plan(**changes):
    found = order(**changes)
    return QueuedPlan(found, item_of(found, {}, user_md=found.md), found.suggestion_id)


def history(exit_status, *, uids=("r",), **more):
    return {"result": {"exit_status": exit_status, "run_uids": list(uids), "msg": "", "traceback": "", **more}}


@pytest.mark.parametrize(
    ("item", "status", "reason"),
    [
        (history("completed"), "success", ""),
        (history("completed", uids=()), "fail", "the plan made no run"),
        (history("stopped"), "success", ""),
        (history("aborted"), "abort", "somebody ended it at the queue server (aborted)"),
        (history("halted"), "abort", "somebody ended it at the queue server (halted)"),
        (
            history("failed", msg="RE Worker environment was destroyed"),
            "expired",
            "RE Worker environment was destroyed",
        ),
        (history("failed", msg="there is no plan of that name"), "fail", "there is no plan of that name"),
        (history("failed", traceback=TRACEBACK), "fail", "ValueError: the shutter is closed, says the plan"),
        (history("unknown"), "expired", "the queue server says unknown"),
        ({}, "fail", "the queue server says None"),
    ],
)
async def test_the_history_says_how_it_ended(item, status, reason):
    result = plan().result_of(item)
    assert (result.exit_status, result.reason) == (status, reason)


@pytest.mark.parametrize(
    "lost",
    [
        history("unknown", uids=()),
        history("failed", uids=(), msg="RE Worker environment was destroyed"),
        history("failed", uids=(), msg="Internal RE Manager error occurred. Report the error to the development team"),
        history("failed", uids=(), msg="Timeout occurred"),
    ],
)
async def test_a_manager_that_lost_how_it_ended_does_not_tell(lost):
    one = plan()
    assert (one.is_told_by(lost), one.is_told_by(history("failed"))) == (False, True)
    raised = history("failed", msg="timeout of the detector", traceback="TimeoutError: timeout of the detector")
    assert one.is_told_by(raised), "the plan said it"
    one.abort_reason = "smoke"
    assert one.is_told_by(lost)


async def test_a_run_that_its_plan_ended_as_failed_is_a_failure():
    one = plan(plan="says_fail")
    one.runs.add("start", {"uid": "r"}, "r")
    one.runs.add("stop", {"run_start": "r", "exit_status": "fail", "reason": "the sample is gone"}, "r")
    result = one.result_of(history("completed"))
    assert (result.exit_status, result.reason, result.run_uids) == ("fail", "the sample is gone", ("r",))


async def test_whoever_asked_for_the_end_is_its_reason():
    one = plan()
    one.abort_reason = "smoke"
    assert one.result_of(history("aborted")).reason == "smoke"
    assert one.result_of(history("completed")).exit_status is ExitStatus.SUCCESS, "it was too late"


async def test_only_of_our_own_plan_a_stop_document_is_the_end():
    for name, ends in (("acquire", True), ("dark_and_light", False)):
        one = plan(plan=name)
        one.runs.add("start", {"uid": "r"}, "r")
        one.runs.add("stop", {"run_start": "r", "exit_status": "success"}, "r")
        assert (one.runs.result() is not None) is ends


async def test_its_item_is_known_by_the_id_and_then_by_the_managers_name_of_it():
    one = plan()
    theirs = {"item_uid": "other", "meta": {"agent_suggestion_uid": "s1"}}
    assert one.is_item(theirs)
    assert not one.is_item({"item_uid": "x", "meta": None})
    one.item_uid = "ours"
    assert not one.is_item(theirs)


def test_the_id_is_in_meta_where_no_name_of_a_device_is_looked_for():
    item = item_of(order(md={"sample": "gold", "agent_name": "motor"}), {"proposal": "P-1"}, user_md={"sample": "gold"})
    assert item["meta"] == {
        "proposal": "P-1",
        "sample": "gold",
        "agent_name": "aligner",
        "agent_suggestion_uid": "s1",
    }
    assert "md" not in item["kwargs"]


def test_a_move_by_ours_and_by_mv():
    assert move_item(order(), "mv", "k")["args"] == ["motor", 1.5]
    assert move_item(order(), "move_to", "k")["kwargs"] == {"point": {"motor": 1.5}, "devices": ["motor"]}
