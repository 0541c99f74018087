"""Sink ``run_engine`` for a RunEngine with a process of its own: plans go there one after the other.

Each plan has a number. `TurnFile` says which have begun, so that it is known, whenever the process is killed, whether a
plan had begun: if so, it is failed; any other plan goes to the next process.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from agent_service.models import EventKind, QueueState, QueueStatus
from agent_service.models.state_machines import OPEN, SuggestionState
from agent_service.plans.sinks.engine_process._devices import EngineDevices
from agent_service.plans.sinks.engine_process._hand_over import HandOver
from agent_service.plans.sinks.engine_process._handed_plans import UNWANTED, HandedPlan, HandedPlans
from agent_service.plans.sinks.engine_process._live_plans import SentPlans
from agent_service.plans.sinks.engine_process._next_process import NextProcess
from agent_service.plans.sinks.engine_process._permission import Permission
from agent_service.plans.sinks.engine_process._pulse import Pulse
from agent_service.plans.sinks.engine_process._signals import EngineSignals
from agent_service.plans.sinks.engine_process._steering import Steering
from agent_service.protocols import MOVE, SERVICE_STOPS, ExitStatus, MeasuredBy, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_service.documents.intake import DocumentIntake
    from agent_service.documents.sources.engine_process import EngineProcessSource
    from agent_service.models import AgentSpec, Event, Point
    from agent_service.plans.sinks.engine_process._frames import Message
    from agent_service.plans.sinks.engine_process._link import EngineLink
    from agent_service.plans.sinks.engine_process._permission import Permits
    from agent_service.plans.sinks.engine_process._turns import TurnFile
    from agent_service.plans.sinks.engine_settings import EngineSettings
    from agent_service.protocols import Document

_log = logging.getLogger(__name__)


class EngineProcessSink:
    """Plans for the RunEngine's process; a `PlanSink`. Belongs to the service's event loop.

    ``link`` has a process that said hello, and ``settings`` is what another is made of. Documents go through ``source``
    into ``intake``; no plan begins while that is full. ``permits`` returns the guardrails, which are asked when a
    plan's turn comes.
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
        assert link.hello is not None  # noqa: S101 - see above
        sent_plans = SentPlans()
        self.devices = EngineDevices(link, sent_plans)
        self.list_devices = self.devices.list_devices
        self.signals = EngineSignals(link, asyncio.get_running_loop())
        self._link = link
        self._turns = turns
        self._source = source
        self._on_change: Callable[[], None] = lambda: None

        def changed() -> None:
            self._on_change()

        self._plans = HandedPlans(link, turns, intake, sent_plans, on_change=changed)
        self._steering = Steering(link, self._plans, changed)
        self._permission = Permission(link, permits, intake, changed)
        self._process = NextProcess(
            link,
            settings,
            source=source,
            plans=self._plans,
            steering=self._steering,
            signals=self.signals,
            on_change=changed,
        )
        self._pulse = Pulse(link, changed)
        self._left: dict[int, PlanOrder] = dict(link.hello.orders)
        self.reattaches = bool(self._left or link.hello.runs)
        self.hand_over = HandOver(link, source)
        self._status = QueueStatus(kind=self.kind, state=QueueState.IDLE)
        link.on_message, link.on_lost = self._hear, self._lost
        source.on_stored = lambda seq: link.send(("stored", seq))

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits, from memory."""
        state, reason = self._steering.shown(self._status, self._process.away or self._permission.full)
        current = self._status.current
        pending = sum(plan.order.suggestion_id != current or current is None for plan in self._plans.waiting)
        reason = reason or self._pulse.why
        return QueueStatus(kind=self.kind, state=state, reason=reason, pending=pending, current=current)

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; ``on_change`` is called on this event loop."""
        self._on_change = on_change
        self._pulse.start()
        if not self.reattaches:
            self._process.attach()

    async def stop(self, timeout_s: float) -> None:
        """End: a plan under way is aborted so that its stop document is written, and the process ends.

        A plan that does not end in time is killed with the process. A service that ends before it has taken the plans
        of its life before over, for it cannot start, leaves them to the next one.
        """
        if self._steering.closing is not None:
            return
        self._steering.closing = SERVICE_STOPS
        self._process.stop()
        self._pulse.stop()
        self._plans.take_back(self._plans.all, SERVICE_STOPS)
        try:
            if self._process.attached or not self._left:
                self._process.attach()
                await self._steering.end(timeout_s)
        finally:
            self._link.leave()
            self._turns.close()

    def latch(self, reason: str) -> None:
        """Hold the queue from the start on, as it was held when the service ended."""
        self._steering.latch(reason)

    def own_name(self, name: str) -> str:
        """Return what a device calls itself; blocks."""
        return self.devices.own_name(name)

    def check(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice` unless there are the plan and the devices; blocks."""
        self.devices.check_agent(spec)

    async def run(self, order: PlanOrder) -> PlanResult:
        """Hand a plan over and return when it ended and its documents were delivered.

        A caller that is cancelled withdraws a plan that waits; one that runs goes on to its end, unobserved. Raises
        `QueueHeld` when the queue is held.
        """
        self._steering.require_free()
        if self._steering.closing is not None:
            return PlanResult(ExitStatus.ABORT, self._steering.closing, begun=False)
        return await self._plans.result(order)

    async def move(self, point: Point, *, agent: str = "", despite_conditions: bool = False) -> PlanResult:
        """Hand a move over, and return when it ended. Raises as `run`."""
        about: dict[str, Any] = {"plan": MOVE, "actuators": tuple(point), "sensors": ()}
        return await self.run(PlanOrder("", agent, dict(point), **about, despite_conditions=despite_conditions))

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Take up the plans that the process has still; what it has besides is taken back, as far as it waits.

        One that is about to end begins none of those that wait.
        It hands over what it has when `listen` is called.
        """
        wanted = {order.suggestion_id for order in orders}
        endings: dict[str, asyncio.Future[PlanResult]] = {}
        for number, order in sorted(self._left.items()):
            plan = HandedPlan.of(order)
            self._plans.take_up(number, plan)
            if order.suggestion_id in wanted and not (self._process.leaves and number > self._turns.last):
                endings[order.suggestion_id] = plan.ended
            else:
                plan.is_decided = True
                self._plans.take_back([plan], UNWANTED)
        self._left = {}
        return endings

    def listen(self) -> None:
        """Let the process hand over what it has, when those who wait for it are known."""
        self._process.attach()

    def observe(self, name: str, document: Document, run: str) -> None:
        """Do nothing: the RunEngine tells how its plans go."""

    def apply(self, fact: Event) -> None:
        """Look at a committed fact: when a suggestion's fate is written, the process may forget its plan.

        When an agent is changed, its plans that were permitted early are to be asked for again.
        """
        if fact.kind is EventKind.CONFIG:  # its guardrails, perhaps
            self._link.send(("ask again", fact.agent))
        elif fact.kind is EventKind.SUGGESTION_STATE and SuggestionState(str(fact.data["state"])) not in OPEN:
            self._plans.decide(str(fact.data["id"]))

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that wait, or the one for suggestion ``only``; return whether there was any."""
        orders = ((plan, plan.order) for plan in self._plans.all)
        mine = [plan for plan, order in orders if order.agent == agent and only in (None, order.suggestion_id)]
        return self._plans.take_back(mine, reason)

    async def pause(self) -> None:
        """Pause: the plan under way stops at its next checkpoint, if it has one, and no other begins."""
        await self._steering.pause()

    async def resume(self) -> None:
        """Resume from paused or held.

        Raises
        ------
        BackendUnavailable
            There is no RunEngine, or its process does not answer.
        """
        await self._steering.resume(paused=self.status.state is QueueState.PAUSED)

    async def abort(self, reason: str) -> None:
        """Latch ``held``, withdraw what waits, and abort the plan under way; returns when it ended, or after 5 s.

        A process that does not answer, for a device holds its interpreter, is killed: a stop always stops.
        """
        await self._steering.abort(reason)

    def _hear(self, message: Message) -> None:
        match message:
            case ("document", seq, name, document):
                self._source.take(seq, name, document)
            case ("handed over", runs):
                self.hand_over.end(runs)
            case ("reading", name, reading):
                self.signals.hear(name, reading)
            case ("ended", number, result):
                if getattr(result, "begun", False):
                    self._permission.note_begun(number)
                self._plans.end(number, result)
            case ("status", status):
                self._status = status
                self._on_change()
            case ("ask", number, question):
                if (plan := self._plans.get(number)) is not None:
                    self._permission.answer(number, plan.order, question, paused=self._steering.paused)
                elif number not in self._left:  # else it is asked again when those are taken up
                    self._plans.disown(number)
            case _:
                _log.error("the RunEngine's process says %r, which is not known here", message[0])

    def _lost(self, how: str) -> None:
        self._status = QueueStatus(kind=self.kind, state=QueueState.IDLE)
        self._left = {}  # what it had from before: the journal says what becomes of it
        self._process.follow(how)
        self.hand_over.end(())
