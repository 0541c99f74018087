"""One agent's loop: suggest, check, approve, submit, wait for the run, find its outcome, ingest; and again.

The way of a document: source -> dispatcher -> `measurement` -> `ingestion` -> executor (`HostedAgent.ingest`) ->
journal -> followers. One plan of an agent is under way at a time; while it runs, the outcome of the last is ingested,
the brain is asked for the next point where it may be, and the next plan is handed to the sink ahead, so that the
RunEngine never waits for us.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from agent_service.agents import guardrail_checks
from agent_service.agents.expired_approvals import take_back_expired
from agent_service.agents.ingestion import RunIngestion
from agent_service.agents.measurement import Measurement
from agent_service.agents.proposals import Proposals
from agent_service.agents.tasks import Role
from agent_service.errors import IllegalTransition, ServiceError
from agent_service.errors.texts import counted
from agent_service.models import QueueState
from agent_service.models.state_machines import ALIVE, AgentState, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_service.agents.agent import HostedAgent
    from agent_service.documents.dispatch import RunDispatcher
    from agent_service.models import Suggestion
    from agent_service.protocols import PlanSink

MAX_REJECTIONS: Final = 100
"""Suggestions that the guardrails may reject in a row before the agent stops: by then it does not learn from it."""

_S = SuggestionState


class AgentLoop:
    """Decides what one agent does next while it is running or paused."""

    def __init__(
        self,
        agent: HostedAgent,
        *,
        sink: PlanSink,
        dispatcher: RunDispatcher,
        archived: Callable[[str, float], Awaitable[None]],
        find: Callable[[str], HostedAgent],
    ) -> None:
        self.proposals = Proposals(agent, find=find)
        self.ingestion = RunIngestion(agent, plans_end_here=sink.plans_end_here, archived=archived)
        self.measurement = Measurement(
            agent,
            sink=sink,
            dispatcher=dispatcher,
            ingestion=self.ingestion,
            ask_ahead=self.proposals.ask_ahead,
        )
        self._agent = agent
        self._sink = sink
        self._delayed = ""
        self._brain = 0

    async def run(self) -> str | None:
        """Drive the agent until it stops or fails; returns why it stopped, None when it was told to or failed."""
        try:
            return await self._drive()
        finally:
            self.measurement.let_go()
            await self.ingestion.settle(quietly=True)
            self.proposals.stop_filling()
            await self.proposals.settle(quietly=True)

    def drain(self) -> None:
        """Begin nothing more, and let `run` return when what is under way has ended: the service stops."""
        self.measurement.stopping = self.measurement.draining = True

    def stop(self) -> None:
        """Begin nothing more, and let `run` return when the plan under way has ended; wait for no outcome."""
        self.measurement.stopping = True
        self.ingestion.cancel_pending_outcomes()
        self.proposals.stop_filling()

    async def _drive(self) -> str | None:
        record = self._agent.record
        while True:
            try:
                if await self.measurement.finish_submitted():  # whatever the state is by now: it may have begun
                    continue
                if self.measurement.stopping or record.state not in ALIVE:
                    return None
                if ending := await self._go():
                    return ending
            except ServiceError as error:
                if not self._agent.keeper.restarts.survived(error):
                    raise

    async def _go(self) -> str | None:
        """Do what the agent's state allows; return why it is to stop, if it is."""
        agent, state = self._agent, self._agent.record.state
        agent.wake.clear()
        await take_back_expired(agent)
        if state is AgentState.STARTING:  # its brain is built again after a fault
            await agent.wake.wait()
        elif (brain := agent.brain.builds) != self._brain:
            await self.proposals.settle()
            await self.ingestion.settle()
            await self.ingestion.ingest_leftovers()
            self._brain = brain
        elif state is AgentState.PAUSED:
            await self._rest(None)
        elif self._sink.status.state is QueueState.HELD:
            await agent.facts.become_from({AgentState.RUNNING}, AgentState.PAUSED, "the queue is held", held=True)
        elif not await self._keeps_still():
            return await self._step()
        return None

    async def _step(self) -> str | None:
        """Do what is next; return why the agent is to stop, if it is."""
        limit, proposals = self._limit(), self.proposals
        if self.ingestion.inbox:
            await self.ingestion.ingest_next()
        elif limit and not self.ingestion.pending:
            return limit
        elif not limit and (approved := self._agent.record.open_in(_S.APPROVED)):
            await self._measure(approved[0])
        elif not limit and proposals.fills and await proposals.fill():
            pass
        elif self.ingestion.pending:
            await self.ingestion.settle()
        elif proposals.pending:
            await self._wait_for_brain()
        else:
            return await self._propose()
        return None

    async def _measure(self, suggestion: Suggestion) -> None:
        if wait_s := self._rate_wait_s(suggestion):
            await self._wait(wait_s)
        else:
            await self.measurement.measure(suggestion)

    async def _propose(self) -> str | None:
        """Approve what was proposed, or ask the brain; return why the agent is to stop, if it is."""
        agent, proposals = self._agent, self.proposals
        if agent.brain.stop_reason:
            return agent.brain.stop_reason
        if spent := guardrail_checks.spent(agent.guardrails.now, agent.guardrails.history):
            return spent
        needed = agent.guardrails.approvals.needed
        if free := next((suggestion for suggestion in proposals.unapproved if not needed(suggestion.point)), None):
            await self._approve(free)  # left by a crash, or needs no approval any more
        elif not proposals.ask():
            await self._wait()
        return None

    async def _wait_for_brain(self) -> None:
        """Wait until it has answered, or something else changed; raise what went wrong."""
        if not self._agent.tasks.under_way(Role.ASK):
            await self.proposals.settle()
        else:
            await self._wait(self.proposals.fills_in_s)

    def _limit(self) -> str | None:
        """Return which limit is reached, so that nothing more is submitted; outcomes under way count as runs."""
        record, limits = self._agent.record, self._agent.spec.loop
        done = record.done + self.ingestion.coming
        if limits.max_runs is not None and done >= limits.max_runs:
            return f"max_runs reached ({done} of {limits.max_runs})"
        if record.failures_in_row >= limits.max_failures:
            return (
                f"{counted(record.failures_in_row, 'failure')} in a row (max_failures); the last: {record.last_failure}"
            )
        if record.rejections_in_row >= MAX_REJECTIONS:
            advice = "configure it with a plan and bounds inside the guardrails"
            return f"{MAX_REJECTIONS} suggestions in a row were rejected; the last: {record.last_failure}; {advice}"
        return None

    async def _keeps_still(self) -> bool:
        """Begin nothing while a condition is not met, and withdraw what waited too long; return whether it was so."""
        record, conditions = self._agent.record, self._agent.conditions
        if self.ingestion.inbox or (self._limit() and not self.ingestion.pending):
            return False
        if conditions.unmet:  # what was measured before is told to the brain
            await (self.ingestion.settle() if self.ingestion.pending else self._wait())
            return True
        waiting = record.open_in(_S.PROPOSED, _S.APPROVED)
        stale = [(suggestion, why) for suggestion in waiting if (why := conditions.stale(suggestion, record))]
        for suggestion, why in stale:
            with contextlib.suppress(IllegalTransition):  # a person was quicker
                await self._agent.fail_suggestion(suggestion, _S.EXPIRED, why, fault=False)
        return bool(stale)

    async def _approve(self, suggestion: Suggestion) -> None:
        with contextlib.suppress(IllegalTransition):  # a person was quicker
            if await self.measurement.allowed(suggestion):
                await self._agent.facts.advance(suggestion.id, _S.APPROVED)

    def _rate_wait_s(self, suggestion: Suggestion) -> float:
        limits = self._agent.guardrails.now
        wait_s = guardrail_checks.wait_s(limits, self._agent.record.handed_over_at, time.monotonic())
        if wait_s and self._delayed != suggestion.id:
            self._delayed = suggestion.id
            rate = limits.max_runs_per_minute
            self._agent.log(f"the next plan waits {wait_s:.1f} s: guardrails.max_runs_per_minute = {rate}")
        return wait_s

    async def _wait(self, at_most_s: float | None = None) -> None:
        if not self.ingestion.inbox and not self.measurement.stopping:
            await self._rest(at_most_s)

    async def _rest(self, at_most_s: float | None) -> None:
        """Wait until something changes, an approval expires, or so many seconds have passed."""
        left = [
            wait_s for wait_s in (at_most_s, self._agent.guardrails.approvals.next_expiry_s()) if wait_s is not None
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, default=None)):  # `asyncio.wait_for` may lose a cancellation
                await self._agent.wake.wait()
