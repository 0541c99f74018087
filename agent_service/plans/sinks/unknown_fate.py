"""What becomes of plans that a facility was given and knows nothing of: one rule, whosever RunEngine it is.

Documents tell, then the catalogue. What nobody tells of expires: it is not measured again, and a run of it that comes
late counts all the same.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_service.plans.sinks.claimed_plan import PlanRuns
    from agent_service.plans.sinks.facility_plan import FacilityPlan

UNKNOWN_AFTER_S: Final = 5.0
"""How long a plan is looked for in vain before its fate is unknown: a facility that hung does what it was sent."""

LOST_AFTER_S: Final = 60.0
"""The same where its run has begun: its end may come from the catalogue."""

IN_A_ROW: Final = 3
"""Plans of unknown fate after which nothing more begins until a person resumes the queue."""

_log = logging.getLogger(__name__)


class UnknownFates:
    """Decides on plans that are nowhere. Belongs to the event loop.

    Parameters
    ----------
    facility
        What was asked to run them, as in ``the queue server``.
    look_up
        Returns when the catalogues that there are were asked for what is awaited, and what they have was heard.
    latch
        Called with why nothing more is to begin until a person resumes the queue.
    """

    def __init__(self, facility: str, *, look_up: Callable[[], Awaitable[None]], latch: Callable[[str], None]) -> None:
        self._facility = facility
        self._look_up = look_up
        self._latch = latch
        self._in_a_row = 0

    def known(self) -> None:
        """Note that the facility knew what became of a plan."""
        self._in_a_row = 0

    def stopped(self, what: str) -> None:
        """Hold the queue, for somebody did ``what`` at the facility: who stops there means that nothing more begins."""
        self._latch(f"somebody {what} at {self._facility}; resume the queue when it may go on")

    def verdict(self, plan: FacilityPlan, *, nowhere_s: float, over: bool, answer: str = "") -> PlanResult | None:
        """Return how a plan ended, or that nobody knows; None: it is to be looked for further.

        Parameters
        ----------
        plan
            The plan.
        nowhere_s
            For how long the facility, asked for it, has known nothing of it, in seconds.
        over
            Whether it is known that no further run of it comes.
        answer
            What the facility says of it, where it knows that the plan has ended, and not how.
        """
        runs, where = plan.runs, self._facility
        if nowhere_s < UNKNOWN_AFTER_S:
            return None
        if plan.overruled:  # nobody asks for its fate
            return PlanResult(ExitStatus.ABORT, "its fate was decided otherwise", runs.uids)
        if runs.all_stopped and over:
            return _as_stopped(runs)
        if not self._was_looked_up(plan) or (runs.starts and nowhere_s < LOST_AFTER_S and not answer):
            return None
        why = f"{answer}; its run counts if it comes whole yet" if answer else ""
        if runs.starts:
            why = why or f"its run began, and neither {where} nor documents say how its plan ended"
        if why:
            return PlanResult(ExitStatus.EXPIRED, why, runs.uids)
        return self._unknown(plan, nowhere_s)

    def _was_looked_up(self, plan: FacilityPlan) -> bool:
        """Return whether the catalogues were asked for its runs; begins to ask."""
        if plan.looked_up is None:
            plan.looked_up = asyncio.create_task(_quietly(self._look_up), name=f"look up {plan.key}")
            plan.looked_up.add_done_callback(lambda _: plan.news.set())
        return plan.looked_up.done()

    def _unknown(self, plan: FacilityPlan, nowhere_s: float) -> PlanResult:
        self._in_a_row += 1
        where, for_s = self._facility, f"{nowhere_s:.0f} s"
        what, again = "it was measured", "; it is not sent again, and its run counts if it comes yet"
        if plan.is_move:
            what, again = "it moved", ""
        reason = f"unknown whether {what}: {where} was asked to run it, and has known nothing of it for {for_s}{again}"
        _log.warning("the plan of %s: %s", plan.key, reason)
        if self._in_a_row >= IN_A_ROW:
            self._in_a_row = 0
            self._latch(
                f"{IN_A_ROW} plans in a row were given to {where} and are nowhere; look at it, then resume the queue"
            )
        return PlanResult(ExitStatus.EXPIRED, reason)


def _as_stopped(runs: PlanRuns) -> PlanResult:
    """Return how a plan ended as the stop documents of its runs say; which of several counts is not said here."""
    statuses = {ExitStatus.of_run(stop.get("exit_status")) for stop in runs.stops.values()}
    status = statuses.pop() if len(statuses) == 1 else ExitStatus.SUCCESS
    reason = "" if status is ExitStatus.SUCCESS else f"the run ended with exit_status {status}"
    return PlanResult(status, reason, runs.uids)


async def _quietly(look_up: Callable[[], Awaitable[None]]) -> None:
    try:
        await look_up()
    except Exception:  # noqa: BLE001 - a catalogue that cannot be asked says nothing
        _log.exception("the catalogue could not be asked")
