"""One agent's life: started, paused, resumed, stopped, restarted, and brought back after a restart of the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from agent_service import live
from agent_service.errors import BackendUnavailable, Conflict, ServiceError
from agent_service.lifecycle import AgentState, Command, SuggestionState, legal_commands, require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_service.hosted import HostedAgent
    from agent_service.loop import AgentLoop
    from agent_service.plan_queue import PlanQueue
    from agent_service.runs import Run

ANSWER_WITHIN_S: Final = 10.0
"""How long a lifecycle request waits for its transition; past it the answer shows the state as it is by then."""

_log = logging.getLogger(__name__)
_A = AgentState
ALIVE: Final = frozenset({_A.STARTING, _A.RUNNING, _A.PAUSED})
_ENDING: Final = frozenset({_A.STOPPING, _A.STOPPED, _A.FAILED})


class AgentLife:
    """Starts and ends an agent's loop; belongs to the event loop.

    Parameters
    ----------
    agent
        The agent.
    make_loop
        Makes a loop for it.
    queue
        The plan queue: nothing starts while it is held.
    documents
        ``await documents(uid)`` returns a past run, for a warm start.
    """

    def __init__(
        self,
        agent: HostedAgent,
        *,
        make_loop: Callable[[HostedAgent], AgentLoop],
        queue: PlanQueue,
        documents: Callable[[str], Awaitable[Run]],
    ) -> None:
        self.agent = agent
        self.loop: AgentLoop | None = None
        self._make_loop = make_loop
        self._queue = queue
        self._documents = documents
        self._commands = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._building: asyncio.Task[None] | None = None

    @property
    def state(self) -> AgentState:
        """The agent's state."""
        return self.agent.record.state

    # commands -----------------------------------------------------------------------------------------------------

    async def start(self, *, paused: bool = False) -> None:
        """Build the brain, replay what it knew, and run the loop, or be paused first.

        Raises
        ------
        IllegalTransition, QueueHeld, Conflict
            Not now; says what is legal, or what to do first.
        AgentFault, DeadlineExceeded
            The brain could not be built within the time of an answer.
        """
        async with self._commands:
            require(Command.START, self.state, name=self.agent.name)
            await self._begin(paused=paused)
        await self._answer()

    async def pause(self) -> None:
        """Let the current run finish, and submit nothing more."""
        async with self._commands:
            require(Command.PAUSE, self.state, name=self.agent.name)
            await self.agent.become(_A.PAUSED, "paused by a person")

    async def resume(self) -> None:
        """Go on after a pause."""
        async with self._commands:
            require(Command.RESUME, self.state, name=self.agent.name)
            self._queue.refuse_held()
            await self.agent.become(_A.RUNNING)

    async def stop(self, reason: str = "stopped by a person") -> None:
        """Let the current run finish, abandon a call of the brain under way, and stop."""
        async with self._commands:
            require(Command.STOP, self.state, name=self.agent.name)
            await self._end(reason)
        await self._answer()

    async def restart(self) -> None:
        """Stop if need be, rebuild the brain by replay, and run again."""
        async with self._commands:
            require(Command.RESTART, self.state, name=self.agent.name)
            self._queue.refuse_held()
            self._refuse_done()
            live.require(self.agent.spec.type, self.agent.spec.evaluate)  # before anything is ended
            if self.state in ALIVE:
                await self._end("restarting")
            await self._begin()
        await self._answer()

    async def follow_hold(self, *, held: bool, reason: str) -> None:
        """Pause while the queue is held; go on when it no longer is, unless a person paused the agent too."""
        async with self._commands:
            if held and self.state is _A.RUNNING:
                await self.agent.become(_A.PAUSED, reason, held=True)
            elif not held and self.state is _A.PAUSED and self.agent.record.held:
                await self.agent.become(_A.RUNNING)

    async def recover(self) -> None:
        """Come back after the service ended, if the agent was alive then.

        A suggestion whose run was under way becomes ``abandoned``: it is never submitted a second time.
        """
        agent = self.agent
        for left in agent.record.open_in(SuggestionState.SUBMITTED, SuggestionState.RUNNING):
            await agent.advance(left.id, SuggestionState.ABANDONED, reason="interrupted: the service ended meanwhile")
        was, was_held = self.state, agent.record.held
        if was in ALIVE:
            await agent.become(_A.STOPPING, "the service was restarted")
        if self.state is _A.STOPPING:
            await agent.become(_A.STOPPED, agent.record.reason)
        if was not in ALIVE:
            return
        await agent.become(_A.STARTING, "recovering after a restart of the service")
        by_hold = self._queue.held and (was_held or was is not _A.PAUSED)
        if by_hold or was is _A.PAUSED or agent.spec.recover == "paused":
            self._spawn(_A.PAUSED, "recovered after a restart of the service; resume it to go on", held=by_hold)
        else:
            self._spawn(_A.RUNNING)

    async def close(self) -> None:
        """End at once and write nothing: the facts say that the agent was alive, so `recover` brings it back."""
        if self.loop is not None:
            self.loop.stopping = True
        await self.agent.discard()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    # how ----------------------------------------------------------------------------------------------------------

    async def _begin(self, *, paused: bool = False) -> None:
        self._queue.refuse_held()
        self._refuse_done()
        live.require(self.agent.spec.type, self.agent.spec.evaluate)
        if self._task is not None:
            await asyncio.wait({self._task})
        await self.agent.become(_A.STARTING)
        if paused:
            self._spawn(_A.PAUSED, "started paused; resume it to go on")
        else:
            self._spawn(_A.RUNNING)

    def _spawn(self, then: AgentState, reason: str | None = None, *, held: bool = False) -> None:
        self.loop = self._make_loop(self.agent)
        self._building = asyncio.ensure_future(self.agent.build())
        self._task = asyncio.create_task(
            self._live(self.loop, self._building, then, reason, held=held), name=f"agent:{self.agent.name}"
        )

    async def _live(
        self, loop: AgentLoop, building: asyncio.Task[None], then: AgentState, reason: str | None, *, held: bool
    ) -> None:
        """Live from starting to stopped or failed; lets no exception out."""
        why: str | None = None
        try:
            await asyncio.wait({building})
            if not building.cancelled():
                building.result()
                await self._warm_start(loop)
                if self.state is _A.STARTING:
                    await self.agent.become(then, reason, held=held)
                why = await loop.run()
        except ServiceError as error:
            await self._note_failure(error)
        except Exception:  # noqa: BLE001 - a bug of ours must not take the service down; logged
            _log.exception("the loop of agent %s failed", self.agent.name)
            await self._note_failure(ServiceError("the service's own loop failed; its log says more"))
        finally:
            building.cancel()
            self.loop = None
        try:
            if why is not None and self.state not in _ENDING:
                await self.agent.become(_A.STOPPING, why)
            if self.state is _A.STOPPING:
                await self.agent.discard()
                await self.agent.become(_A.STOPPED, self.agent.record.reason)
        except BackendUnavailable as error:
            _log.error("the end of agent %s could not be written: %s", self.agent.name, error.detail)

    async def _note_failure(self, error: ServiceError) -> None:
        if self.state in _ENDING:
            return
        with contextlib.suppress(BackendUnavailable):  # logged by the journal
            await self.agent.failed(error, during=str(self.state))

    async def _warm_start(self, loop: AgentLoop) -> None:
        for uid in self.agent.spec.warm_start:
            if uid not in self.agent.record.ingested_runs:
                await loop.take_past_run(await self._documents(uid))

    async def _end(self, reason: str) -> None:
        await self.agent.become(_A.STOPPING, reason)
        if self._building is not None:
            self._building.cancel()
        if self.loop is not None:
            self.loop.stopping = True
        self._queue.withdraw(self.agent.name, f"not measured: {reason}")
        await self.agent.abandon_call()
        self.agent.wake.set()

    async def _answer(self) -> None:
        """Wait a while for a transition to be done; raise the agent's fault if that was the end of it."""
        clock = asyncio.get_running_loop()
        deadline = clock.time() + ANSWER_WITHIN_S
        while self.state in (_A.STARTING, _A.STOPPING) and (left := deadline - clock.time()) > 0:
            await asyncio.wait({self.agent.changed()}, timeout=left)
        if self.state is _A.FAILED and self.agent.fault is not None:
            raise self.agent.fault

    def _refuse_done(self) -> None:
        total, done = self.agent.spec.loop.max_runs, self.agent.record.done
        if total is not None and done >= total:
            raise Conflict(
                f"agent {self.agent.name!r} has made {done} of {total} runs; raise loop.max_runs with PATCH first",
                legal=legal_commands(self.state),
            )
