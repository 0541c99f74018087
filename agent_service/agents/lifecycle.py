"""One agent's life: started, paused, resumed, stopped, restarted, and brought back after a restart of the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_service import context
from agent_service.agents import guardrail_checks
from agent_service.agents.record.agent import as_written
from agent_service.agents.tasks import Role
from agent_service.brains import live_objects
from agent_service.errors import BackendUnavailable, Conflict, IllegalTransition, InvalidConfig, NotFound
from agent_service.models import AgentSpec, EventKind, RestartAs
from agent_service.models.own_names import own_distances, refuse_foreign, refuse_foreign_distance, renamed_rules
from agent_service.models.state_machines import ALIVE, AgentState, Command, SuggestionState, legal_commands, require
from agent_service.models.validation_messages import sentence, validation_errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.loop_runner import LoopRunner
    from agent_service.models import AgentPatch, Event
    from agent_service.plans.plan_queue import PlanQueue

_log = logging.getLogger(__name__)
_A = AgentState
_TOLD_TO_BRAINS: Final = (EventKind.SUGGESTION_STATE, EventKind.INGEST, EventKind.CONFIG, EventKind.METHOD)
_REST: Final = frozenset({_A.CREATED, _A.STOPPED, _A.FAILED})


class AgentLifecycle:
    """Carries out the commands to one agent, one after the other; belongs to the event loop."""

    def __init__(self, agent: HostedAgent, *, runner: LoopRunner, queue: PlanQueue) -> None:
        self.agent = agent
        self.runner = runner
        self._queue = queue
        self._commands = asyncio.Lock()
        self._patching = asyncio.Lock()
        self._removed = False
        self._called_off = ""

    @property
    def state(self) -> AgentState:
        """The agent's state."""
        return self.agent.record.state

    @property
    def passing(self) -> bool:
        """Whether it is between two states: starting, stopping, or about to start."""
        return bool(self.agent.tasks.under_way(Role.BEGIN)) or self.state in (_A.STARTING, _A.STOPPING)

    # commands -----------------------------------------------------------------------------------------------------

    async def start(self, *, paused: bool = False) -> None:
        """Build the brain, replay what it knew, and run the loop, or be paused first.

        Raises `IllegalTransition`, `QueueHeld` or `Conflict`, which say what is legal, or what to do first, when it
        cannot be now; `AgentFault` or `DeadlineExceeded` when the brain could not be built.
        """
        async with self._command(Command.START):
            _refuse_start(self.agent, self._queue, paused=paused)
            beginning = self._begin_when_free(paused=paused)
        await self._answer(beginning)

    async def pause(self) -> None:
        """Let the current run finish, and submit nothing more."""
        async with self._command(Command.PAUSE):
            await self.agent.facts.become(_A.PAUSED, f"paused by {context.person()}")
            self.agent.keeper.saver.save_soon()

    async def resume(self) -> None:
        """Go on after a pause."""
        async with self._command(Command.RESUME):
            self._queue.refuse_held()
            await self.agent.facts.become(_A.RUNNING)

    async def stop(self, reason: str = "") -> None:
        """Let the current run finish, abandon a call of the brain under way, and stop."""
        await self.call_off(reason)
        await self._answer()

    async def call_off(self, reason: str) -> None:
        """Begin to stop, as `stop` does, and do not wait for it."""
        async with self._command(Command.STOP):
            await self._end(reason or f"stopped by {context.person()}")

    async def restart(self) -> None:
        """Stop if need be, build the brain anew, from its saved state or else by replay, and run again."""
        async with self._command(Command.RESTART):
            _refuse_start(self.agent, self._queue, paused=False)
            if self.state in ALIVE:
                await self._end("restarting")
            beginning = self._begin_when_free()
        await self._answer(beginning)

    async def remove(self) -> None:
        """Remove an agent that is at rest; its history stays in the journal and the catalogue."""
        async with self._command(Command.DELETE):
            agent = self.agent
            self._queue.withdraw(agent.name, "not measured: the agent was removed")
            for left in list(agent.record.open.values()):
                with contextlib.suppress(IllegalTransition):  # its run ended meanwhile
                    await agent.facts.advance(left.id, SuggestionState.ABANDONED, reason="the agent was removed")
            await agent.brain.discard()
            await agent.facts.become_from({self.state}, self.state, removed=True)
            self._removed = True
            await agent.keeper.saver.forget()
            agent.keeper.saver.close()

    async def patch(
        self,
        change: AgentPatch,
        *,
        check: Callable[[AgentSpec], Awaitable[None]],
        look: Callable[[AgentSpec], Awaitable[None]],
        may: Callable[[AgentSpec, AgentSpec], None],
    ) -> None:
        """Change the agent: configuration by rebuilding the brain, loop and guardrails at once.

        ``check`` is awaited with the new specification when its configuration changed, ``look`` when its guardrails
        changed, and nothing else; they raise `InvalidInput`. ``may`` is called with the present specification and the
        new one, and raises when whoever asks may not change that.

        Raises `InvalidConfig`, which says which field and why, when the result would not be valid; `Conflict` when the
        agent is between two states, or was stopped meanwhile; `AgentFault` when the brain cannot be built with this
        configuration: the present one stays.
        """
        agent = self.agent
        async with self._patching:
            spec = patched(agent.spec, change)
            may(agent.spec, spec)
            if change.config is not None:
                await check(patched(as_written(agent.record), change))
                if self.state in (_A.STARTING, _A.STOPPING):
                    raise Conflict(f"agent {agent.name!r} is {self.state}; change its config when that is done")
            elif change.guardrails is not None:
                await look(spec)
            looser = guardrail_checks.loosened(agent.spec.guardrails, spec.guardrails)
            fact = {key: value for key, value in spec.model_dump(mode="json").items() if key in change.given}
            if change.config is None or self.state not in ALIVE:
                await agent.facts.configured(**fact)
                _say_looser(agent, looser)
                return
            building = agent.tasks.begin(
                Role.BUILD, agent.keeper.build(config=spec.config, fact=fact), for_request=True
            )
            try:
                await asyncio.wait({building})
            except asyncio.CancelledError:  # the request is called off: the present brain stays
                building.cancel()
                await asyncio.wait({building})
                raise
            if building.cancelled():
                raise Conflict(f"agent {agent.name!r} was stopped while its config changed; nothing is changed")
            building.result()
            _say_looser(agent, looser)

    async def follow_hold(self, *, held: bool, reason: str) -> None:
        """Pause while the queue is held; go on when it no longer is, unless a person paused the agent too."""
        if held:
            await self.agent.facts.become_from({_A.RUNNING}, _A.PAUSED, reason, held=True)
        elif self.agent.record.held:
            await self.agent.facts.become_from({_A.PAUSED}, _A.RUNNING)

    def catch_up(self, event: Event) -> None:
        """Do what follows from a fact of the agent's that was refused, and came to pass all the same."""
        if event.kind in _TOLD_TO_BRAINS:
            self.agent.keeper.catch_up()
        elif event.kind is EventKind.AGENT_STATE:
            self.agent.tasks.begin(Role.CATCH_UP, self._catch_up())

    async def _catch_up(self) -> None:
        """End a stop that was refused, or a start: nobody would see it through, and who asked for it was told no."""
        with contextlib.suppress(BackendUnavailable):  # the journal is closed
            async with self._commands:
                if self.state is _A.STOPPING:
                    await self.runner.wind_down(self.agent.record.reason or "stopped")
                elif self.state is _A.STARTING and not self.agent.tasks.under_way(Role.LOOP):
                    why = {"reason": "its start was refused, for the journal could not be written; start it again"}
                    await self.agent.facts.become_in_turn((_A.STOPPING, why), (_A.STOPPED, why))

    # how ----------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _command(self, command: Command) -> AsyncGenerator[None]:
        """Hold off other commands; raise unless this one is legal now."""
        async with self._commands:
            if self._removed:
                raise NotFound(f"agent {self.agent.name!r} was removed meanwhile")
            if not self.agent.tasks.under_way(Role.BEGIN):
                require(command, self.state, name=self.agent.name)
            elif command is not Command.STOP:
                raise IllegalTransition(
                    f"agent {self.agent.name!r} is about to start; stop it, or wait", legal=["stop"]
                )
            yield

    def _begin_when_free(self, *, paused: bool = False) -> asyncio.Task[BackendUnavailable | None]:
        """Start when the task of the life before has ended: its run may be under way still."""
        self._called_off = ""
        return self.agent.tasks.begin(Role.BEGIN, self._begin(paused=paused), for_request=True)

    async def _begin(self, *, paused: bool) -> BackendUnavailable | None:
        """Begin a life; return why that could not be written, if so."""
        try:
            await self.agent.tasks.wait(Role.LOOP)
            if self._called_off:
                await self.agent.facts.become_from({_A.STOPPED}, _A.STOPPED, self._called_off)
                return None
            if not await self.agent.facts.become_from(_REST, _A.STARTING, starts_paused=paused):
                return None
            context.be_patient()  # who asked for a stop meanwhile was told that it stops
            paused_then = RestartAs(state=_A.PAUSED, reason="started paused; resume it to go on")
            self.runner.begin(paused_then if paused else RestartAs(state=_A.RUNNING), attended=True)
            if self._called_off:
                await self._end(self._called_off)
        except BackendUnavailable as error:
            return error
        return None

    async def _end(self, reason: str) -> None:
        if self.agent.tasks.under_way(Role.BEGIN) and self.state not in ALIVE:
            self._called_off = reason
        else:
            await self.runner.end(reason)

    async def _answer(self, beginning: asyncio.Task[BackendUnavailable | None] | None = None) -> None:
        """Wait for a transition to be done; raise the agent's fault if that was the end of it."""
        while self.passing:
            doing = self.agent.tasks.under_way(Role.BEGIN, Role.LOOP)
            if not doing:
                raise BackendUnavailable(f"the end of agent {self.agent.name!r} could not be written to the journal")
            await asyncio.wait({self.agent.changed(), *doing}, return_when=asyncio.FIRST_COMPLETED)
        if beginning is not None and (refusal := await beginning) is not None:
            raise refusal
        if self.state is _A.FAILED and self.agent.keeper.fault is not None:
            raise self.agent.keeper.fault


def _refuse_start(agent: HostedAgent, queue: PlanQueue, *, paused: bool) -> None:
    """Raise when an agent would have nothing to do at once, or nothing may begin; says what to change."""
    queue.refuse_held()
    legal = legal_commands(agent.record.state)
    total, done = agent.spec.loop.max_runs, agent.record.done
    if not paused and total is not None and done >= total:
        raise Conflict(
            f"agent {agent.name!r} has made {done} of {total} runs; allow more (max_runs, in a cell --max-runs), as by "
            f'client.update("{agent.name}", loop={{"max_runs": {total + done}}}); start it paused to ask its brain',
            legal=legal,
        )
    live_objects.require(agent.spec.type, agent.spec.evaluate)
    if not paused and (spent := guardrail_checks.spent(agent.guardrails.now, agent.guardrails.history)):
        raise Conflict(
            f"agent {agent.name!r} would stop at once: {spent}; allow more in guardrails, or start it paused",
            legal=legal,
        )


def _say_looser(agent: HostedAgent, looser: Sequence[str]) -> None:
    if looser:
        agent.log(f"its guardrails allow more than before: {', '.join(looser)}", level="warning")


def patched(spec: AgentSpec, change: AgentPatch) -> AgentSpec:
    """Return what an agent would be after a change; `InvalidInput` says which field would not be valid, and why."""
    own = {word: name for name, word in spec.names.items()}
    rails = guardrail_checks.merged_rules(spec.guardrails.model_dump(), renamed_rules(change.guardrails or {}, own))
    try:
        changed = AgentSpec.model_validate(
            {
                **spec.model_dump(),
                "config": spec.config if change.config is None else change.config,
                "loop": own_distances({**spec.loop.model_dump(), **(change.loop or {})}, own),
                "guardrails": rails,
            }
        )
    except ValidationError as error:
        wrong = validation_errors(error, AgentSpec)
        raise InvalidConfig(sentence(wrong), errors=wrong) from None
    refuse_foreign(changed.guardrails, changed.actuators)
    refuse_foreign_distance(changed.loop.approval_distance, changed.actuators)
    return changed
