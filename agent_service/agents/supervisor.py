"""Creates, configures, removes and finds agents, and brings them back after a restart of the service.

Every change is first a fact in the journal. The supervisor applies facts when they are committed, so its memory is a
fold over the journal, at run time and after a crash.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from agent_service.agents import recovery
from agent_service.agents.agent import HostedAgent
from agent_service.agents.conditions import Conditions
from agent_service.agents.decisions import Decisions
from agent_service.agents.device_limits import DeviceLimits
from agent_service.agents.directory import AgentDirectory
from agent_service.agents.fillers import SOBOL
from agent_service.agents.guardrails_in_force import no_limits_said
from agent_service.agents.known_devices import KnownDevices
from agent_service.agents.lifecycle import AgentLifecycle
from agent_service.agents.loop import AgentLoop
from agent_service.agents.loop_runner import LoopRunner
from agent_service.agents.plan_permits import PlanPermits
from agent_service.agents.positions import LastPositions
from agent_service.agents.spec_checks import SpecChecks
from agent_service.documents.dispatch import RunDispatcher
from agent_service.errors import AlreadyExists, Conflict
from agent_service.models import AgentPatch, AgentSpec, EventKind, ServiceGuardrails
from agent_service.models.state_machines import (
    AgentState,
)
from agent_service.plans.plan_queue import PlanQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from agent_service.agents.placement import Placement
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.agents.record.service import ServiceRecord
    from agent_service.agents.saved_brains import SavedBrains
    from agent_service.documents.runs import Run
    from agent_service.journal import JournalLog
    from agent_service.models import ConditionSpec, Event
    from agent_service.protocols import PlanSink, Signals


NONE: Final[Mapping[str, ConditionSpec]] = {}


class Supervisor(AgentDirectory):
    """Hosts the agents, whose directory it is; belongs to the event loop.

    `apply` is the applier of the journal, where every fact goes. ``await archived(uid, timeout_s)`` returns when the
    catalogue holds the run; ``await documents(uid)`` returns a past run, for warm starts and ingest by uid. ``limits``
    are guardrails that hold for each agent, beside its own. ``conditions`` are those without which nothing is
    measured, by name, read from ``signals``. ``saved_brains`` is where states of brains are kept, if they are.
    """

    def __init__(  # noqa: PLR0913 - what the composition root hands over, by name
        self,
        *,
        journal: JournalLog,
        sink: PlanSink,
        placement: Placement,
        archived: Callable[[str, float], Awaitable[None]],
        documents: Callable[[str], Awaitable[Run]],
        limits: ServiceGuardrails | None = None,
        conditions: Mapping[str, ConditionSpec] = NONE,
        signals: Signals | None = None,
        saved_brains: SavedBrains | None = None,
    ) -> None:
        super().__init__(journal)
        self.record.on_forget = self._forget
        self.limits = limits or ServiceGuardrails()
        self.dispatcher = RunDispatcher(everyone=self.takers_of_every_run, late=self.taker_of_late_run)
        self.queue = PlanQueue(sink, journal=journal, on_hold=self._follow_hold, on_suspend=self._follow_suspension)
        self.conditions = Conditions(conditions, signals, journal=journal, on_change=self._follow_conditions)
        self.devices = DeviceLimits(sink.devices, on_change=self._device_says)
        self.known_devices = KnownDevices(sink)
        self.last_positions = LastPositions(
            lambda name: name in self._actuators, lambda suggestion_id: suggestion_id in self._owners
        )
        self._actuators: set[str] = set()
        self._being_made: set[str] = set()
        self._placement = placement
        self._archived = archived
        self._documents = documents
        self._saved_brains = saved_brains
        self.checks = SpecChecks(placement, sink=sink, devices=self.devices, limits=self.limits)
        self.permits = PlanPermits(
            self.lives,
            queue=self.queue,
            positions=self.last_positions,
            limits=self.limits,
            conditions=self.conditions,
            leads=lambda: journal.leads,
        )
        self.decisions = Decisions(
            self, permits=self.permits, queue=self.queue, documents=documents, conditions=self.conditions
        )

    # the fold -----------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take a committed fact in."""
        sent = self.record.apply(event)
        if sent and not self.queue.sink.plans_end_here:  # else `permit` knows it, and earlier
            self.last_positions.sent(sent)
        if event.kind is EventKind.QUEUE_STATE:
            self.queue.facts.apply(event)
        if event.agent is None:
            return
        record, life = self.record.agents.get(event.agent), self.lives.get(event.agent)
        if life is not None and record is None:
            del self.lives[event.agent]
            self._in_order = None
            for suggestion_id in life.agent.record.suggestions:
                self._owners.pop(suggestion_id, None)
        elif record is not None and (life is None or life.agent.record is not record):
            self._add(record)
        elif life is not None:
            if event.kind is EventKind.SUGGESTION_STATE:
                self._owners[str(event.data["id"])] = life.agent
            life.agent.mark_changed()

    def catch_up(self, event: Event) -> None:
        """Do what follows from a fact that was refused, and came to pass all the same; call it after `apply`."""
        life = None if event.agent is None else self.lives.get(event.agent)
        if life is not None:
            life.catch_up(event)

    def follow_journal(self, fault: str | None) -> None:
        """Let no request wait for an agent that waits for the journal; None: it can be written again."""
        for life in self.lives.values():
            life.agent.facts.refuse_requests(fault)
            life.agent.brain.call_lock.refuse_requests(fault)

    def restore(self, record: ServiceRecord) -> None:
        """Begin with what a snapshot says; call it before the first `apply`."""
        self.record = record
        record.on_forget = self._forget
        if record.queue is not None:
            self.queue.facts.apply(record.queue)
        for agent_record in record.agents.values():
            agent = self._add(agent_record)
            self._owners.update(dict.fromkeys(agent_record.suggestions, agent))

    async def remembered(self) -> None:
        """Take what the journal says as a whole; call it once, after the fold and before anything moves."""
        for life in self.lives.values():
            if life.agent.record.measured.is_old:
                await life.agent.keeper.find_bests_anew()
                life.agent.mark_changed()
        self.last_positions.sent(self.record.positions)

    def _forget(self, suggestion_id: str) -> None:
        self._owners.pop(suggestion_id, None)

    def _add(self, record: AgentRecord) -> HostedAgent:
        self._actuators.update(record.spec.actuators)
        agent = HostedAgent(
            record,
            journal=self._journal,
            placement=self._placement,
            positions=self.last_positions.positions,
            limits=self.limits,
            devices=self.devices,
            conditions=self.conditions,
            saved_brains=self._saved_brains,
        )
        agent.suspended = self.queue.suspended
        make_loop = partial(
            AgentLoop,
            sink=self.queue.sink,
            dispatcher=self.dispatcher,
            archived=self._archived,
            find=self.agent,
        )
        runner = LoopRunner(agent, make_loop=make_loop, queue=self.queue, documents=self._documents)
        self._in_order = None
        self.lives[agent.name] = AgentLifecycle(agent, runner=runner, queue=self.queue)
        return agent

    # making and changing ------------------------------------------------------------------------------------------

    async def create(self, spec: AgentSpec) -> HostedAgent:
        """Create an agent; nothing is made when anything in ``spec`` is wrong.

        Raises `AlreadyExists` when the name is taken; `InvalidInput`, which says which field and why, when the type,
        the configuration, the plan or a device is wrong.
        """
        if spec.name in self.lives or spec.name in self._being_made:
            raise AlreadyExists(f"there is an agent {spec.name!r} already; choose another name, or remove that one")
        self._being_made.add(spec.name)
        try:
            spec = await self.checks.named(spec)
            await self.checks.check(spec)
            await self.checks.look_at_devices(spec)
            data = {"state": AgentState.CREATED, "reason": None, "spec": spec.model_dump(mode="json")}
            await self._journal.append(EventKind.AGENT_STATE, spec.name, data)
        finally:
            self._being_made.discard(spec.name)
        agent = self.agent(spec.name)
        if left := agent.guardrails.no_limits:
            agent.log(no_limits_said(left), level="warning")
        if (filler := spec.loop.filler) not in (None, SOBOL, *self.lives):
            agent.log(
                f"there is no agent {filler!r} yet whose points could be measured as filler points", level="warning"
            )
        return agent

    async def patch(
        self, name: str, patch: AgentPatch, *, may: Callable[[AgentSpec, AgentSpec], None] = lambda before, after: None
    ) -> HostedAgent:
        """Change an agent: configuration by rebuilding the brain, the rest at once.

        Raises as `AgentLifecycle.patch`, and `Conflict` when name or type were to change.
        """
        life = self.life(name)
        if patch.name is not None or patch.type is not None:
            raise Conflict("name and type of an agent cannot change; create another agent")
        await life.patch(patch, check=self.checks.check, look=self.checks.look_at_guardrails, may=may)
        return life.agent

    async def delete(self, name: str) -> None:
        """Remove an agent that is at rest; its history stays in the journal and the catalogue."""
        await self.life(name).remove()

    def _device_says(self, name: str) -> None:
        """Let the agents show what a device says of its limits by now."""
        for life in self.lives.values():
            if name in life.agent.spec.actuators:
                life.agent.mark_changed()

    # the service's own start and end ------------------------------------------------------------------------------

    async def recover(
        self,
        runs: Mapping[str, Sequence[Run]],
        *,
        default: Literal["resume", "paused"] = "resume",
        paused: str | None = None,
    ) -> None:
        """Bring the agents back that were alive when the service ended; call it once, after the fold.

        ``runs`` are complete runs of `undecided` suggestions and `late_takers`, as far as they were kept; ``default``
        is what those agents do that do not say it themselves; ``paused`` says why they all come back paused, whatever
        they say, if they do.
        """
        if self._saved_brains is not None:
            await asyncio.to_thread(self._saved_brains.keep_only, set(self.lives))
        lives = list(self.lives.values())
        submissions = await recovery.reattach(
            [life.agent for life in lives], runs, sink=self.queue.sink, dispatcher=self.dispatcher
        )
        for life in lives:
            await life.runner.recover(runs, submissions.get(life.agent.name, ()), default=default, paused=paused)

    async def drain(self) -> None:
        """Begin nothing more, and return when the plans and calls under way have ended; what the journal says stays."""
        await asyncio.gather(*(life.runner.drain() for life in list(self.lives.values())))

    async def close(self) -> None:
        """End all loops at once; what the journal says brings them back."""
        await asyncio.gather(*(life.runner.close() for life in self.lives.values()))
        await self._placement.close()

    def _follow_suspension(self, reason: str | None) -> None:
        for life in self.lives.values():
            life.agent.suspended = reason
            life.agent.mark_changed()

    def _follow_conditions(self) -> None:
        self.queue.note_unmet(self.conditions.unmet)
        for life in self.lives.values():
            life.agent.mark_changed()

    async def _follow_hold(self, held: bool, reason: str) -> None:  # noqa: FBT001 - a callback
        await asyncio.gather(*(life.follow_hold(held=held, reason=reason) for life in self.lives.values()))
