"""The sink's background work: it submits one plan at a time, and finds out its fate.

A plan is sent once. Whatever the answer to the request, the plan is then looked for among what runs, in the history and
in the documents. If it is nowhere for a while, its fate is unknown: it expires, it is never sent again, and its run
still counts if it comes later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import texts
from agent_service.plans.sinks.queue_server.clients import Silent
from agent_service.plans.sinks.queue_server.manager import Manager
from agent_service.plans.sinks.queue_server.own_item import Steering
from agent_service.plans.sinks.queue_server.peoples_turn import PeoplesTurn
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent_service.plans.sinks.hold import Hold
    from agent_service.plans.sinks.plan_line import PlanLine
    from agent_service.plans.sinks.queue_server.clients import Client
    from agent_service.plans.sinks.queue_server.queued_plan import QueuedPlan
    from agent_service.plans.sinks.unknown_fate import UnknownFates

IDLE_S: Final = 2.0
"""How often the manager is asked while there is nothing to do."""

_SOON_S: Final = 0.05
_FOR_GOOD: Final = re.compile(
    r"cannot be said in|validation failed|user.group|request format|not in the list of allowed", re.IGNORECASE
)
"""What a refusal says that asking again does not change."""

_log = logging.getLogger(__name__)


class QueueDriver:
    """Sends plans of the line in order, one at a time. Belongs to the event loop.

    Parameters
    ----------
    client
        What speaks to the manager.
    line, hold
        The plans, and what keeps all of them.
    fates
        What decides on plans that are nowhere.
    poll_s
        How often the manager is asked while there is something to do, in seconds.
    on_change
        Called when what a status says may have changed.
    gives_way
        Whether people have time to start what they put into the queue, see `PeoplesTurn`.
    take_up
        ``await take_up(item)``: the plan of an item that runs and was sent by an earlier life of the service, else
        None.

    Attributes
    ----------
    people
        Whether it is their turn.
    why
        Why what waits is not sent, as the manager says; None when nothing keeps it.
    looked
        Set once the manager has said what runs.
    """

    def __init__(  # noqa: PLR0913 - what it asks of the sink, by name
        self,
        client: Client,
        line: PlanLine[QueuedPlan],
        hold: Hold,
        *,
        fates: UnknownFates,
        poll_s: float,
        on_change: Callable[[], None],
        gives_way: bool,
        take_up: Callable[[Mapping[str, Any]], Awaitable[QueuedPlan | None]],
    ) -> None:
        self.manager = Manager(client)
        self.people = PeoplesTurn(self.manager)
        self.steering = Steering(self.manager, hold)
        self.why: str | None = None
        self.looked = asyncio.Event()
        self._client = client
        self._line = line
        self._hold = hold
        self._fates = fates
        self._poll_s = poll_s
        self._on_change = on_change
        self._gives_way = gives_way
        self._take_up = take_up
        self._last_uid: str | None = None
        self._told = ""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._drive(), name="queue-server")

    async def stop(self) -> None:
        """End; what was sent goes on at the queue server, and is found again by its id."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._client.close()

    def look_again(self) -> None:
        """Look at once."""
        self._wake.set()

    async def _drive(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._turn()
                self.looked.set()
            except Silent:
                for plan in self._line.begun:
                    plan.nowhere_since = None
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end the queue
                if repr(error) != self._told:  # it comes with each turn
                    self._told = repr(error)
                    _log.exception("the queue server could not be dealt with")
            self._on_change()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):  # `wait_for` of Python 3.11 may swallow a cancellation
                    await self._wake.wait()

    def _pause_s(self) -> float:
        waiting, begun = self._line.waiting, self._line.begun
        aborting = not self.manager.worker_died and any(plan.abort_reason is not None for plan in begun)
        if aborting or (waiting and self._finishes()):
            return min(_SOON_S, self._poll_s)
        return self._poll_s if waiting or begun else max(IDLE_S, self._poll_s)

    def _finishes(self) -> bool:
        """Whether what runs is our last plan, of which the documents have said that it ended."""
        return self._last_uid is not None and self.manager.running_uid == self._last_uid

    async def _turn(self) -> None:
        await self.manager.look()
        self.people.look(free=not self._line.begun)
        unknown = not self._line.begun and self.manager.running_uid not in (None, self._last_uid)
        if unknown and (ours := await self._take_up(await self.manager.running_item())) is not None:
            self._line.add(ours)
        for plan in self._line.begun:
            await self._follow(plan)
        await self.steering.undo(self._line.begun)
        await self.manager.look_at_store()
        if self._line.begun:
            await self.manager.probe()
        elif self._line.waiting:
            await self._send_next()
        elif self.manager.state == "idle":
            self.why = None

    # what was sent ------------------------------------------------------------------------------------------------

    async def _follow(self, plan: QueuedPlan) -> None:
        """Look where a plan is that was sent."""
        if not plan.under_way:
            self._forget(plan)
            return
        # before what runs: that may be a copy of it
        ended_item = None if plan.item_uid else await self._in_history(plan)
        if ended_item is None:
            runs = not plan.item_uid or self.manager.running_uid == plan.item_uid
            item = await self.manager.running_item() if runs else {}
            plan.running = plan.is_item(item, user=self._client.user)
            if plan.running:
                plan.item_uid, plan.nowhere_since = str(item.get("item_uid")), None
                plan.note_status(self.manager.status)
                await self.steering.steer(plan)
                return
            ended_item = await self._in_history(plan)
        if ended_item is not None:
            plan.item_uid = str(ended_item.get("item_uid"))
        if ended_item is not None and plan.is_told_by(ended_item):
            self._fates.known()
            if (how := plan.ended_by_somebody(ended_item)) is not None:
                self._fates.stopped(f"ended our plan ({how})")
            self._end(plan, plan.result_of(ended_item))
        elif self.manager.state in ("idle", "paused") or self.manager.running_uid is not None:
            self._not_found(plan, "" if ended_item is None else plan.died_of(ended_item))

    async def _in_history(self, plan: QueuedPlan) -> dict[str, Any] | None:
        """Return its item of the history, the first one: those after it are copies that people made."""
        items = await self.manager.history()
        return next((item for item in items if plan.is_item(item, user=self._client.user)), None)

    def _not_found(self, plan: QueuedPlan, answer: str) -> None:
        now = time.monotonic()
        plan.nowhere_since = plan.nowhere_since or now
        nowhere_s = now - plan.nowhere_since
        if (result := self._fates.verdict(plan, nowhere_s=nowhere_s, over=True, answer=answer)) is not None:
            self._end(plan, result)

    def _end(self, plan: QueuedPlan, result: PlanResult) -> None:
        plan.end(result)
        self._forget(plan)

    def _forget(self, plan: QueuedPlan) -> None:
        if plan.stop_pending and self._hold.held is None:
            self._fates.stopped("stopped the queue")
        self._line.forget(plan)
        self._last_uid = plan.item_uid

    # what waits ---------------------------------------------------------------------------------------------------

    async def _send_next(self) -> None:
        """Send the first plan that is wanted now, unless something keeps it."""
        if self._hold.why is not None:
            self.why = None
            return
        why = await self.manager.why_not() or (self.people.keeps_back() if self._gives_way else None)
        if why is None:
            await self.manager.probe(at_once=True)
            if not self.manager.answers:
                why = self.manager.trouble or "the worker of the queue server does not answer"
        self.why = None if why is None or self._finishes() else why
        if why is None and (plan := self._line.next()) is not None:
            await self._send(plan)

    async def _send(self, plan: QueuedPlan) -> None:
        plan.begun = True  # before the request: from now on nobody may send it again
        plan.note_status(self.manager.status)  # one that is short is never seen to run
        self._on_change()
        try:
            answer = await self._client.ask("queue_item_execute", item=plan.item)
        except Silent:
            return
        finally:
            self._wake.set()
        if answer.get("success"):
            item: dict[str, Any] = answer.get("item") or {}
            plan.item_uid = str(item.get("item_uid") or "") or None
            return
        plan.begun = False  # a refusal: nothing was done, and nothing will be
        message = texts.one_line(str(answer.get("msg")).partition("\nPlan:")[0])  # that is in the suggestion
        if _FOR_GOOD.search(message):
            self._end(plan, PlanResult(ExitStatus.FAIL, f"the queue server refused it: {message}"))
        elif plan.abort_reason is not None:
            self._end(plan, PlanResult(ExitStatus.ABORT, plan.abort_reason))
        elif plan.ended.done():
            self._forget(plan)
        else:
            self.why = f"the queue server did not take it: {message}"
            self._wake.clear()
