"""A plan on its way through a queue server, and how its end is read from the manager's history and from documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import texts
from agent_service.models import ID_KEY
from agent_service.plans.named_plan import named
from agent_service.plans.sinks.facility_plan import FacilityPlan
from agent_service.protocols import ExitStatus, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Mapping

ID: Final = "agent_suggestion_uid"
SESSION_ID: Final = "agent_session_uid"

ONE_RUN: Final = ("acquire",)
"""Plans that make one run a suggestion: its stop document is the plan's end, before the manager says so."""

_ENDED: Final = {
    "completed": ExitStatus.SUCCESS,
    "stopped": ExitStatus.SUCCESS,  # by a person, who wants what was measured so far to count
    "aborted": ExitStatus.ABORT,
    "halted": ExitStatus.ABORT,
}

_BY_A_PERSON: Final = ("stopped", "aborted", "halted")

_NO_AUTOSTART: Final = (
    "the queue server has switched its autostart off, as after each failure: people's items wait until somebody "
    "switches it on"
)

_NOT_TOLD: Final = re.compile(r"environment was destroyed|internal RE Manager error|timeout", re.IGNORECASE)
"""What the manager says of a plan that its worker did not tell it the end of."""


class QueuedPlan(FacilityPlan):
    """A plan from its order to its end. Belongs to the event loop.

    Parameters
    ----------
    order, key, taken_up
        As for `FacilityPlan`; the key of a move or a session is one made for it.
    item
        What the manager is given.

    Attributes
    ----------
    item_uid
        What the manager calls it, as far as that is known.
    running, pause_asked
        Whether it runs, as the manager said last, and whether it was asked to pause it.
    was_paused, stop_pending
        Whether it was seen paused, and whether, when it ran last, a person had asked the manager to stop behind it.
    stops_autostart
        Whether its failure switches off that people's items start by themselves, as the manager said while it ran.
    nowhere_since
        Since when the manager, asked for it, knows nothing of it; monotonic.
    """

    def __init__(self, order: PlanOrder, item: dict[str, Any], key: str, *, taken_up: bool = False) -> None:
        one_run = order.run is not None or order.plan in ONE_RUN
        super().__init__(order, key=key, taken_up=taken_up, says_done=not one_run)
        self.item = item
        self.item_uid: str | None = None
        self.running = False
        self.pause_asked = self.was_paused = self.stop_pending = self.stops_autostart = False
        self.nowhere_since: float | None = None

    def is_item(self, item: Mapping[str, Any], *, user: str | None = None) -> bool:
        """Return whether an item of the manager is this one; ``user`` is whose ours are, None where nobody can tell.

        A person who queues an item of ours once more copies its ``meta`` with it, and the copy bears that user's name.
        """
        if self.item_uid is not None:
            return item.get("item_uid") == self.item_uid
        meta: Mapping[str, Any] = item.get("meta") or {}
        mine = self.key in (meta.get(ID), meta.get(SESSION_ID))
        return mine and (user is None or item.get("user") in (None, user))

    def is_told_by(self, item: Mapping[str, Any]) -> bool:
        """Return whether its item of the history says how it ended: a manager may not know that itself.

        Documents and catalogue are asked then, as for one that is nowhere.
        """
        return not _is_lost(item.get("result") or {}) or self.is_move or self.abort_reason is not None

    def ended_by_somebody(self, item: Mapping[str, Any]) -> str | None:
        """Return how a person ended it at the queue server, in the manager's word; None: nobody did."""
        result: Mapping[str, Any] = item.get("result") or {}
        how = str(result.get("exit_status"))
        return how if how in _BY_A_PERSON and self.abort_reason is None else None

    def note_status(self, status: Mapping[str, Any]) -> None:
        """Note what the manager says while it runs."""
        self.was_paused = self.was_paused or status.get("manager_state") == "paused"
        self.stop_pending = bool(status.get("queue_stop_pending"))
        mode: Mapping[str, Any] = status.get("plan_queue_mode") or {}
        self.stops_autostart = bool(status.get("queue_autostart_enabled")) and not mode.get("ignore_failures")

    def died_of(self, item: Mapping[str, Any]) -> str:
        """Return what is said of a plan that ended with its worker, an empty text of any other."""
        result: Mapping[str, Any] = item.get("result") or {}
        return _reason(result) if result.get("exit_status") == "failed" else ""

    def result_of(self, item: Mapping[str, Any]) -> PlanResult:
        """Return how it ended, as its item in the manager's history says."""
        result: Mapping[str, Any] = item.get("result") or {}
        uids = tuple(str(uid) for uid in result.get("run_uids") or ()) or self.runs.uids
        status = _ENDED.get(str(result.get("exit_status")), ExitStatus.FAIL)
        reason = _reason(result)
        if self.abort_reason is not None and status is not ExitStatus.SUCCESS:
            return PlanResult(ExitStatus.ABORT, self.abort_reason, uids)
        if _is_lost(result):
            status = ExitStatus.EXPIRED
        if status is ExitStatus.SUCCESS and not uids and not self.is_move:
            return PlanResult(ExitStatus.FAIL, "the plan made no run")
        if status is ExitStatus.SUCCESS:
            return PlanResult(*self._said_by_the_stop(uids), uids)
        if status is ExitStatus.FAIL and self.stops_autostart:
            reason = f"{reason}; {_NO_AUTOSTART}"
        if status is ExitStatus.ABORT:
            reason = f"somebody ended it at the queue server ({result.get('exit_status')})"
        return PlanResult(status, reason or f"the queue server says {result.get('exit_status')}", uids)

    def _said_by_the_stop(self, uids: tuple[str, ...]) -> tuple[ExitStatus, str]:
        """Return what the stop document of its one run says, if it came: a plan may end its run as failed."""
        if len(uids) == 1 and (stop := self.runs.stops.get(uids[0])) is not None:
            status = ExitStatus.of_run(stop.get("exit_status"))
            if status is not ExitStatus.SUCCESS:
                return status, str(stop.get("reason") or f"the run ended with exit_status {stop.get('exit_status')}")
        return ExitStatus.SUCCESS, ""


def _is_lost(result: Mapping[str, Any]) -> bool:
    """Return whether nobody told the manager how an item ended: its worker died, or it was itself started anew."""
    if result.get("exit_status") == "failed" and not result.get("traceback"):
        return _NOT_TOLD.search(str(result.get("msg"))) is not None
    return result.get("exit_status") == "unknown"


def _reason(result: Mapping[str, Any]) -> str:
    """Return why an item failed in one line: what the plan raised, by the end of its traceback, else the message."""
    lines = str(result.get("traceback") or "").strip().splitlines()
    message = " ".join(str(result.get("msg") or "").split())
    raised = next((number for number in range(len(lines) - 1, -1, -1) if _raised(lines[number])), None)
    return texts.one_line(" ".join(line.strip() for line in lines[raised:]) if raised is not None else message)


def _raised(line: str) -> bool:
    """Return whether a line of a traceback is the one that names the exception."""
    name, colon, _ = line.partition(":")
    return bool(colon) and not line[:1].isspace() and " " not in name and name[:1].isalpha()


def item_of(order: PlanOrder, md: Mapping[str, Any], *, user_md: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item of a suggestion's plan.

    What identifies it is in ``meta``, which the manager puts into each start document; ``md`` among the arguments would
    be searched for names of devices.
    """
    suggestions = [{**order.point, ID_KEY: order.suggestion_id}]
    if (choice := named(order)) is not None:
        name, args, kwargs = choice
        of_plan: Mapping[str, Any] = kwargs.get("md") or {}
        return {
            "item_type": "plan",
            "name": name,
            "args": list(args),
            "kwargs": {key: value for key, value in kwargs.items() if key != "md"},
            "meta": {**of_plan, **md, **user_md, "agent_name": order.agent, ID: order.suggestion_id},
        }
    return {
        "item_type": "plan",
        "name": order.plan,
        "kwargs": {"suggestions": suggestions, "actuators": list(order.actuators), "sensors": list(order.sensors)},
        "meta": {**md, **user_md, "agent_name": order.agent, ID: order.suggestion_id},
    }


def move_item(order: PlanOrder, plan: str, key: str) -> dict[str, Any]:
    """Return the item of a move by ``plan``: ours, or bluesky's ``mv``."""
    meta = {"agent_name": order.agent, ID: key}
    if plan == "mv":
        where = [part for name, position in order.point.items() for part in (name, position)]
        return {"item_type": "plan", "name": plan, "args": where, "meta": meta}
    about = {"point": dict(order.point), "devices": list(order.point)}
    return {"item_type": "plan", "name": plan, "kwargs": about, "meta": meta}
