"""Sink ``queueserver`` with ``per_item = "session"``: an item at the queue server measures many suggestions.

Suggestions wait to be claimed, as in the sink ``claim``, and while some do, a session is kept running: an item sent as
any other of ours, whose plan claims them. It ends when it is answered that there is nothing to claim: nothing came for
some seconds, the queue is paused or held, or somebody else waits for the queue server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.models import EventKind, QueueStatus
from agent_service.plans.sinks.facility_sink import not_finite
from agent_service.plans.sinks.queue_server.session_claims import SessionClaims
from agent_service.plans.sinks.queue_server.session_item import is_session
from agent_service.plans.sinks.queue_server.sessions import Sessions
from agent_service.plans.sinks.queue_server.sink import QueueServerSink
from agent_service.protocols import SERVICE_STOPS, ExitStatus, PlanOrder, PlanResult

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import Event
    from agent_service.plans.sinks.claim_leases import Claimed
    from agent_service.plans.sinks.queue_server.clients import Client
    from agent_service.plans.sinks.queue_server.queued_plan import QueuedPlan
    from agent_service.protocols import Document


class SessionSink(QueueServerSink):
    """Plans for sessions at a queue server; a `PlanSink`. Belongs to the service's event loop, but for `check`.

    Parameters
    ----------
    client, md
        As for `QueueServerSink`, as is what else is given.
    service, idle_s, gives_way
        As for `Sessions`.
    claimed
        ``claimed(order)``: who claimed it from an earlier life of the service, as the journal says; None: nobody did.

    Attributes
    ----------
    claims
        The plans, as sessions claim them.
    """

    sessions = True
    takes_ahead = True  # only the session claims, one after the other

    def __init__(  # noqa: PLR0913 - what there is to configure, by name
        self,
        client: Client,
        md: Mapping[str, Any],
        *,
        service: str,
        idle_s: float,
        gives_way: bool,
        claimed: Callable[[PlanOrder], Claimed | None],
        **about: Any,
    ) -> None:
        super().__init__(client, md, gives_way=gives_way, **about)
        self._claimed = claimed
        self.claims = SessionClaims(
            self._md,
            is_open=self._is_open,
            may_begin=self._may_begin,
            on_change=self._changed,
            agent_of=lambda session: self._sessions.agent_of(session),  # noqa: PLW0108 - it is made below
        )
        self._sessions = Sessions(
            self._line, self._driver, self.claims, service=service, idle_s=idle_s, gives_way=gives_way
        )

    @property
    def status(self) -> QueueStatus:
        """What is claimed and what waits, and what the manager says, from memory."""
        claimed = self.claims.claimed
        current = claimed[0] if claimed else None
        return super().status.model_copy(update={"pending": len(self.claims.waiting), "current": current})

    async def stop(self, timeout_s: float) -> None:
        """End: what nobody claimed ends as ``abort``; what is claimed goes on, and is found again."""
        self._hold.closing = True
        self.claims.withdraw(SERVICE_STOPS)
        await super().stop(timeout_s)

    async def run(self, order: PlanOrder) -> PlanResult:
        """Let a plan be claimed by a session, and return when it ended; see `ClaimSink.run`."""
        self._hold.refuse_held()
        if self._hold.closing:
            return PlanResult(ExitStatus.ABORT, SERVICE_STOPS, begun=False)
        return not_finite(order.point) or await self.claims.result(order)

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Take up the plans of an earlier life of the service: those claimed are measured, the others wait again.

        A claim is written before whoever asked for it hears of it.
        """
        return {order.suggestion_id: self.claims.take_up(order, self._claimed(order)) for order in orders}

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``: those of a claimed plan's runs renew its lease, and may end the plan."""
        self.claims.observe(name, document, run)

    def apply(self, fact: Event) -> None:
        """Look at a committed fact: one about a suggestion may end its plan; one about an agent may let it begin."""
        self.claims.apply(fact)
        if self._line.waiting and fact.kind in (EventKind.AGENT_STATE, EventKind.CONFIG):
            self._look()

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that nobody claimed, or the one for suggestion ``only``; they end as ``abort``."""
        return self.claims.withdraw(reason, agent=agent, only=only)

    async def resume(self) -> None:
        """Resume from paused or held; our session goes on, if it is paused."""
        self.claims.resumed()
        await super().resume()

    async def abort(self, reason: str) -> None:
        """Latch ``held``, take back what waits, and abort our own session; returns when it ended, or after 5 s."""
        self.latch(reason)
        self.claims.abort(reason)
        await super().abort(reason)

    def _wanted(self, plan: QueuedPlan) -> bool:
        return self.claims.claimable(plan.order.agent) if is_session(plan) else super()._wanted(plan)

    def _is_open(self) -> bool:
        return self._hold.why is None and not self._sessions.is_over

    async def _take_up(self, item: Mapping[str, Any]) -> QueuedPlan | None:
        return await self._sessions.take_up(item)

    def _changed(self) -> None:
        self._sessions.follow()
        self.claims.look_again()
        super()._changed()
