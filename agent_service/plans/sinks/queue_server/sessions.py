"""Which session runs, which one is to be sent, and when the one that runs has to end.

A session is an item as any other of ours. It is told to end by the answer that there is nothing to claim.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import Conflict
from agent_service.plans.sinks.queue_server.queued_plan import QueuedPlan
from agent_service.plans.sinks.queue_server.session_item import is_session, session_item, session_of, session_order
from agent_service.protocols import PlanOrder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.plans.sinks.plan_line import PlanLine
    from agent_service.plans.sinks.queue_server.driver import QueueDriver
    from agent_service.plans.sinks.queue_server.session_claims import SessionClaims
    from agent_service.protocols import PlanResult

TURN_S: Final = 10.0
"""How long a session goes on while that of another agent waits."""

KNOWN_WITHIN_S: Final = 5.0
"""How long a claim waits after a start of the service until it is known what runs."""


class Sessions:
    """Keeps a session running while there is something to be claimed. Belongs to the event loop.

    Parameters
    ----------
    line
        Where sessions wait to be sent, and moves beside them.
    driver
        What sends them, and asks the manager.
    claims
        What sessions claim.
    service
        An id of this service that outlives it, so that a session is known again after a restart.
    idle_s
        How long a session waits for a suggestion before it ends, in seconds.
    gives_way
        Whether it ends when somebody puts an item into the queue. It ends for a lock in any case.
    """

    def __init__(  # noqa: PLR0913 - what it looks at, by name
        self,
        line: PlanLine[QueuedPlan],
        driver: QueueDriver,
        claims: SessionClaims,
        *,
        service: str,
        idle_s: float,
        gives_way: bool,
    ) -> None:
        self._line = line
        self._driver = driver
        self._people = driver.people
        self._claims = claims
        self._service = service
        self._idle_s = idle_s
        self._gives_way = gives_way
        self._current: QueuedPlan | None = None
        self._ended: set[str] = set()
        self._since = 0.0
        self._items = 0  # of people, in the queue since before the session
        self._follows = False

    async def agent_of(self, session: str | None) -> str | None:
        """Return whose suggestions a session may claim: those of the agent that it was sent for, while it runs.

        Right after a start of the service it is not known yet what runs, so the answer waits a while. Returns None for
        a session of ours that is over, and while nothing is known.

        Raises
        ------
        Conflict
            It is none that this service sent.
        """
        if session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KNOWN_WITHIN_S):
                    await self._driver.looked.wait()
        running = next((plan for plan in self._line.begun if is_session(plan)), None)
        if session is not None and running is not None and running.key == session:
            return running.order.agent
        if session in self._ended or (session is not None and not self._driver.looked.is_set()):
            return None
        raise Conflict(
            "suggestions are measured here by the sessions that this service itself puts into the queue of the queue "
            'server, and this is none of them; nothing else can claim them (sink.per_item = "session")'
        )

    def follow(self) -> None:
        """Let a session wait for each agent that has something to be claimed, and watch the one that runs."""
        if not self._follows:  # what it changes lets it be called
            self._follows = True
            try:
                self._follow()
            finally:
                self._follows = False

    def _follow(self) -> None:
        session = next((plan for plan in self._line.begun if is_session(plan)), None)
        if session is not self._current:
            if session is not None:
                self._since, self._items, self._claims.taken = time.monotonic(), self._people.items, False
                self._people.owe()
            self._current = session
        self._items = min(self._items, self._people.items)
        orders = {order.agent: order for order in reversed(self._claims.waiting)}
        for plan in [plan for plan in self._line.waiting if is_session(plan)]:
            if orders.pop(plan.order.agent, None) is None:
                self._line.withdraw([plan], "nothing is to be measured")
        for agent, order in orders.items():
            if session is None or session.order.agent != agent:
                self._line.add(self._session_of(order))

    async def take_up(self, item: Mapping[str, Any]) -> QueuedPlan | None:
        """Return the session that an item is which an earlier life of the service sent; None for anything else."""
        session, user = session_of(item, service=self._service), self._driver.manager.client.user
        if session is None or session[1] in self._ended or (user is not None and item.get("user") != user):
            return None
        history = await self._driver.manager.history()
        if session in [session_of(past, service=self._service) for past in history]:  # a copy that a person made of it
            return None
        agent, key = session
        return self._watched(QueuedPlan(PlanOrder("", agent, {}, "", (), ()), {}, key, taken_up=True))

    @property
    def is_over(self) -> bool:
        """Whether the session that runs is to make room: for a move, for another agent, or for people."""
        session = self._current
        if session is None:
            return False
        others = [
            plan for plan in self._line.waiting if plan.order.agent != session.order.agent or not is_session(plan)
        ]
        if any(not is_session(plan) for plan in others) or (others and time.monotonic() > self._since + TURN_S):
            return True
        if self._driver.manager.is_locked or self._driver.manager.status.get("queue_stop_pending"):
            return True
        return self._gives_way and self._people.items > (0 if self._people.starts_itself else self._items)

    def _session_of(self, order: PlanOrder) -> QueuedPlan:
        key, like = str(uuid.uuid4()), session_order(order)
        item = session_item(like, key, service=self._service, idle_s=self._idle_s)
        return self._watched(QueuedPlan(like, item, key))

    def _watched(self, plan: QueuedPlan) -> QueuedPlan:
        def ended(future: asyncio.Future[PlanResult]) -> None:
            self._ended.add(plan.key)
            if future.cancelled():  # the service ends
                return
            result = future.result()
            if result.begun:
                self._claims.session_ended(plan.order.agent, result)

        plan.ended.add_done_callback(ended)
        return plan
