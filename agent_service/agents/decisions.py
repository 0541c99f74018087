"""What persons decide about agents that are there: suggestions approved or rejected, moves, past runs ingested."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from agent_service import context
from agent_service.agents import guardrail_checks, sent_points
from agent_service.errors import Conflict
from agent_service.models import own_names
from agent_service.models.state_machines import (
    Command,
    SuggestionState,
    check_person,
    check_suggestion,
    legal_commands,
    require,
)
from agent_service.protocols import MOVE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent_service.agents.conditions import Conditions
    from agent_service.agents.directory import AgentDirectory
    from agent_service.agents.plan_permits import PlanPermits
    from agent_service.documents.runs import Run
    from agent_service.models import BestPoint, Suggestion
    from agent_service.plans.plan_queue import PlanQueue


class Decisions:
    """Carries out what persons decide; belongs to the event loop."""

    def __init__(
        self,
        agents: AgentDirectory,
        *,
        permits: PlanPermits,
        queue: PlanQueue,
        documents: Callable[[str], Awaitable[Run]],
        conditions: Conditions,
    ) -> None:
        self._agents = agents
        self._permits = permits
        self._queue = queue
        self._documents = documents
        self._conditions = conditions

    async def approve(self, suggestion_id: str, point: Mapping[str, float] | None) -> Suggestion:
        """Approve a proposed suggestion, perhaps with another point; its agent's loop submits it.

        Raises `OutOfBounds` when a guardrail forbids the point, or a device refuses it, as far as that can be known
        before its turn.
        """
        agent = self._agents.owner(suggestion_id)
        suggestion = agent.record.suggestion(suggestion_id)
        check_suggestion(suggestion.state, SuggestionState.APPROVED)
        check_person(suggestion.state, SuggestionState.APPROVED)
        if point is None:
            await self._permits.check_press(agent, suggestion.point)
            return await agent.facts.advance(suggestion_id, SuggestionState.APPROVED, by_person=True)
        point = sent_points.edited(own_names.to_own(point, agent.spec), suggestion)
        sent_points.check_position(point, agent.spec)
        await self._permits.check_press(agent, point)
        approved = await agent.facts.advance(
            suggestion_id,
            SuggestionState.APPROVED,
            by_person=True,
            point=point,
            reason=f"edited by {context.person()}",
        )
        await agent.edit(suggestion, point)
        return approved

    async def reject(self, suggestion_id: str, reason: str) -> Suggestion:
        """Reject a suggestion that was not submitted yet, and tell the brain where it can be told."""
        agent = self._agents.owner(suggestion_id)
        reason = f"rejected by {context.person()}{f': {reason}' if reason else ''}"
        suggestion = agent.record.suggestion(suggestion_id)
        await agent.fail_suggestion(suggestion, SuggestionState.REJECTED, reason, fault=False, by_person=True)
        return agent.record.suggestion(suggestion_id)

    async def go_to_best(
        self,
        name: str,
        *,
        by: Literal["measured", "model"] = "measured",
        seen: Mapping[str, float] | None = None,
        despite_conditions: bool = False,
    ) -> BestPoint:
        """Move the actuators to the best point that was measured, or to what the brain says is the best.

        ``seen`` is the point that whoever asks has seen; None goes wherever the best is by now. Raises `Conflict` when
        the agent runs, knows no best point yet, or another one than was seen, or a condition is not met and nobody said
        ``despite_conditions``; `OutOfBounds` when a guardrail forbids it, now or when its turn had come;
        `BackendUnavailable` when the move failed.
        """
        agent = self._agents.agent(name)
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
        if not despite_conditions:
            self._conditions.refuse_unmet("to move all the same, say despite_conditions = true")
        sent_points.check_position(best.point, agent.spec)
        await agent.guardrails.check_devices(best.point)
        guardrail_checks.check_rate(agent.guardrails.now, agent.record.handed_over_at, time.monotonic())
        guardrail_checks.check(best.point, agent.guardrails.now, replace(agent.guardrails.history, plan=MOVE))
        await self._queue.move(name, best.point)
        return best

    async def ingest_runs(self, name: str, uids: list[str]) -> int:
        """Ingest past runs by their uids; those already ingested are passed over. Returns how many were not.

        Raises `NotFound` or `BackendUnavailable` when the catalogue does not hold a run, or cannot be asked;
        `InvalidInput` when a run has no outcome for this agent.
        """
        life = self._agents.life(name)
        require(Command.INGEST, life.state, name=name)
        runs = [await self._documents(uid) for uid in dict.fromkeys(uids)]
        before = life.agent.record.ingests
        for run in runs:
            if life.runner.loop is None:
                raise Conflict(f"agent {name!r} ended meanwhile")
            await life.runner.loop.ingestion.ingest_past_run(run)
        return life.agent.record.ingests - before
