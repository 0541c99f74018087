"""What a session claims: suggestions that wait for it, and those that its worker measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.plans.sinks.claim_leases import Claims
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_service.plans.sinks.claimed_plan import ClaimedPlan
    from agent_service.protocols import PlanOrder

    AgentOf = Callable[[str | None], Awaitable[str | None]]


class SessionClaims(Claims):
    """Plans that a session claims. It is answered at once while nothing may be claimed, so that it ends.

    Parameters
    ----------
    agent_of
        Returns whose suggestions a session may claim, as `Sessions.agent_of` does.

    Attributes
    ----------
    taken
        Whether anything was claimed since somebody set this to False.
    """

    def __init__(self, *args: Any, is_open: Callable[[], bool], agent_of: AgentOf, **kwargs: Any) -> None:
        super().__init__(*args, is_open=is_open, **kwargs)
        self.taken = False
        self._agent_of = agent_of
        self._abort_reason: str | None = None

    def claimable(self, agent: str) -> bool:
        """Return whether one of an agent's plans could be claimed now."""
        return self._next(agent) is not None

    async def claim(  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        self, agent: str | None, *, over: Callable[[], bool], session: str | None = None, **request: Any
    ) -> PlanOrder | None:
        """Claim as `Claims.claim` does, for the session that runs; None for one that is over.

        Raises
        ------
        Conflict
            For anybody else: nobody but a session that the sink sent may measure.
        """
        if (owner := await self._agent_of(session)) is None or agent not in (None, owner):
            return None
        order = await super().claim(owner, over=lambda: over() or not self._is_open(), **request)
        self.taken = self.taken or order is not None
        return order

    def abort(self, reason: str) -> None:
        """End what waits, and let what is claimed end for this reason when the session has been aborted."""
        self._abort_reason = reason
        self.withdraw(reason, begun=True)

    def session_ended(self, agent: str, result: PlanResult) -> None:
        """End what an agent's session held when it ended.

        After one that ended by itself only documents tell: the word that a plan is done was lost with the service's
        answer. One that failed before it claimed anything fails the suggestion that it was for, or it would be sent for
        ever.
        """
        mine = [plan for plan in self._plans.values() if plan.order.agent == agent]
        held = [plan for plan in mine if plan.claimed and plan.runs.made is None]  # else its documents are under way
        if not held and not self.taken and result.exit_status is ExitStatus.FAIL:
            held = mine[:1]
        for plan in held:
            if result.exit_status is ExitStatus.SUCCESS:
                plan.runs.made = len(plan.runs.starts) or None
                self._end_if_told(plan)
                continue
            if plan.runs.all_stopped:  # the word that it has ended was lost with the session
                plan.runs.made = len(plan.runs.starts)
            late = "; its run counts if it comes whole yet" if result.exit_status is ExitStatus.EXPIRED else ""
            ended = PlanResult(result.exit_status, f"{result.reason}{late}", plan.runs.uids)
            self._end(plan, plan.runs.result() or ended)

    def _end_if_told(self, plan: ClaimedPlan) -> None:
        if (result := plan.runs.result()) is not None:
            self._end(plan, result)

    def _end(self, plan: ClaimedPlan, result: PlanResult | None) -> None:
        if result is not None and result.exit_status is ExitStatus.ABORT and result.begun and self._abort_reason:
            result = PlanResult(ExitStatus.ABORT, self._abort_reason, result.run_uids)
        super()._end(plan, result)

    def resumed(self) -> None:
        """Forget why there was an abort."""
        self._abort_reason = None
