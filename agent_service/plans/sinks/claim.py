"""Sink ``claim``: plans wait here until a plan in somebody's own RunEngine claims them; this service moves nothing.

A claim is a lease. It is renewed by who holds it, or by documents of its run; when it runs out nobody measures any
more, as far as anybody knows, and the suggestion expires. An abort takes back what waits, and nothing can be claimed
until somebody resumes; what was claimed is measured in somebody else's RunEngine and goes on there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agent_service.documents.choice import can_tell
from agent_service.errors import Conflict, OutOfBounds, QueueHeld
from agent_service.models import EventKind, QueueState, QueueStatus
from agent_service.models.states import OPEN, SuggestionState
from agent_service.protocols import SERVICE_STOPS, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_service.models import AgentSpec, Event, Point
    from agent_service.protocols import Devices, Document, PlanOrder

DEFAULT_LEASE_S: Final = 60.0


@dataclass(slots=True, eq=False)
class _Item:
    """An order, whether somebody holds it, and until when; its runs by uid, with their stop documents."""

    order: PlanOrder
    ended: asyncio.Future[PlanResult]
    claimed: bool = False
    by: str = ""
    lease_s: float = DEFAULT_LEASE_S
    deadline: float = 0.0
    timer: asyncio.TimerHandle | None = None
    says_done: bool = False
    made: int | None = None
    starts: dict[str, Document] = field(default_factory=dict[str, "Document"])
    stops: dict[str, Document] = field(default_factory=dict[str, "Document"])
    streams: set[str] = field(default_factory=set[str])

    @property
    def runs(self) -> tuple[str, ...]:
        """Uids of its runs, in the order of their beginnings."""
        return tuple(self.starts)


class ClaimSink:
    """Plans for others to run; a `PlanSink`. Belongs to the service's event loop.

    Parameters
    ----------
    md
        Metadata for every start document; a claim carries it.
    may_begin
        ``may_begin(order)``: whether its agent wants it measured now. Raises `OutOfBounds` when a guardrail has come
        to forbid it: the order may have waited for long.
    devices
        Those of this process, if it is the one that measures; None where only whoever claims has them.
    """

    kind = "claim"
    takes_ahead = False  # whoever claims the next could begin it before the last is ingested
    plans_end_here = False

    def __init__(
        self, md: Mapping[str, Any], *, may_begin: Callable[[PlanOrder], bool], devices: Devices | None = None
    ) -> None:
        self.devices = devices
        self._md = {key: value for key, value in md.items() if key != "scan_id"}
        self._may_begin = may_begin
        self._items: dict[str, _Item] = {}
        self._paused = False
        self._held: str | None = None
        self._closing: str | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._news: asyncio.Future[None] | None = None

    @property
    def status(self) -> QueueStatus:
        """What is claimed and what waits, from memory."""
        claimed = [uid for uid, one in self._items.items() if one.claimed]
        state, reason = QueueState.RUNNING if claimed else QueueState.IDLE, None
        if self._held is not None:
            state, reason = QueueState.HELD, self._held
        elif self._paused:
            state, reason = QueueState.PAUSED, "paused by request"
        waiting = len(self._items) - len(claimed)
        current = claimed[0] if claimed else None
        return QueueStatus(kind=self.kind, state=state, reason=reason, pending=waiting, current=current)

    # what every sink does -----------------------------------------------------------------------------------------

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; ``on_change`` is called on this event loop."""
        self._on_change = on_change

    async def stop(self, timeout_s: float) -> None:
        """End: what waits, and what is claimed, ends as ``abort`` here; a run that is under way goes on elsewhere."""
        self._closing = SERVICE_STOPS
        for item in list(self._items.values()):
            self._settle(item, PlanResult("abort", self._closing, item.runs))
        self._changed()

    def own_name(self, name: str) -> str:
        """Return the name itself: only whoever measures has the devices."""
        return name

    def check(self, spec: AgentSpec) -> None:
        """Accept every plan and device: whoever claims has them, and this service cannot know them."""

    async def run(self, order: PlanOrder) -> PlanResult:
        """Let a plan be claimed, and return when its run ended, its claim was released, or its lease ran out.

        The last is a result ``expired``. A caller that is cancelled takes it back.

        Raises
        ------
        QueueHeld
            When the queue is held.
        """
        if self._held is not None:
            raise QueueHeld(f"the plan queue is held: {self._held}; resume the queue first", legal=["resume"])
        if self._closing is not None:
            return PlanResult("abort", self._closing)
        item = _Item(order, asyncio.get_running_loop().create_future())
        self._items[order.suggestion_id] = item
        self._changed()
        try:
            return await item.ended
        finally:
            self._forget(item)

    async def move(self, point: Point, *, agent: str = "") -> PlanResult:
        """Raise `Conflict`: only a plan in the RunEngine of who claims can move anything."""
        where = ", ".join(f"{name}, {position:g}" for name, position in point.items())
        raise Conflict(f"this service moves nothing itself (sink claim); in your RunEngine: RE(bps.mv({where}))")

    async def pause(self) -> None:
        """Let nothing be claimed; what is claimed goes on."""
        if self._held is None:
            self._paused = True
            self._changed()

    async def resume(self) -> None:
        """Let plans be claimed again, from paused and from held."""
        self._paused, self._held = False, None
        self._changed()

    async def abort(self, reason: str) -> None:
        """Latch ``held`` and take back what waits; what is claimed is measured elsewhere, and is not ours to stop."""
        self.latch(reason)
        for item in list(self._items.values()):
            if not item.claimed:
                self._settle(item, PlanResult("abort", reason))
        self._changed()

    def latch(self, reason: str) -> None:
        """Hold the queue from the start on, as it was held when the service ended."""
        self._held, self._paused = reason, False
        self._changed()

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that nobody claimed, or the one for suggestion ``only``; they end as ``abort``."""
        mine = [one for uid, one in self._items.items() if one.order.agent == agent and only in (None, uid)]
        waiting = [one for one in mine if not one.claimed]
        for item in waiting:
            self._settle(item, PlanResult("abort", reason, begun=False))
        self._changed()
        return bool(waiting)

    # claims -------------------------------------------------------------------------------------------------------

    async def claim(  # noqa: PLR0913 - what a claim says, by name
        self,
        agent: str | None,
        *,
        by: str = "",
        lease_s: float,
        wait_s: float,
        over: Callable[[], bool],
        says_done: bool = False,
    ) -> PlanOrder | None:
        """Claim the plan that has waited longest, or wait for one.

        Parameters
        ----------
        agent
            Only this agent's plans.
        by
            Name of the key that claims it.
        lease_s
            For how long without a renewal or a document of its run, in seconds.
        wait_s
            How long to wait for a plan, in seconds.
        says_done
            Whether `done` will be called when the plan has ended; else its stop documents tell, as far as they can.
        over
            Whether there is nothing to wait for any more; looked at with each change.

        Returns
        -------
        PlanOrder or None
            None when there is none to claim now: none waits, or the queue is paused or held.
        """
        clock = asyncio.get_running_loop()
        deadline = clock.time() + wait_s
        while (item := self._next(agent)) is None:
            left = deadline - clock.time()
            if left <= 0 or self._closing is not None or over():
                return None
            if self._news is None:
                self._news = clock.create_future()
            await asyncio.wait({self._news}, timeout=left)
        item.by, item.says_done = by, says_done
        self._hold(item, lease_s)
        self._changed()
        return item.order

    def holder(self, suggestion_id: str) -> str | None:
        """Return the name of the key that holds a claim on a suggestion now, or None."""
        item = self._items.get(suggestion_id)
        return (item.by or None) if item is not None and item.claimed and not item.ended.done() else None

    def metadata(self, order: PlanOrder) -> dict[str, Any]:
        """Return what belongs into the start document of an order's run."""
        return {**self._md, **order.md, "agent_name": order.agent, "agent_suggestion_uid": order.suggestion_id}

    def lease_s(self, suggestion_id: str) -> float:
        """Return how long a claim holds without a renewal or a document of its run, in seconds."""
        return self._items[suggestion_id].lease_s

    def renew(self, suggestion_id: str, lease_s: float | None = None) -> PlanOrder:
        """Begin a claim's lease anew, as long as before or ``lease_s`` seconds.

        Raises
        ------
        Conflict
            When nobody holds a claim on it: it expired, was measured, or was never claimed.
        """
        item = self._claimed(suggestion_id)
        self._hold(item, lease_s or item.lease_s)
        return item.order

    def release(self, suggestion_id: str, *, how: str, reason: str) -> None:
        """End a claim without an outcome.

        Parameters
        ----------
        suggestion_id
            The suggestion.
        how
            ``fail`` or ``abort``, as a `PlanResult` says it; ``unused`` gives it back to be claimed again.
        reason
            Why, in one line.

        Raises
        ------
        Conflict
            When nobody holds a claim on it, or it is to be given back though its run began.
        """
        item = self._claimed(suggestion_id)
        if how != "unused":
            self._settle(item, PlanResult(how, reason, item.runs))
        elif item.runs:
            raise Conflict(f"the run of suggestion {suggestion_id} began, so it cannot be claimed again; fail it")
        else:
            self._unclaim(item)
        self._changed()

    def done(self, suggestion_id: str, made: int | None) -> None:
        """Take the word of who measures that a plan has ended; the documents of its runs may come after it.

        Parameters
        ----------
        suggestion_id
            The suggestion.
        made
            How many runs the plan made; None: those that began so far, one at least.

        Raises
        ------
        Conflict
            When nobody holds a claim on it.
        """
        item = self._claimed(suggestion_id)
        if made == 0:
            self._settle(item, PlanResult("fail", "the plan made no run"))
        else:
            item.made = max(made or 1, len(item.starts))
            self._hold(item, item.lease_s)
            self._end_if_over(item)
        self._changed()

    def take(self, name: str, document: Document) -> None:
        """Look at a document of any run: those of a claimed plan's runs renew its lease, and may end the plan."""
        if name == "start":
            self.begin(document)
            return
        item = self._of(name, document)
        if item is None:
            return
        item.deadline = asyncio.get_running_loop().time() + item.lease_s
        if name == "descriptor":
            item.streams.add(str(document.get("uid")))
        elif name == "stop":
            item.stops[str(document.get("run_start"))] = document
            self._end_if_over(item)
            self._changed()

    def apply(self, event: Event) -> None:
        """Look at a committed fact: one about a suggestion may end its plan, one about an agent may let it begin."""
        if event.kind is EventKind.SUGGESTION_STATE and SuggestionState(str(event.data["state"])) not in OPEN:
            item = self._items.get(str(event.data["id"]))
            if item is not None and not item.ended.done():
                self._settle(item, PlanResult("abort", "its fate was decided otherwise", item.runs))
                self._changed()
        elif event.kind in (EventKind.AGENT_STATE, EventKind.CONFIG):
            self._tell()

    # how ----------------------------------------------------------------------------------------------------------

    def _next(self, agent: str | None) -> _Item | None:
        if self._held is not None or self._paused or self._closing is not None:
            return None
        for item in list(self._items.values()):
            if item.claimed or item.ended.done() or agent not in (None, item.order.agent):
                continue
            try:
                if self._may_begin(item.order):
                    return item
            except OutOfBounds as error:
                self._settle(item, PlanResult("rejected", error.detail))
        return None

    def _claimed(self, suggestion_id: str) -> _Item:
        item = self._items.get(suggestion_id)
        if item is None or not item.claimed or item.ended.done():
            raise Conflict(
                f"nobody holds a claim on suggestion {suggestion_id} now: it was measured, it expired, or it was never "
                "claimed; measure it no further"
            )
        return item

    def _hold(self, item: _Item, lease_s: float) -> None:
        clock = asyncio.get_running_loop()
        item.claimed, item.lease_s, item.deadline = True, lease_s, clock.time() + lease_s
        if item.timer is not None:
            item.timer.cancel()
        item.timer = clock.call_at(item.deadline, self._look_at_lease, item)

    def _look_at_lease(self, item: _Item) -> None:
        clock = asyncio.get_running_loop()
        if item.ended.done():
            return
        if item.deadline > clock.time():  # a document came since
            item.timer = clock.call_at(item.deadline, self._look_at_lease, item)
            return
        said = f"its claim ran out: nothing was heard of its run for {item.lease_s:g} s"
        if len(item.stops) == len(item.starts) > 0:
            said = f"its claim ran out: nobody said within {item.lease_s:g} s that its plan has ended (how = done)"
        self._settle(item, PlanResult("expired", said, item.runs))
        self._changed()

    def _unclaim(self, item: _Item) -> None:
        item.claimed = False
        if item.timer is not None:
            item.timer.cancel()
            item.timer = None

    def begin(self, start: Document) -> None:
        """Take note that the run of a plan begins; what was claimed cannot be given back from here on."""
        item = self._items.get(str(start.get("agent_suggestion_uid")))
        if item is None or start.get("uid") in item.starts:
            return
        item.starts[str(start.get("uid"))] = start
        self._hold(item, item.lease_s)  # measured by somebody who did not ask: nobody else shall
        self._changed()

    def _of(self, name: str, document: Document) -> _Item | None:
        run, stream = str(document.get("run_start")), str(document.get("descriptor"))
        for item in self._items.values():
            if run in item.starts or stream in item.streams:
                return item
        return None

    def _end_if_over(self, item: _Item) -> None:
        """End a plan whose runs have ended, if there are no more of them to come, as far as anybody can tell."""
        if item.made is not None:
            over = len(item.starts) >= item.made
        else:
            ended = [start for uid, start in item.starts.items() if uid in item.stops]
            over = not item.says_done and can_tell(item.order.run, every=item.order.every, starts=ended)
        if not over or not item.starts or len(item.stops) < len(item.starts):
            return
        status, reason = "success", ""
        if len(item.stops) == 1:  # which of several counts, the failed one or another, is not ours to say
            [stop] = item.stops.values()
            status, reason = str(stop.get("exit_status")), str(stop.get("reason") or "")
            reason = reason or ("" if status == "success" else f"the run ended with exit_status {status}")
        self._settle(item, PlanResult(status, reason, item.runs))

    def _settle(self, item: _Item, result: PlanResult) -> None:
        if not item.ended.done():
            item.ended.set_result(result)
        self._forget(item)

    def _forget(self, item: _Item) -> None:
        self._unclaim(item)
        if self._items.get(item.order.suggestion_id) is item:
            del self._items[item.order.suggestion_id]

    def _changed(self) -> None:
        self._on_change()
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)
