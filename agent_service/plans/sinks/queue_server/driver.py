"""What the sink does in the background: hand one plan over at a time, and find out what becomes of it.

A plan is sent once. After that it is looked for, however the request was answered: in what runs, in the history, in the
documents. What is found nowhere for a while has an unknown fate: it expires, it is never sent again, and its run counts
all the same if it comes yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import OutOfBounds, texts
from agent_service.plans.sinks.queue_server.clients import Silent
from agent_service.plans.sinks.queue_server.manager import Manager
from agent_service.plans.sinks.queue_server.own_item import Steering
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_service.plans.sinks.queue_server.clients import Client
    from agent_service.plans.sinks.queue_server.queued_plan import QueuedPlan

UNKNOWN_AFTER_S: Final = 5.0
"""How long a plan is looked for in vain before its fate is unknown: a manager that wakes does what it was sent."""

LOST_AFTER_S: Final = 60.0
"""The same where its run has begun: its end may come from the catalogue."""

UNKNOWN_IN_A_ROW: Final = 3
"""Plans of unknown fate after which nothing more is sent until a person resumes the queue."""

IDLE_S: Final = 2.0
"""How often the manager is asked while there is nothing to do."""

_SOON_S: Final = 0.05
_FOR_GOOD: Final = re.compile(r"validation failed|user.group|request format|not in the list of allowed", re.IGNORECASE)
"""What a refusal says that asking again does not change."""

_log = logging.getLogger(__name__)


class QueueDriver:
    """Sends plans in order, one at a time. Belongs to the event loop.

    Parameters
    ----------
    client
        What speaks to the manager.
    poll_s
        How often it is asked while there is something to do, in seconds.
    may_begin
        ``may_begin(plan)``: whether a plan is wanted now. Raises `OutOfBounds` when a guardrail forbids it by now.
    on_change
        Called when what a status says may have changed.
    keeps_back
        ``keeps_back()``: why nothing is to be sent though the manager would take it, None: nothing keeps it.
    take_up
        ``take_up(item)``: the plan of an item that runs and was sent by an earlier life of the service, else None.

    Attributes
    ----------
    waiting, sent
        Plans that were not sent yet, in order; and those that were, and have not ended as far as is known.
    why
        Why what waits is not sent, as the manager says; None when nothing keeps it.
    closed
        Why nothing is sent whatever the manager says; None when it may be.
    """

    def __init__(  # noqa: PLR0913 - what it asks of the sink, by name
        self,
        client: Client,
        *,
        poll_s: float,
        may_begin: Callable[[QueuedPlan], bool],
        on_change: Callable[[], None],
        latch: Callable[[str], None],
        keeps_back: Callable[[], str | None],
        take_up: Callable[[Mapping[str, Any]], QueuedPlan | None],
    ) -> None:
        self.manager = Manager(client)
        self.steering = Steering(self.manager)
        self.waiting: list[QueuedPlan] = []
        self.sent: dict[str, QueuedPlan] = {}
        self.why: str | None = None
        self.closed: str | None = None
        self._client = client
        self._poll_s = poll_s
        self._may_begin = may_begin
        self._on_change = on_change
        self._latch = latch
        self._keeps_back = keeps_back
        self._take_up = take_up
        self._last_uid: str | None = None
        self._unknown = 0
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

    def add(self, plan: QueuedPlan) -> None:
        """Take a plan to be sent; one that was sent by an earlier life of the service is looked for."""
        if plan.sent:
            self.sent[plan.key] = plan
        else:
            self.waiting.append(plan)
        self.look_again()

    def take_back(self, plan: QueuedPlan) -> bool:
        """Take a plan back that was not sent; return whether that was so."""
        if plan not in self.waiting:
            return False
        self.waiting.remove(plan)
        self.look_again()
        return True

    def look_again(self) -> None:
        """Look at once."""
        self._wake.set()

    async def _drive(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._turn()
            except Silent:
                for plan in self.sent.values():
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
        if self.steering.in_a_hurry or (self.waiting and self._finishes()):
            return min(_SOON_S, self._poll_s)
        return self._poll_s if self.waiting or self.sent else max(IDLE_S, self._poll_s)

    def _finishes(self) -> bool:
        """Whether what runs is our last plan, of which the documents have said that it ended."""
        return self._last_uid is not None and self.manager.running_uid == self._last_uid

    async def _turn(self) -> None:
        await self.manager.look()
        unknown = not self.sent and self.manager.running_uid not in (None, self._last_uid)
        if unknown and (found := self._take_up(await self.manager.running_item())) is not None:
            self.add(found)
        for plan in list(self.sent.values()):
            await self._follow(plan)
        await self.steering.undo(self.sent.values())
        if self.sent:
            await self.manager.probe()
        elif self.waiting:
            await self._send_next()
        else:
            self.why = None if self.manager.state == "idle" else self.why
            await self.manager.look_at_store()

    # what was sent ------------------------------------------------------------------------------------------------

    async def _follow(self, plan: QueuedPlan) -> None:
        """Look where a plan is that was sent."""
        if not plan.under_way:
            self._forget(plan)
            return
        found = None if plan.item_uid else await self._in_history(plan)  # before what runs: that may be a copy of it
        if found is None:
            runs = not plan.item_uid or self.manager.running_uid == plan.item_uid
            item = await self.manager.running_item() if runs else {}
            plan.running = plan.is_item(item, user=self._client.user)
            if plan.running:
                plan.item_uid, plan.nowhere_since = str(item.get("item_uid")), None
                await self.steering.steer(plan)
                return
            found = await self._in_history(plan)
        if found is not None:
            plan.item_uid = str(found.get("item_uid"))
            self._unknown = 0
            self._end(plan, plan.result_of(found))
        elif self.manager.state in ("idle", "paused") or self.manager.running_uid is not None:
            self._not_found(plan)

    async def _in_history(self, plan: QueuedPlan) -> dict[str, Any] | None:
        """Return its item of the history, the first one: those after it are copies that people made."""
        items = await self.manager.history()
        return next((item for item in items if plan.is_item(item, user=self._client.user)), None)

    def _not_found(self, plan: QueuedPlan) -> None:
        now = time.monotonic()
        plan.nowhere_since = plan.nowhere_since or now
        for_s = now - plan.nowhere_since
        if for_s < UNKNOWN_AFTER_S:
            return
        if plan.overruled:  # nobody asks for its fate
            self._forget(plan)
            return
        if plan.runs.all_stopped:  # the history was cleared
            statuses = {str(stop.get("exit_status")) for stop in plan.runs.stops.values()}
            status = ExitStatus.of_run(statuses.pop()) if len(statuses) == 1 else ExitStatus.SUCCESS
            reason = "" if status is ExitStatus.SUCCESS else f"the run ended with exit_status {status}"
            self._end(plan, PlanResult(status, reason, plan.runs.uids))
        elif plan.runs.starts:
            if for_s >= LOST_AFTER_S:
                said = "its run began, and neither the queue server nor a stop document says how it ended"
                self._end(plan, PlanResult(ExitStatus.EXPIRED, said, plan.runs.uids))
        else:
            self._unknown += 1
            said = (
                f"unknown whether it was measured: the queue server was asked to run it, and {UNKNOWN_AFTER_S:g} s "
                "later it neither runs nor is in the history; it is not sent again, and its run counts if it comes yet"
            )
            _log.warning("suggestion %s: %s", plan.key, said)
            self._end(plan, PlanResult(ExitStatus.EXPIRED, said))
            if self._unknown >= UNKNOWN_IN_A_ROW:
                self._unknown = 0
                self._latch(
                    f"{UNKNOWN_IN_A_ROW} plans in a row were given to the queue server and are nowhere; look at it, "
                    "then resume the queue"
                )

    def _end(self, plan: QueuedPlan, result: PlanResult) -> None:
        plan.end(result)
        self._forget(plan)

    def _forget(self, plan: QueuedPlan) -> None:
        self.sent.pop(plan.key, None)
        self._last_uid = plan.item_uid

    # what waits ---------------------------------------------------------------------------------------------------

    async def _send_next(self) -> None:
        """Send the first plan that is wanted now, unless something keeps it."""
        if self.closed is not None:
            self.why = None
            return
        why = await self.manager.why_not() or self._keeps_back()
        if why is None:
            await self.manager.probe(at_once=True)
            if not self.manager.answers:
                why = self.manager.trouble or "the worker of the queue server does not answer"
        self.why = None if why is None or self._finishes() else why
        if why is None and self.closed is None and (plan := self._next()) is not None:
            await self._send(plan)

    def _next(self) -> QueuedPlan | None:
        for plan in list(self.waiting):
            try:
                if self._may_begin(plan):
                    return plan
            except OutOfBounds as error:
                self.waiting.remove(plan)
                plan.end(PlanResult(ExitStatus.REJECTED, error.detail))
        return None

    async def _send(self, plan: QueuedPlan) -> None:
        self.waiting.remove(plan)
        plan.sent = True  # before the request: from now on nobody may send it again
        self.sent[plan.key] = plan
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
        plan.sent = False  # a refusal: nothing was done, and nothing will be
        del self.sent[plan.key]
        said = texts.one_line(str(answer.get("msg")))
        if _FOR_GOOD.search(said):
            plan.end(PlanResult(ExitStatus.FAIL, f"the queue server refused it: {said}"))
        elif plan.abort_reason is not None:
            plan.end(PlanResult(ExitStatus.ABORT, plan.abort_reason))
        elif not plan.ended.done():
            self.waiting.insert(0, plan)
            self.why = f"the queue server did not take it: {said}"
            self._wake.clear()
