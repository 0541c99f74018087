"""Sink ``run_engine`` where the RunEngine has a process of its own: plans go there one behind the other.

Each plan is known by a number. What has begun is in `TurnFile`, so that a process that is killed, whenever that
is, has run a plan or has not: one that had begun is failed, any other goes to the next process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, QueueHeld, ServiceError
from agent_service.models import EventKind, QueueState, QueueStatus
from agent_service.models.state_machines import OPEN, SuggestionState
from agent_service.plans.sinks.engine_process._handed_plans import HandedPlan, HandedPlans
from agent_service.plans.sinks.engine_process._link import EngineDevices, EngineLink
from agent_service.plans.sinks.engine_process._permission import Permission
from agent_service.protocols import MOVE, SERVICE_STOPS, ExitStatus, MeasuredBy, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.documents.intake import DocumentIntake
    from agent_service.documents.sources.engine_process import EngineProcessSource
    from agent_service.models import AgentSpec, Event, Point
    from agent_service.plans.sinks.engine_process._frames import Message
    from agent_service.plans.sinks.engine_process._permission import Permits
    from agent_service.plans.sinks.engine_process._turns import TurnFile
    from agent_service.plans.sinks.engine_settings import EngineSettings
    from agent_service.protocols import Document

ABORTS_WITHIN_S: Final = 10.0
"""How long the process may take to answer an abort; then it is killed, for a stop always stops."""

_PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""How long to wait before each try to start the process again; the last one goes on."""

_UNWANTED: Final = "nobody waits for it any more"

_LIVED_S: Final = 60.0
"""How long a process lives that counts as one that works: after it the pauses begin anew."""

_log = logging.getLogger(__name__)


class EngineProcessSink:
    """Plans for the RunEngine's process; a `PlanSink`. Belongs to the service's event loop.

    Parameters
    ----------
    link
        The connection, with a process that said hello.
    settings
        What another process is made of.
    turns
        Which plans have begun.
    intake
        Where documents go; no plan begins while it is full.
    source
        What puts them there.
    permits
        Returns what the guardrails say; asked when a plan's turn comes.
    """

    kind = "run_engine"
    takes_ahead = True
    plans_end_here = True
    measured_by = MeasuredBy.SERVICE
    moves = True

    def __init__(  # noqa: PLR0913 - what it is made of, by name
        self,
        link: EngineLink,
        settings: EngineSettings,
        turns: TurnFile,
        *,
        intake: DocumentIntake,
        source: EngineProcessSource,
        permits: Callable[[], Permits],
    ) -> None:
        assert link.hello is not None  # noqa: S101 - see Parameters
        self.devices = EngineDevices(link)
        self._link = link
        self._settings = settings
        self._turns = turns
        self._source = source
        self._plans = HandedPlans(link, turns, intake, self._changed)
        self._permission = Permission(permits, intake, self._changed)
        self._left: dict[int, PlanOrder] = dict(link.hello.orders)
        self.reattaches = bool(self._left)
        self._status = QueueStatus(kind=self.kind, state=QueueState.IDLE)
        self._held: str | None = None
        self._paused = False
        self._away: str | None = None
        self._closing: str | None = None
        self._attached = False
        self._up_since = time.monotonic()
        self._tries = 0
        self._on_change: Callable[[], None] = lambda: None
        self._restarting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        link.on_message, link.on_lost = self._hear, self._lost
        source.on_stored = lambda seq: link.send(("stored", seq))

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits, from memory."""
        state, reason = self._status.state, self._status.reason
        if self._held is not None:
            state, reason = QueueState.HELD, self._held
        elif self._paused and state is not QueueState.PAUSED:
            state, reason = QueueState.PAUSED, "paused by request"
        elif (why := self._away or self._permission.full) is not None and state is not QueueState.PAUSED:
            state, reason = QueueState.SUSPENDED, why
        current = self._status.current
        pending = sum(1 for one in self._plans.waiting if current is None or one.order.suggestion_id != current)
        return QueueStatus(kind=self.kind, state=state, reason=reason, pending=pending, current=current)

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; ``on_change`` is called on this event loop."""
        self._on_change = on_change
        if not self._left and self._link.hello is not None and not self._link.hello.runs:
            self._attach()

    async def stop(self, timeout_s: float) -> None:
        """End: a plan under way is aborted so that its stop document is written, and the process ends.

        A plan that does not end in time is killed with the process.
        """
        if self._closing is not None:
            return
        self._closing = SERVICE_STOPS
        if self._restarting is not None:
            self._restarting.cancel()
        self._plans.take_back(self._plans.all, SERVICE_STOPS)
        try:
            await self._stop(timeout_s)
        finally:
            self._link.leave()
            self._turns.close()

    async def _stop(self, timeout_s: float) -> None:
        self._attach()
        why = "its plan did not end in time"
        try:
            ended = await self._link.call("stop", SERVICE_STOPS, timeout_s, timeout_s=timeout_s + 1.0)
        except BackendUnavailable as error:
            ended, why = False, error.detail
        if not ended:
            await self._kill(SERVICE_STOPS, why)
            return
        self._link.send(*[("settled", one.number) for one in self._plans.all])
        await self._link.quit()

    def latch(self, reason: str) -> None:
        """Hold the queue from the start on, as it was held when the service ended."""
        self._held, self._paused = reason, False
        self._link.tell("latch", reason)
        self._on_change()

    def own_name(self, name: str) -> str:
        """Return what a device calls itself; blocks."""
        return self._link.ask("own_name", name)

    def check(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice` unless there are the plan and the devices; blocks."""
        self._link.ask("check", spec)

    async def run(self, order: PlanOrder) -> PlanResult:
        """Hand a plan over and return when it ended and its documents were delivered.

        A caller that is cancelled withdraws a plan that waits; one that runs goes on to its end, unobserved.

        Raises
        ------
        QueueHeld
            When the queue is held.
        """
        return await self._result(order)

    async def move(self, point: Point, *, agent: str = "") -> PlanResult:
        """Hand a move over, and return when it ended. Raises as `run`."""
        return await self._result(PlanOrder("", agent, dict(point), plan=MOVE, actuators=tuple(point), sensors=()))

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Take up the plans that the process has still; what it has besides is taken back, as far as it waits.

        It hands over what it has when `listen` is called.
        """
        wanted = {order.suggestion_id: order for order in orders}
        found: dict[str, asyncio.Future[PlanResult]] = {}
        for number, order in sorted(self._left.items()):
            plan = HandedPlan.of(order)
            self._plans.take_up(number, plan)
            if order.suggestion_id in wanted:
                found[order.suggestion_id] = plan.ended
            else:
                plan.is_decided = True
                self._plans.take_back([plan], _UNWANTED)
        self._left = {}
        return found

    def listen(self) -> None:
        """Let the process hand over what it has, when those who wait for it are known."""
        self._attach()

    def observe(self, name: str, document: Document, run: str) -> None:
        """Do nothing: the RunEngine tells how its plans go."""

    def apply(self, fact: Event) -> None:
        """Look at a committed fact: when a suggestion's fate is written, the process may forget its plan."""
        if fact.kind is EventKind.SUGGESTION_STATE and SuggestionState(str(fact.data["state"])) not in OPEN:
            self._plans.decide(str(fact.data["id"]))

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that wait, or the one for suggestion ``only``; return whether there was any."""
        mine = [one for one in self._plans.all if one.order.agent == agent and only in (None, one.order.suggestion_id)]
        return self._plans.take_back(mine, reason)

    async def pause(self) -> None:
        """Pause: the plan under way stops at its next checkpoint, if it has one, and no other begins."""
        self._paused = self._held is None
        self._link.tell("pause")
        self._on_change()

    async def resume(self) -> None:
        """Resume from paused or held.

        Raises
        ------
        BackendUnavailable
            There is no RunEngine, or its process does not answer.
        """
        if self._link.up:
            await self._link.call("resume", timeout_s=ABORTS_WITHIN_S)
        self._held, self._paused = None, False
        self._on_change()

    async def abort(self, reason: str) -> None:
        """Latch ``held``, withdraw what waits, and abort the plan under way; returns when it ended, or after 5 s.

        A process that does not answer, for a device holds its interpreter, is killed: a stop always stops.
        """
        self._held, self._paused = reason, False
        self._plans.take_back(self._plans.all, reason)
        self._on_change()
        if not self._link.up:
            return
        try:
            await self._link.call("abort", reason, timeout_s=ABORTS_WITHIN_S)
        except BackendUnavailable as error:
            await self._kill(reason, error.detail)

    # plans --------------------------------------------------------------------------------------------------------

    async def _result(self, order: PlanOrder) -> PlanResult:
        if self._held is not None:
            raise QueueHeld(f"the plan queue is held: {self._held}; resume the queue first", legal=["resume"])
        if self._closing is not None:
            return PlanResult(ExitStatus.ABORT, self._closing, begun=False)
        plan = HandedPlan.of(order)
        self._plans.hand_over(plan)
        self._on_change()
        try:
            return await asyncio.shield(plan.ended)
        except asyncio.CancelledError:
            self._plans.take_back([plan], _UNWANTED)
            raise

    # the process --------------------------------------------------------------------------------------------------

    def _attach(self) -> None:
        if not self._attached:
            self._attached = True
            self._link.send(("attach",))

    def _hear(self, message: Message) -> None:
        match message:
            case ("document", seq, name, document):
                self._source.take(seq, name, document)
            case ("ended", number, result):
                self._plans.end(number, result)
            case ("status", status):
                self._status = status
                self._on_change()
            case ("ask", number, found, wholes):
                task = asyncio.ensure_future(self._answer(number, found, wholes))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case _:
                _log.error("the RunEngine's process says %r, which is not known here", message[0])

    async def _answer(self, number: int, found: Mapping[str, float] | None, wholes: Mapping[str, Any]) -> None:
        """Say whether a plan may begin; ``found`` is None while the one before it runs."""
        if (plan := self._plans.get(number)) is not None:
            early = found is None
            verdict = False if early and self._paused else await self._permission.verdict(plan.order, found, wholes)
            self._link.send(("permitted", number, early, verdict))

    def _changed(self) -> None:
        self._on_change()

    async def _kill(self, reason: str, why: str) -> None:
        """Kill the process, if it is there, and wait until that is known."""
        if not self._link.up:
            return
        _log.error("the RunEngine's process is killed: %s", why)
        under_way = [one.ended for one in self._plans.under_way]
        self._link.kill(reason)
        if under_way:
            await asyncio.wait(under_way, timeout=ABORTS_WITHIN_S)
        await self._link.gone()

    def _lost(self, how: str) -> None:
        """Fail the plan under way, and start the process again."""
        self._away = f"the RunEngine's process {how}; it is started again"
        self._status = QueueStatus(kind=self.kind, state=QueueState.IDLE)
        self._left = {}  # what it had from before: the journal says what becomes of it
        runs = self._source.interrupt(f"interrupted: the RunEngine's process {how}")
        stopped = self._closing or self._held
        status = ExitStatus.FAIL if stopped is None else ExitStatus.ABORT
        why = f"the RunEngine's process {how} during the plan"
        for plan in self._plans.under_way:
            self._plans.end(
                plan.number, PlanResult(status, why if stopped is None else f"{stopped}; {why}", tuple(runs))
            )
        _log.error("the RunEngine's process %s; it is started again", how)
        if self._closing is None:
            self._restarting = asyncio.ensure_future(self._restart())
        self._on_change()

    async def _restart(self) -> None:
        if time.monotonic() > self._up_since + _LIVED_S:
            self._tries = 0
        while True:
            await asyncio.sleep(_PAUSES_S[min(self._tries, len(_PAUSES_S) - 1)])
            self._tries += 1
            try:
                await self._link.open(replace(self._settings, md={**self._settings.md, **self._source.numbering}))
            except ServiceError as error:
                self._away = f"the RunEngine's process could not be started again: {error.detail}; it is tried again"
                _log.error("%s", self._away)
                self._on_change()
            else:
                break
        self._away, self._up_since = None, time.monotonic()
        self._attached = False
        self._attach()
        if self._held is not None:
            self._link.tell("latch", self._held)
        elif self._paused:
            self._link.tell("pause")
        for plan in self._plans.waiting:
            self._plans.hand_over(plan)
        _log.info("the RunEngine's process is there again")
        self._on_change()
