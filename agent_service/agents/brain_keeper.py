"""Keeps an agent's brain in step with its facts: builds and rebuilds it from them, and acts when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from agent_service.agents.brain_restarts import RestartPolicy
from agent_service.agents.record.agent import as_written
from agent_service.agents.record.told import ToldFacts
from agent_service.agents.saved_brains import BrainSaver, SavedBrains
from agent_service.agents.tasks import Role
from agent_service.brains.adapter import BrainAdapter
from agent_service.errors import (
    AgentFault,
    BackendUnavailable,
    CallCancelled,
    Conflict,
    DeadlineExceeded,
    ServiceError,
)
from agent_service.models.objectives import NO_GOALS, read_goals
from agent_service.models.state_machines import ALIVE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from agent_service.agents.beam_time import BeamTime
    from agent_service.agents.brain import HostedBrain
    from agent_service.agents.facts import AgentFacts
    from agent_service.agents.guardrails_in_force import GuardrailsInForce
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.agents.tasks import AgentTasks
    from agent_service.brains.messages import Traits
    from agent_service.journal import JournalLog
    from agent_service.models import AgentSpec

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_PROVES_HEALTH: Final = (BrainAdapter.suggest, BrainAdapter.ingest)
_CHANGES: Final = (
    *_PROVES_HEALTH,
    BrainAdapter.fail,
    BrainAdapter.edit,
    BrainAdapter.retry,
    BrainAdapter.set_variable,
    BrainAdapter.call_method,
)


class BrainKeeper:
    """Builds and calls the brain of one agent, which fails or restarts with it; belongs to the event loop."""

    def __init__(  # noqa: PLR0913 - the parts of one agent, by name
        self,
        record: AgentRecord,
        *,
        facts: AgentFacts,
        journal: JournalLog,
        brain: HostedBrain,
        guardrails: GuardrailsInForce,
        tasks: AgentTasks,
        beam_time: BeamTime,
        saved_brains: SavedBrains | None,
    ) -> None:
        self.fault: ServiceError | None = None  # why the agent failed last, until its brain is built again
        self.restarts = RestartPolicy()
        # called with the pause in seconds before a restart that is due
        self.on_restart: Callable[[float], object] = lambda pause_s: None
        self._record = record
        self._facts = facts
        self._journal = journal
        self._brain = brain
        brain.on_process_death = self.on_process_death
        self._guardrails = guardrails
        self._tasks = tasks
        self._beam_time = beam_time
        self.told = ToldFacts(record, journal)
        self.saver = BrainSaver(record, brain, told=self.told, tasks=tasks, folder=saved_brains, rebuild=self._rebuild)
        self._is_proven = True  # whether it has done anything since it was loaded

    async def build(self, *, config: Mapping[str, Any] | None = None, fact: Mapping[str, Any] | None = None) -> None:
        """Build the brain where it will live, and bring it to where the journal says it was.

        ``config`` is another configuration than the record's, to try it before it becomes a fact; ``fact`` is what to
        write of that when the brain is there, before it is taken. Raises `AgentFault` or `DeadlineExceeded` when the
        brain cannot be built or replayed; the present one, if any, stays then.
        """
        await self._guardrails.look()
        async with self._brain.call_lock:
            await self._build(config, fact)

    async def _build(self, config: Mapping[str, Any] | None = None, fact: Mapping[str, Any] | None = None) -> None:
        written = as_written(self._record)
        spec = written if config is None else written.model_copy(update={"config": dict(config)})
        saved = await self.saver.find(spec) if config is None else None
        replayed = await self._brain.build(
            spec,
            facts=lambda after: self.told.replay(until=self._journal.last_seq, after=after, config=config),
            take=lambda traits: self._take(traits, fact or {}, written),
            saved=saved,
        )
        self._is_proven = saved is None
        await self.saver.built(is_saved=saved is not None and not replayed)
        self.fault = None

    async def _take(self, traits: Traits, fact: Mapping[str, Any], written: AgentSpec) -> None:
        """Write what a new brain is: its configuration, and what it offers beside what is ``written``."""
        spec = self._record.spec
        if {**traits.space, **written.space} != spec.space:
            space = {name: dimension.model_dump(mode="json") for name, dimension in traits.space.items()}
            fact = {**fact, "space": space}
        offers = written.model_copy(update=read_goals(traits.goals))
        if any(getattr(offers, field) != getattr(spec, field) for field in NO_GOALS):
            fact = {**fact, "goals": dict(traits.goals)}
        if fact:
            await self._facts.configured(**fact)
        if self._record.measured.is_old:
            await self.find_bests_anew()

    async def find_bests_anew(self) -> None:
        """Find the best of all that was measured, where goals that changed ask for that."""
        await asyncio.to_thread(self.told.find_bests_anew)

    async def call(
        self,
        method: Callable[[BrainAdapter, *Ts], R],
        *args: *Ts,
        timeout_s: float,
        fatal: tuple[type[ServiceError], ...] = (AgentFault, DeadlineExceeded, CallCancelled),
    ) -> R:
        """Call the brain with its lock held; a ``fatal`` error ends the agent, unless the service took the brain away.

        So does the loss of its process in any call.
        """
        self._require_brain()
        thinking = self._beam_time.thinking() if method in _PROVES_HEALTH else contextlib.nullcontext()
        try:
            with thinking:
                result = await self._brain.call(method, *args, timeout_s=timeout_s)
        except ServiceError as error:
            if isinstance(error, fatal) or (isinstance(error, AgentFault) and error.died):
                await self._fail_in_turn(error, method.__name__)
            raise
        if method in _PROVES_HEALTH:
            self.restarts.succeeded()
            self._is_proven = True
        if method in _CHANGES:
            self.saver.note_change()
        return result

    def _require_brain(self) -> None:
        if self._brain.is_there:
            return
        name, record = self._record.spec.name, self._record
        if record.restart_as is not None:
            error = Conflict(f"agent {name!r} is {record.reason}; wait, or stop it", legal=["stop"])
            self.restarts.survive(error)
            raise error
        raise Conflict(f"agent {name!r} is {record.state}: its brain is not there; start it")

    async def written(self, writing: Awaitable[None]) -> None:
        """Await the facts that a call of the brain became, with its lock held.

        When they cannot be written, the brain knows more than the journal. It is built anew before it is called again.
        """
        try:
            await writing
        except BackendUnavailable:
            self._continue_in_turn(self._rebuild())
            raise

    async def failed(self, error: ServiceError, *, during: str | None = None) -> None:
        """Discard the brain and write that the agent failed or restarts; does nothing when it is ending anyway."""
        await self._brain.discard()
        if not self._is_proven:
            await self.saver.forget()
        self.fault = error
        restart = await self._facts.failed(error, self.restarts, during=during)
        if restart is not None:
            self.on_restart(restart.pause_s)

    def on_process_death(self, error: AgentFault) -> None:
        """Let the agent fail: the process of its brain ended between calls."""

        async def fail() -> None:
            async with self._brain.call_lock:
                if self._brain.is_dead:
                    with contextlib.suppress(BackendUnavailable):  # logged by the journal
                        await self.failed(error)

        self._tasks.begin(Role.PROCESS_DEATH, fail())

    def catch_up(self) -> None:
        """Let the brain be built anew in its turn, unless that is to be: it has not heard of a fact that is one now."""

        async def rebuild() -> None:
            async with self._brain.call_lock:
                await self._rebuild()

        if not self._tasks.under_way(Role.REBUILD):
            self._tasks.begin(Role.REBUILD, rebuild())

    async def call_off_rebuilding(self) -> None:
        """Give up to build the brain anew, if that is under way; there is no brain then."""
        if self._tasks.under_way(Role.REBUILD):
            self._tasks.cancel(Role.REBUILD)
            await self._tasks.wait(Role.REBUILD)
            await self._brain.discard()

    def _continue_in_turn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a task that keeps the lock that is held now, before anybody else calls the brain."""
        self._brain.call_lock.pass_on(self._tasks.begin(Role.REBUILD, work))

    async def _rebuild(self) -> None:
        """Build the brain anew from the facts when all of them are known; lets no exception out."""
        with contextlib.suppress(BackendUnavailable):  # the journal is closed
            await self._journal.settled()
            if self._record.state not in ALIVE or not self._brain.is_there:
                return
            try:
                await self._guardrails.look()
                await self._build()
            except ServiceError as error:
                await self.failed(error, during="rebuild")

    async def _fail_in_turn(self, error: ServiceError, during: str) -> None:
        """Let the agent fail in the turn of a call; when a request may not wait for the fact, it is written behind."""
        try:
            await self.failed(error, during=during)
        except BackendUnavailable:
            self._continue_in_turn(self._fail_later(error, during))
            raise

    async def _fail_later(self, error: ServiceError, during: str) -> None:
        with contextlib.suppress(BackendUnavailable):  # the journal is closed
            await self.failed(error, during=during)
