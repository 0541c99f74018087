"""Sink ``queueserver`` with ``per_item = "session"``: an item at the queue server measures many suggestions.

Suggestions wait to be claimed, as in the sink ``claim``, and while some do, a session is kept running: an item sent as
any other of ours, whose plan claims them. It ends when it is answered that there is nothing to claim: nothing came for
some seconds, the queue is paused or held, or somebody else waits for the queue server.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from agent_service.models import EventKind, QueueStatus
from agent_service.models.state_machines import OPEN, SuggestionState
from agent_service.plans.sinks.queue_server.queued_plan import QueuedPlan
from agent_service.plans.sinks.queue_server.session_claims import SessionClaims
from agent_service.plans.sinks.queue_server.session_item import is_session, session_item, session_of, session_order
from agent_service.plans.sinks.queue_server.sink import QueueServerSink
from agent_service.protocols import SERVICE_STOPS, ExitStatus, PlanOrder, PlanResult

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import Event
    from agent_service.plans.sinks.queue_server.clients import Client
    from agent_service.protocols import Document

TURN_S: Final = 10.0
"""How long a session goes on while that of another agent waits."""

START_WITHIN_S: Final = 5.0
"""How long people have between two sessions to start their queue, if it does not start by itself."""


class SessionSink(QueueServerSink):
    """Plans for sessions at a queue server; a `PlanSink`. Belongs to the service's event loop, but for `check`.

    Parameters
    ----------
    client, md, poll_s, may_begin, permit
        As for `QueueServerSink`.
    idle_s
        How long a session waits for a suggestion before it ends, in seconds.
    gives_way
        Whether it ends when somebody puts an item into the queue.
    service
        An id of this service that outlives it, so that a session is known again after a restart.

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
        poll_s: float = 0.25,
        may_begin: Callable[[PlanOrder], bool],
        permit: Callable[[PlanOrder], None] = lambda order: None,
        idle_s: float,
        gives_way: bool,
        service: str,
    ) -> None:
        super().__init__(client, md, poll_s=poll_s, may_begin=may_begin, permit=permit)
        self.claims = SessionClaims(self._md, is_open=self._is_open, may_begin=may_begin, on_change=self._changed)
        self._idle_s = idle_s
        self._gives_way = gives_way
        self._service = service
        self._session: QueuedPlan | None = None
        self._ended: set[str] = set()
        self._since = self._ended_at = 0.0
        self._items = 0  # of people, in the queue since before the session

    @property
    def status(self) -> QueueStatus:
        """What is claimed and what waits, and what the manager says, from memory."""
        claimed = self.claims.claimed
        current = claimed[0] if claimed else None
        return super().status.model_copy(update={"pending": len(self.claims.waiting), "current": current})

    async def stop(self, timeout_s: float) -> None:
        """End: what nobody claimed ends as ``abort``; what is claimed goes on, and is found again."""
        self._driver.closed = SERVICE_STOPS
        self.claims.withdraw(self.claims.waiting, SERVICE_STOPS, begun=False)
        await super().stop(timeout_s)

    async def run(self, order: PlanOrder) -> PlanResult:
        """Let a plan be claimed by a session, and return when it ended; see `ClaimSink.run`."""
        self._refuse_held()
        if self._driver.closed == SERVICE_STOPS:
            return PlanResult(ExitStatus.ABORT, SERVICE_STOPS)
        return await self.claims.result(order)

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Take the plans of an earlier life of the service as claimed, for a while: each may be."""
        return {order.suggestion_id: self.claims.take_up(order) for order in orders}

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``: those of a claimed plan's runs renew its lease, and may end the plan."""
        self.claims.observe(name, document, run)

    def apply(self, fact: Event) -> None:
        """Look at a committed fact, as `ClaimSink.apply`."""
        if fact.kind is EventKind.SUGGESTION_STATE and SuggestionState(str(fact.data["state"])) not in OPEN:
            self.claims.overrule(str(fact.data["id"]))
        elif fact.kind in (EventKind.AGENT_STATE, EventKind.CONFIG):
            self.claims.look_again()
            if self._driver.waiting:
                self._driver.look_again()

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that nobody claimed, or the one for suggestion ``only``; they end as ``abort``."""
        mine = [order for order in self.claims.waiting if order.agent == agent and only in (None, order.suggestion_id)]
        self.claims.withdraw(mine, reason, begun=False)
        self._changed()
        return bool(mine)

    async def resume(self) -> None:
        """Resume from paused or held; our session goes on, if it is paused."""
        self.claims.resumed()
        await super().resume()

    async def abort(self, reason: str) -> None:
        """Latch ``held``, take back what waits, and abort our own session; returns when it ended, or after 5 s."""
        self.latch(reason)
        self.claims.abort(reason)
        await super().abort(reason)

    # sessions -----------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._follow_sessions()
        self.claims.look_again()
        super()._changed()

    def _follow_sessions(self) -> None:
        """Let a session wait for each agent that has something to be claimed, and watch the one that runs."""
        driver = self._driver
        in_queue = int(driver.manager.status.get("items_in_queue") or 0)
        session = next((plan for plan in driver.sent.values() if is_session(plan)), None)
        if session is not self._session:
            if session is None:
                self._ended_at = time.monotonic()
            else:
                self._since, self._items, self.claims.taken = time.monotonic(), in_queue, False
            self._session = session
        self._items = min(self._items, in_queue)
        orders = {order.agent: order for order in reversed(self.claims.waiting)}
        for plan in [plan for plan in driver.waiting if is_session(plan)]:
            if orders.pop(plan.order.agent, None) is None:
                driver.take_back(plan)
        for agent, order in orders.items():
            if session is None or session.order.agent != agent:
                key = str(uuid.uuid4())
                like = session_order(order)
                item = session_item(like, key, service=self._service, idle_s=self._idle_s)
                driver.add(self._watched(QueuedPlan(like, item, key)))

    def _watched(self, plan: QueuedPlan) -> QueuedPlan:
        def ended(_: object) -> None:
            result = plan.ended.result()
            self._ended.add(plan.key)
            if result.exit_status is not ExitStatus.SUCCESS and result.begun:
                self.claims.session_ended(plan.order.agent, result)
            self._changed()

        plan.ended.add_done_callback(ended)
        return plan

    def _take_up(self, item: Mapping[str, Any]) -> QueuedPlan | None:
        found, user = session_of(item, service=self._service), self._driver.manager.client.user
        if found is None or found[1] in self._ended or (user is not None and item.get("user") != user):
            return None  # not ours, or a copy of it that a person made
        agent, key = found
        order = PlanOrder("", agent, {}, "", (), ())
        return self._watched(QueuedPlan(order, {}, key, sent=True, abort_reason=self._held))

    def _wanted(self, plan: QueuedPlan) -> bool:
        return self.claims.claimable(plan.order.agent) if is_session(plan) else super()._wanted(plan)

    def _is_open(self) -> bool:
        return self._driver.closed is None and (self._session is None or not self._is_over(self._session))

    def _is_over(self, session: QueuedPlan) -> bool:
        """Return whether the session that runs is to make room: for a move, for another agent, or for people."""
        driver = self._driver
        others = [plan for plan in driver.waiting if plan.order.agent != session.order.agent or not is_session(plan)]
        if any(not is_session(plan) for plan in others) or (others and time.monotonic() > self._since + TURN_S):
            return True
        status = driver.manager.status
        lock: dict[str, Any] = status.get("lock") or {}
        if lock.get("environment"):
            return True
        in_queue = int(status.get("items_in_queue") or 0)
        starts_itself = bool(status.get("queue_autostart_enabled"))
        return self._gives_way and in_queue > (0 if starts_itself else self._items)

    def _keeps_back(self) -> str | None:
        status = self._driver.manager.status
        if not self._gives_way or not status.get("items_in_queue"):
            return None
        if status.get("queue_autostart_enabled") or time.monotonic() < self._ended_at + START_WITHIN_S:
            return "an item of somebody waits in the queue, and goes first"
        return None
