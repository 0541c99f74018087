"""One agent's loop in its task: from the building of its brain to its end, and back after a restart of the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Literal

from agent_service.agents import late_runs, recovery
from agent_service.agents.tasks import Role
from agent_service.errors import BackendUnavailable, ServiceError
from agent_service.models.state_machines import ALIVE, AgentState
from agent_service.protocols import SERVICE_STOPS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.loop import AgentLoop
    from agent_service.agents.submission import Submission
    from agent_service.documents.runs import Run
    from agent_service.models import RestartAs
    from agent_service.plans.plan_queue import PlanQueue

_log = logging.getLogger(__name__)
_A = AgentState


class LoopRunner:
    """Runs the loop of one agent from ``starting`` to ``stopped`` or ``failed``; belongs to the event loop."""

    def __init__(
        self,
        agent: HostedAgent,
        *,
        make_loop: Callable[[HostedAgent], AgentLoop],
        queue: PlanQueue,
        documents: Callable[[str], Awaitable[Run]],
    ) -> None:
        self.loop: AgentLoop | None = None
        self._agent = agent
        self._make_loop = make_loop
        self._queue = queue
        self._documents = documents
        self._retries = True
        self._prepared = False
        agent.keeper.on_restart = lambda pause_s: agent.tasks.begin(Role.RESTART, self._restart(pause_s))

    @property
    def _state(self) -> AgentState:
        return self._agent.record.state

    def begin(self, then: RestartAs, submissions: Sequence[Submission] = (), *, attended: bool) -> None:
        """Build the brain of an agent that is ``starting``, and run its loop."""
        self.loop = self._make_loop(self._agent)
        self.loop.measurement.take_up(submissions)
        self.loop.ingestion.retries = self._retries
        self._prepared = False
        self._agent.keeper.restarts.begin(then, attended=attended)
        building = self._agent.tasks.begin(Role.BUILD, self._agent.keeper.build(), for_request=True)
        self._agent.tasks.begin(Role.LOOP, self._live(self.loop, building, then))

    async def _live(self, loop: AgentLoop, building: asyncio.Task[None], then: RestartAs) -> None:
        """Live from starting to stopped or failed; lets no exception out."""
        why: str | None = None
        try:
            await asyncio.wait({building})
            if not building.cancelled():
                await self._begin_life(building, then)
                why = await loop.run()
        except ServiceError as error:
            await self._note_failure(error)
        except Exception:  # noqa: BLE001 - a bug of ours must not take the service down; logged
            _log.exception("the loop of agent %s failed", self._agent.name)
            await self._note_failure(ServiceError("the service's own loop failed; its log says more"))
        finally:
            building.cancel()
            loop.measurement.let_go()
            self.loop = None
        try:
            if why is not None:
                await self._agent.facts.become_from(ALIVE, _A.STOPPING, why)
            await self._sweep()
        except BackendUnavailable as error:
            _log.error("the end of agent %s could not be written: %s", self._agent.name, error.detail)

    async def _restart(self, pause_s: float) -> None:
        """Wait, build, and go on as before; lets no exception out.

        A plan that is under way is awaited meanwhile, and its outcome told to the new brain.
        """
        await asyncio.sleep(pause_s)
        as_before = self._agent.record.restart_as
        if self._state is not _A.STARTING or as_before is None:
            return
        with contextlib.suppress(BackendUnavailable):  # logged by the journal
            try:
                await self._agent.keeper.build()
                await self._go_on(as_before)
            except ServiceError as error:
                if not self._agent.keeper.restarts.survived(error):  # else another one is to come already
                    await self._agent.keeper.failed(error, during="restart")

    async def _begin_life(self, building: asyncio.Task[None], then: RestartAs) -> None:
        """Go on when the brain is built; after a fault that a restart follows, the restart does that."""
        try:
            building.result()
            await self._go_on(then)
        except ServiceError as error:
            if not self._agent.keeper.restarts.survived(error):
                await self._note_failure(error)
            if not self._agent.keeper.restarts.survived(error):
                raise

    async def _go_on(self, then: RestartAs) -> None:
        """Be running or paused, now that the brain is there; what the queue is by now counts."""
        await self._prepare()
        if not self._agent.brain.is_there:  # lost meanwhile: it is built again, or this is the end
            return
        state, reason, held = then.state, then.reason, then.held
        if self._queue.held and state is _A.RUNNING:
            state, reason, held = _A.PAUSED, "the queue is held; resume it to go on", True
        elif held and not self._queue.held:
            state, reason, held = _A.RUNNING, None, False
        await self._agent.facts.become_from({_A.STARTING}, state, reason, held=held)

    async def _prepare(self) -> None:
        """Settle what an earlier life left, and tell the brain of past runs; once, before the loop does anything."""
        loop = self.loop
        if loop is None or self._prepared:
            return
        await recovery.look_up(self._agent, self._documents, retry=self._retries, in_sink=loop.measurement.taken_up)
        if self._agent.brain.is_there and not self._agent.brain.in_step:  # it waits for what will not come
            await self._agent.keeper.build()
        await self._warm_start(loop)
        self._prepared = True

    async def _sweep(self) -> None:
        """End a stopping: whoever comes last, the loop or the command, writes it."""
        if self._state is _A.STOPPING:
            await self._agent.keeper.saver.save_before_end()
            await self._agent.brain.discard()
            await self._agent.facts.become_from({_A.STOPPING}, _A.STOPPED, self._agent.record.reason)

    async def _note_failure(self, error: ServiceError) -> None:
        with contextlib.suppress(BackendUnavailable):  # logged by the journal
            await self._agent.keeper.failed(error, during=str(self._state))

    async def _warm_start(self, loop: AgentLoop) -> None:
        for uid in self._agent.spec.warm_start:
            if not await self._agent.keeper.told.has_ingested(uid):
                await loop.ingestion.ingest_past_run(await self._documents(uid))

    async def end(self, reason: str) -> None:
        """Begin to stop: write that, and `wind_down`."""
        await self._agent.facts.become(_A.STOPPING, reason)
        await self.wind_down(reason)

    async def wind_down(self, reason: str) -> None:
        """Let the plan under way end, and abandon the call of the brain, and what is being built."""
        self._agent.tasks.cancel(Role.RESTART, Role.BUILD)
        await self._agent.tasks.wait(Role.RESTART)
        if self.loop is not None:
            self.loop.stop()
        await self._agent.keeper.call_off_rebuilding()
        self._queue.withdraw(self._agent.name, f"not measured: {reason}")
        await self._agent.brain.abandon_call()
        self._agent.mark_changed()
        if not self._agent.tasks.under_way(Role.LOOP):
            await self._sweep()

    async def recover(
        self,
        runs: Mapping[str, Sequence[Run]],
        submissions: Sequence[Submission] = (),
        *,
        default: Literal["resume", "paused"] = "resume",
        paused: str | None = None,
    ) -> None:
        """Come back after the service ended, as `recovery` decides; the sink has the plans of ``submissions`` still."""
        agent = self._agent
        resumes = self._retries = (agent.spec.recover or default) == "resume"
        in_sink = {submission.suggestion.id for submission in submissions}
        late = recovery.late_runs(agent, runs)
        await recovery.reconcile(agent, runs, retry=self._state in ALIVE and resumes, in_sink=in_sink)
        back = await recovery.bring_back(agent, queue_held=self._queue.held, resumes=resumes, paused=paused)
        if back is not None:
            self.begin(back, submissions, attended=False)
        for run in late:
            if self.loop is not None:
                self.loop.ingestion.put(run)
            else:
                late_runs.keep(agent, run)

    async def drain(self) -> None:
        """Begin nothing more, and return when the plan and the call under way have ended, as far as they can here.

        Nothing is written of it: the facts say that the agent was alive, so `recover` brings it back. What was
        submitted and did not begin is ``approved`` again.
        """
        loop, tasks = self.loop, self._agent.tasks.under_way(Role.LOOP)
        if loop is None or not tasks or self._state is _A.STARTING:
            return
        loop.drain()
        self._queue.withdraw(self._agent.name, SERVICE_STOPS)
        self._agent.mark_changed()
        while not all(task.done() for task in tasks) and (self._queue.ends_by_itself or not loop.measurement.in_flight):
            await asyncio.wait({*tasks, self._agent.changed()}, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """End at once and write nothing: the facts say that the agent was alive, so `recover` brings it back."""
        if self.loop is not None:
            self.loop.stop()
        self._agent.tasks.cancel(Role.RESTART)
        await self._agent.tasks.wait(Role.RESTART)
        await self._agent.keeper.saver.save_before_end()
        self._agent.keeper.saver.close()
        await self._agent.brain.discard()
        ours = [role for role in Role if role not in (Role.PLAN, Role.FACT)]  # the loop ends those two
        while self._agent.tasks.under_way() - {asyncio.current_task()}:  # one that ends may begin another
            self._agent.tasks.cancel(*ours)
            await self._agent.tasks.wait()
