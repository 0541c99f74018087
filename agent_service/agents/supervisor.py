"""Many agents: create, configure, remove, find; and bring them back after a restart of the service.

Every change is a fact in the journal first. The supervisor applies the facts as they are committed, so its memory is a
fold over the journal, at run time as after a crash.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from agent_service import context
from agent_service.agents import guardrails, points, recovery
from agent_service.agents.agent import HostedAgent
from agent_service.agents.agent_guardrails import elsewhere, no_limits_said
from agent_service.agents.device_limits import DeviceLimits
from agent_service.agents.ingestion import TAKES_LATE_RUN
from agent_service.agents.lifecycle import AgentLifecycle
from agent_service.agents.loop import AgentLoop
from agent_service.agents.positions import LastPositions
from agent_service.agents.record.service import ServiceRecord
from agent_service.documents import outcomes
from agent_service.documents.dispatch import RunDispatcher
from agent_service.errors import AlreadyExists, Conflict, FieldError, NotFound, OutOfBounds, UnknownDevice
from agent_service.models import AgentPatch, AgentSpec, BestPoint, EventKind, ServiceGuardrails, Suggestion, own_names
from agent_service.models.spelling import near
from agent_service.models.states import (
    AgentState,
    Command,
    SuggestionState,
    check_person,
    check_suggestion,
    legal_commands,
    require,
)
from agent_service.plans.control import PlanQueue
from agent_service.protocols import MOVE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from agent_service.agents.placement import Placement
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.documents.runs import Run
    from agent_service.journal import JournalLog
    from agent_service.models import Event, Point
    from agent_service.protocols import PlanOrder, PlanSink


_NO_WHOLES: Final[Mapping[str, Sequence[str]]] = {}

CHECK_WITHIN_S: Final = 60.0
"""How long the imports of an agent's type, evaluate function and plan may take before its creation is refused."""


class Supervisor:
    """Hosts the agents; belongs to the event loop.

    Parameters
    ----------
    journal
        Where every fact goes; `apply` is its applier.
    sink
        Where plans go.
    placement
        Where brains may live.
    archived
        ``await archived(uid, timeout_s)`` returns when the catalogue holds the run.
    documents
        ``await documents(uid)`` returns a past run, for warm starts and ingest by uid.
    limits
        Guardrails that hold for each agent, beside its own.
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
    ) -> None:
        self._limits = limits or ServiceGuardrails()
        self.lives: dict[str, AgentLifecycle] = {}
        self.dispatcher = RunDispatcher(everyone=self._everyone, late=self._late)
        self.queue = PlanQueue(sink, journal=journal, on_hold=self._follow_hold, on_suspend=self._follow_suspension)
        self.devices = DeviceLimits(sink.devices, on_change=self._device_says)
        self._owners: dict[str, HostedAgent] = {}
        self.record = ServiceRecord()
        self.last_positions = LastPositions(
            lambda name: name in self._actuators, lambda suggestion_id: suggestion_id in self._owners
        )
        self._actuators: set[str] = set()
        self._being_made: set[str] = set()
        self._journal = journal
        self._placement = placement
        self._archived = archived
        self._documents = documents

    # the fold -----------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take a committed fact in."""
        sent = self.record.apply(event)
        if sent and not self.queue.sink.plans_end_here:  # else `permit` knows it, and earlier
            self.last_positions.sent(sent)
        if event.kind is EventKind.QUEUE_STATE:
            self.queue.apply(event)
        if event.agent is None:
            return
        record, life = self.record.agents.get(event.agent), self.lives.get(event.agent)
        if life is not None and record is None:
            del self.lives[event.agent]
            for suggestion_id in life.agent.record.suggestions:
                self._owners.pop(suggestion_id, None)
        elif record is not None and (life is None or life.agent.record is not record):
            self._add(record)
        elif life is not None:
            if event.kind is EventKind.SUGGESTION_STATE:
                self._owners[str(event.data["id"])] = life.agent
            life.agent.mark_changed()

    def follow_journal(self, fault: str | None) -> None:
        """Let no request wait for an agent that waits for the journal; None: it can be written again."""
        for life in self.lives.values():
            life.agent.facts.refuse_requests(fault)
            life.agent.brain.call_lock.refuse_requests(fault)

    def restore(self, record: ServiceRecord) -> None:
        """Begin with what a snapshot says; call it before the first `apply`."""
        self.record = record
        if record.queue is not None:
            self.queue.apply(record.queue)
        for one in record.agents.values():
            agent = self._add(one)
            self._owners.update(dict.fromkeys(one.suggestions, agent))

    def remembered(self) -> None:
        """Take what the journal says as a whole; call it once, after the fold and before anything moves."""
        self.last_positions.sent(self.record.positions)

    def follow(self, compacted: ServiceRecord, *, seq: int) -> None:
        """Forget what a snapshot of the facts up to ``seq`` has forgotten."""
        for gone in self.record.follow(compacted, seq=seq).values():
            for suggestion_id in gone:
                self._owners.pop(suggestion_id, None)

    def _add(self, record: AgentRecord) -> HostedAgent:
        self._actuators.update(record.spec.actuators)
        agent = HostedAgent(
            record,
            journal=self._journal,
            placement=self._placement,
            positions=self.last_positions.positions,
            limits=self._limits,
            devices=self.devices,
        )
        agent.suspended = self.queue.suspended
        self.lives[agent.name] = AgentLifecycle(
            agent, make_loop=self._make_loop, queue=self.queue, documents=self._documents
        )
        return agent

    def _make_loop(self, agent: HostedAgent) -> AgentLoop:
        return AgentLoop(
            agent,
            sink=self.queue.sink,
            dispatcher=self.dispatcher,
            journal=self._journal,
            archived=self._archived,
        )

    # looking ------------------------------------------------------------------------------------------------------

    def life(self, name: str) -> AgentLifecycle:
        """Return an agent's life, or raise `NotFound` naming what is near."""
        life = self.lives.get(name)
        if life is None:
            names = ", ".join(sorted(self.lives))
            hint = near(name, self.lives).rstrip() or (f"there are {names}" if names else "there is none yet")
            raise NotFound(f"there is no agent {name!r}; {hint}")
        return life

    def agent(self, name: str) -> HostedAgent:
        """Return an agent, or raise `NotFound` naming what is near."""
        return self.life(name).agent

    def owner(self, suggestion_id: str) -> HostedAgent:
        """Return the agent whose suggestion it is, or raise `NotFound`."""
        agent = self._owners.get(suggestion_id)
        if agent is None:
            raise NotFound(f"there is no suggestion {suggestion_id}; look it up among those of its agent")
        return agent

    def find_owner(self, suggestion_id: str) -> HostedAgent | None:
        """Return the agent whose suggestion it is, or None."""
        return self._owners.get(suggestion_id)

    def suggestions(self) -> Iterable[Suggestion]:
        """Return the suggestions of all agents, by agent, oldest first."""
        return (one for life in self.lives.values() for one in life.agent.record.suggestions.values())

    # making and changing ------------------------------------------------------------------------------------------

    async def create(self, spec: AgentSpec) -> HostedAgent:
        """Create an agent; nothing is made when anything in ``spec`` is wrong.

        Raises
        ------
        AlreadyExists
            The name is taken.
        InvalidInput
            The type, the configuration, the plan or a device is wrong; says which field and why.
        """
        if spec.name in self.lives or spec.name in self._being_made:
            raise AlreadyExists(f"there is an agent {spec.name!r} already; choose another name, or remove that one")
        self._being_made.add(spec.name)
        try:
            spec = await self._named(spec)
            await self.check(spec)
            await self.devices.refresh(spec.actuators)
            data = {"state": AgentState.CREATED, "reason": None, "spec": spec.model_dump(mode="json")}
            await self._journal.append(EventKind.AGENT_STATE, spec.name, data)
        finally:
            self._being_made.discard(spec.name)
        agent = self.agent(spec.name)
        if left := agent.guardrails.no_limits:
            agent.log(no_limits_said(left), level="warning")
        return agent

    async def check(self, spec: AgentSpec) -> None:
        """Check what takes the user's imports to check: where the agent is to live, and within a deadline.

        Raises
        ------
        InvalidInput
            As `create`.
        AgentFault, DeadlineExceeded
            Its module does not let itself be imported.
        """
        spec = await self._named(spec)
        outcomes.check_names(spec)
        factory = self._placement.brain_factory(spec)
        place = await self._placement.choose(factory)
        for executor, check in ((place.executor, factory.check), (self._placement.shared, self._sink_check(spec))):
            checking = await executor.start(check, name=f"check:{spec.name}", timeout_s=CHECK_WITHIN_S)
            await checking.close()

    async def _named(self, spec: AgentSpec) -> AgentSpec:
        """Return a specification that calls each device by its own name, as documents do; see `own_names`."""
        found: list[AgentSpec] = []
        name = f"names:{spec.name}"
        look = await self._placement.shared.start(
            lambda: found.append(own_names.named(spec, self.queue.sink.own_name)), name=name, timeout_s=CHECK_WITHIN_S
        )
        await look.close()
        return found[0]

    def _sink_check(self, spec: AgentSpec) -> Callable[[], None]:
        def check() -> None:
            self.queue.sink.check(spec)
            self._check_rules(spec)

        return check

    def _check_rules(self, spec: AgentSpec) -> None:
        """Raise `UnknownDevice` for a rule that names what is no actuator; in a thread, for it may look for devices."""
        devices = self.devices.devices
        for rule in guardrails.stricter(spec.guardrails, self._limits).rules:
            for name in elsewhere([rule], spec.actuators):
                why = "this service has no devices that it could ask where that is" if devices is None else ""
                if devices is not None:
                    try:
                        devices.check(name)
                    except UnknownDevice as error:
                        why = error.detail
                if why and (devices is not None or rule in spec.guardrails.rules):
                    said = f"{rule} names {name}, which is no actuator of agent {spec.name!r}; {why}"
                    one = FieldError("guardrails.rules", said)
                    raise UnknownDevice(f"{one.field}: {said}", errors=[one])

    async def look_at_guardrails(self, spec: AgentSpec) -> None:
        """Check what the guardrails of a specification name, and ask the devices that they are about."""
        if spec.guardrails.rules:
            checking = await self._placement.shared.start(
                lambda: self._check_rules(spec), name=f"check:{spec.name}", timeout_s=CHECK_WITHIN_S
            )
            await checking.close()
        await self.devices.refresh(spec.actuators)

    async def patch(
        self, name: str, patch: AgentPatch, *, may: Callable[[AgentSpec, AgentSpec], None] = lambda before, after: None
    ) -> HostedAgent:
        """Change an agent: configuration by rebuilding the brain, the rest at once. See `AgentLifecycle.patch`.

        Raises
        ------
        Conflict
            Name or type cannot change, or the agent is between two states.
        InvalidConfig
            The result would not be valid; says which field and why.
        AgentFault
            The brain cannot be built with this configuration; the present one stays.
        """
        life = self.life(name)
        if patch.name is not None or patch.type is not None:
            raise Conflict("name and type of an agent cannot change; create another agent")
        await life.patch(patch, check=self.check, look=self.look_at_guardrails, may=may)
        return life.agent

    async def delete(self, name: str) -> None:
        """Remove an agent that is at rest; its history stays in the journal and the catalogue."""
        await self.life(name).remove()

    # suggestions and best points ----------------------------------------------------------------------------------

    async def approve(self, suggestion_id: str, point: Mapping[str, float] | None) -> Suggestion:
        """Approve a proposed suggestion, perhaps with another point; its agent's loop submits it.

        Raises
        ------
        OutOfBounds
            A guardrail forbids the point, or a device refuses it, as far as that can be known before its turn.
        """
        agent = self.owner(suggestion_id)
        suggestion = agent.record.suggestion(suggestion_id)
        check_suggestion(suggestion.state, SuggestionState.APPROVED)
        check_person(suggestion.state, SuggestionState.APPROVED)
        if point is None:
            await self._check_press(agent, suggestion.point)
            return await agent.facts.advance(suggestion_id, SuggestionState.APPROVED, by_person=True)
        point = points.edited(own_names.to_own(point, agent.spec), suggestion)
        points.check_position(point, agent.spec)
        await self._check_press(agent, point)
        approved = await agent.facts.advance(
            suggestion_id,
            SuggestionState.APPROVED,
            by_person=True,
            point=point,
            reason=f"edited by {context.person()}",
        )
        await agent.edit(suggestion, point)
        return approved

    async def _check_press(self, agent: HostedAgent, point: Point) -> None:
        """Raise `OutOfBounds` unless a person may approve a point.

        What is judged at its turn only: a step, while something else is to move before it; and whatever changes until
        then. ``max_runs_per_minute`` forbids nothing.
        """

        def standing(places: Mapping[str, float]) -> guardrails.RunHistory:
            before = agent.guardrails.history
            waiting = len(agent.record.open_in(SuggestionState.APPROVED))
            known = replace(before, found=places) if self._at_rest() else replace(before, positions={}, found={})
            return replace(known, runs=before.runs + waiting)

        await agent.guardrails.check_press(point, standing)

    def _at_rest(self) -> bool:
        """Whether nothing moves, nor is to move before what is approved next."""
        status = self.queue.status
        moving = (SuggestionState.APPROVED, SuggestionState.SUBMITTED, SuggestionState.RUNNING)
        waiting = any(life.agent.record.open_in(*moving) for life in self.lives.values())
        return status.current is None and not status.pending and not waiting

    async def reject(self, suggestion_id: str, reason: str) -> Suggestion:
        """Reject a suggestion that was not submitted yet, and tell the brain where it can be told."""
        agent = self.owner(suggestion_id)
        said = f"rejected by {context.person()}{f': {reason}' if reason else ''}"
        suggestion = agent.record.suggestion(suggestion_id)
        await agent.fail_suggestion(suggestion, SuggestionState.REJECTED, said, fault=False, by_person=True)
        return agent.record.suggestion(suggestion_id)

    async def go_to_best(
        self, name: str, *, by: Literal["measured", "model"] = "measured", seen: Mapping[str, float] | None = None
    ) -> BestPoint:
        """Move the actuators to the best point that was measured, or to what the brain says is the best.

        Parameters
        ----------
        name
            The agent.
        by
            Which best point.
        seen
            The point that whoever asks has seen; None goes wherever the best is by now.

        Raises
        ------
        Conflict
            The agent runs, or knows no best point yet, or another one than was seen.
        OutOfBounds
            A guardrail forbids it, now or when its turn had come.
        BackendUnavailable
            The move failed.
        """
        agent = self.agent(name)
        require(Command.GO_TO_BEST, agent.record.state, name=name)
        best = agent.record.best_measured if by == "measured" else agent.record.best_by_model
        if best is None:
            raise Conflict(
                f"agent {name!r} knows no best point yet; let it measure first"
                if by == "measured"
                else f"agent {name!r} says no best point of its own; go to the best measured",
                legal=legal_commands(agent.record.state),
            )
        if seen is not None and dict(seen) != best.point:
            where = ", ".join(f"{key} {value:g}" for key, value in best.point.items())
            raise Conflict(f"the best point is another one by now: {where}; look at it, and press again")
        points.check_position(best.point, agent.spec)
        await agent.guardrails.check_devices(best.point)
        guardrails.check_rate(agent.guardrails.now, agent.record.handed_over_at, time.monotonic())
        guardrails.check(best.point, agent.guardrails.now, replace(agent.guardrails.history, plan=MOVE))
        await self.queue.move(name, best.point)
        return best

    def may_begin(self, order: PlanOrder) -> bool:
        """Return whether an agent wants its plan to begin now; raises `OutOfBounds` for a point forbidden by now."""
        life = self.lives.get(order.agent)
        if life is None or life.state is not AgentState.RUNNING:
            return False
        self._check_turn(order, {})
        return True

    def ask_devices(self, order: PlanOrder) -> None:
        """Ask the devices when a plan's turn has come, before `permit`; blocks, in the driver's thread.

        Raises
        ------
        OutOfBounds
            One states limits that forbid its position by now, or refuses it.
        """
        if (life := self.lives.get(order.agent)) is not None:
            life.agent.guardrails.check_turn(order.point)

    def permit(self, order: PlanOrder, found: Mapping[str, float], wholes: Mapping[str, Sequence[str]]) -> None:
        """Look at the guardrails when a plan's or a move's turn has come, right before it begins; from any thread.

        Parameters
        ----------
        order
            The plan. Its actuators count as sent to its point from here on.
        found
            Where its actuators say that they are, as far as they do.
        wholes
            By actuator, the names of the devices that it is a part of.

        Raises
        ------
        OutOfBounds
            A guardrail forbids it by now.
        """
        self._check_turn(order, found, wholes)
        self.last_positions.sent(order.point)

    def _check_turn(
        self, order: PlanOrder, found: Mapping[str, float], wholes: Mapping[str, Sequence[str]] = _NO_WHOLES
    ) -> None:
        life = self.lives.get(order.agent)
        if life is None:
            raise OutOfBounds(f"there is no agent {order.agent!r} any more, so nobody says what its plan may do")
        life.agent.guardrails.check_approval(order.suggestion_id)
        guardrails.check_parts(wholes, life.agent.spec.guardrails, self._limits)
        before = life.agent.guardrails.history
        standing = replace(
            before,
            plan=order.plan,
            positions=dict(before.positions),
            found=found,
            runs=before.runs - 1,  # it is counted already
        )
        guardrails.check(order.point, life.agent.guardrails.now, standing)

    def _device_says(self, name: str) -> None:
        """Let the agents show what a device says of its limits by now."""
        for life in self.lives.values():
            if name in life.agent.spec.actuators:
                life.agent.mark_changed()

    def touch(self, name: str) -> None:
        """Let an agent's status be made anew, if there is one of that name."""
        if (life := self.lives.get(name)) is not None:
            life.agent.mark_changed()

    # documents ----------------------------------------------------------------------------------------------------

    async def ingest_runs(self, name: str, uids: list[str]) -> int:
        """Ingest past runs by their uids; those already ingested are passed over.

        Raises
        ------
        NotFound, BackendUnavailable
            The catalogue does not hold a run, or cannot be asked.
        InvalidInput
            A run has no outcome for this agent.
        """
        life = self.life(name)
        require(Command.INGEST, life.state, name=name)
        runs = [await self._documents(uid) for uid in dict.fromkeys(uids)]
        before = life.agent.record.ingests
        for run in runs:
            if life.runner.loop is None:
                raise Conflict(f"agent {name!r} ended meanwhile")
            await life.runner.loop.ingestion.ingest_past_run(run)
        return life.agent.record.ingests - before

    def _everyone(self) -> list[Callable[[Run], None]]:
        return [
            life.runner.loop.ingestion.put
            for life in self.lives.values()
            if life.runner.loop and life.agent.spec.listen == "all"
        ]

    def _late(self, suggestion_id: str) -> Callable[[Run], None] | None:
        agent = self._owners.get(suggestion_id)
        if agent is None or agent.record.suggestion(suggestion_id).state not in TAKES_LATE_RUN:
            return None
        loop = self.lives[agent.name].runner.loop
        return loop.ingestion.put if loop else None

    # the service's own start and end ------------------------------------------------------------------------------

    def undecided(self) -> dict[str, str | None]:
        """Return the suggestions that were submitted and have no outcome yet: id to the uid of its run, if known."""
        under_way = (SuggestionState.SUBMITTED, SuggestionState.RUNNING)
        records = [life.agent.record for life in self.lives.values()]
        return {one.id: one.run_uid for record in records for one in record.open_in(*under_way)}

    async def recover(
        self,
        runs: Mapping[str, Sequence[Run]],
        *,
        default: Literal["resume", "paused"] = "resume",
        paused: bool = False,
    ) -> None:
        """Bring the agents back that were alive when the service ended; call it once, after the fold.

        Parameters
        ----------
        runs
            Complete runs of `undecided` suggestions, as far as they were kept.
        default
            What those do that do not say it themselves.
        paused
            Whether they all come back paused, whatever they say themselves.
        """
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

    async def _follow_hold(self, held: bool, reason: str) -> None:  # noqa: FBT001 - a callback
        await asyncio.gather(*(life.follow_hold(held=held, reason=reason) for life in self.lives.values()))
