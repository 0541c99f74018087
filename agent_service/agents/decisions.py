"""People's decisions about existing agents: approvals, rejections, moves, and past runs to ingest."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from agent_service import context
from agent_service.agents import guardrail_checks, sent_points
from agent_service.agents.tasks import Role
from agent_service.errors import AgentFault, Conflict, InvalidInput, OutOfBounds
from agent_service.models import REASON_KEY, EventKind, own_names
from agent_service.models.state_machines import (
    Command,
    SuggestionState,
    check_person,
    check_suggestion,
    legal_commands,
    require,
)
from agent_service.models.values import text_of
from agent_service.plans.named_plan import is_named
from agent_service.protocols import MOVE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractContextManager

    from agent_service.agents.conditions import Conditions
    from agent_service.agents.directory import AgentDirectory
    from agent_service.agents.plan_permits import PlanPermits
    from agent_service.documents.runs import Run
    from agent_service.models import BestPoint, Suggestion, Value
    from agent_service.plans.plan_queue import PlanQueue


MOST_PROPOSED: Final = 100
"""Points of one key that may wait for an agent at a time."""


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

    async def approve(self, suggestion_id: str, point: Mapping[str, Value] | None) -> Suggestion:
        """Approve a proposed suggestion, perhaps with another point; its agent's loop submits it.

        What the brain did not suggest, edited or proposed by somebody, it is told of now.

        Raises `OutOfBounds` when a guardrail forbids the point, or a device refuses it, as far as that can be known
        before its turn; `AgentFault` when an agent that says what runs at each point raised for this one.
        """
        await self._agents.recall(suggestion_id)
        agent = self._agents.owner(suggestion_id)
        suggestion = agent.record.suggestion(suggestion_id)
        check_suggestion(suggestion.state, SuggestionState.APPROVED)
        check_person(suggestion.state, SuggestionState.APPROVED)
        if point is None and suggestion.proposed_by is None:
            await self._permits.check_press(agent, suggestion.point)
            return await agent.facts.advance(suggestion_id, SuggestionState.APPROVED, by_person=True)
        about: dict[str, Any] = {} if point is None else {"reason": f"edited by {context.person()}"}
        given = suggestion.point if point is None else own_names.to_own(point, agent.spec)
        point = about["point"] = sent_points.fitting(sent_points.edited(given, suggestion.point), agent.spec)
        await self._permits.check_press(agent, point)
        if is_named(agent.spec.plan):  # the agent says what runs at that point, before anything can be submitted
            with agent.brain.told_apart(forgives=AgentFault):
                await agent.edit(suggestion, point, ahead=True)
                return await agent.facts.advance(suggestion_id, SuggestionState.APPROVED, by_person=True, **about)
        with agent.brain.told_apart():
            approved = await agent.facts.advance(suggestion_id, SuggestionState.APPROVED, by_person=True, **about)
            await agent.edit(suggestion, point)
        return approved

    async def approve_all(self, seen: Mapping[str, Mapping[str, Value]]) -> list[Suggestion]:
        """Approve several suggestions of one agent as they were ``seen``, by id their points: all of them or none.

        Raises what `approve` raises, naming the suggestion; `Conflict` when a point is another one than was seen;
        `InvalidInput` when they are of several agents.
        """
        await self._agents.recall(*seen)
        owners = [self._agents.owner(suggestion_id) for suggestion_id in seen]
        agent = owners[0]
        if any(owner is not agent for owner in owners):
            raise InvalidInput("these are suggestions of several agents; approve those of each agent apart")
        for before, (suggestion_id, point) in enumerate(seen.items()):
            suggestion = agent.record.suggestion(suggestion_id)
            if own_names.to_own(point, agent.spec) != suggestion.point:
                where = ", ".join(f"{name} {text_of(value)}" for name, value in suggestion.point.items())
                raise Conflict(
                    f"suggestion {suggestion_id} is another point by now: {where}; look at it, and press again"
                )
            check_person(suggestion.state, SuggestionState.APPROVED)
            try:
                await self._permits.check_press(agent, suggestion.point, before=before)
            except OutOfBounds as error:
                raise OutOfBounds(f"suggestion {suggestion_id}: {error.detail}", errors=error.errors) from None
        every = [agent.record.suggestion(suggestion_id) for suggestion_id in seen]
        new = [suggestion for suggestion in every if suggestion.proposed_by]
        with agent.brain.told_apart(forgives=AgentFault):
            for proposal in new if is_named(agent.spec.plan) else ():
                await agent.edit(proposal, proposal.point, ahead=True)
            async with agent.facts.fates:
                for proposal in every:
                    check_person(agent.record.suggestion(proposal.id).state, SuggestionState.APPROVED)
                fates = [{"id": suggestion.id, "state": SuggestionState.APPROVED, "word": True} for suggestion in every]
                points = [{"point": suggestion.point} if suggestion.proposed_by else {} for suggestion in every]
                await agent.facts.write(
                    [(EventKind.SUGGESTION_STATE, {**fate, **point}) for fate, point in zip(fates, points, strict=True)]
                )
            for proposal in () if is_named(agent.spec.plan) else new:
                await agent.edit(proposal, proposal.point)
        return [agent.record.suggestion(suggestion_id) for suggestion_id in seen]

    async def propose(self, name: str, point: Mapping[str, Value], reason: str) -> Suggestion:
        """Let a point that somebody proposes to an agent wait for a person, whatever the agent's own approval is.

        Raises `InvalidPoint` when it does not fit the agent's space, `OutOfBounds` when a guardrail or what a device
        says forbids it now, `Conflict` when as many of whoever acts wait already as may.
        """
        agent, who = self._agents.agent(name), context.acting() or "person"
        mine = sum(each.proposed_by == who for each in agent.record.open_in(SuggestionState.PROPOSED))
        if mine >= MOST_PROPOSED:
            raise Conflict(
                f"{mine} points of {who} wait for agent {name!r} already; ask somebody to approve or reject them first"
            )
        fitting = sent_points.fitting(own_names.to_own(point, agent.spec), agent.spec)
        await agent.guardrails.look_again([fitting])
        guardrail_checks.check(fitting, agent.guardrails.now)
        new = {"id": str(uuid.uuid4()), "state": SuggestionState.PROPOSED, "point": fitting, "plan": agent.spec.plan}
        fact = {**new, "by": "person", "by_hand": True, "extra": {REASON_KEY: reason}}
        await agent.facts.write([(EventKind.SUGGESTION_STATE, fact)])
        return agent.record.suggestion(str(new["id"]))

    async def ask_for_points(
        self, name: str, n_points: int, *, to_queue: bool, during: AbstractContextManager[object]
    ) -> list[Suggestion]:
        """Ask an agent for points for code of its own; they stay ``proposed``, or go ``to_queue`` as its loop's do.

        Where these need approval they wait for it, unless who acts may give it: code gives no person's word. ``during``
        holds while the brain is asked. Raises `OutOfBounds` as `approve`, and what the brain's call raises.
        """
        agent = self._agents.agent(name)
        require(Command.SUGGEST, agent.record.state, name=name)
        if not to_queue:
            return await agent.suggest(n_points, by="person", during=during)
        asking = agent.suggest(n_points, by="loop", approve=True, during=during)
        suggestions = await agent.tasks.begin(Role.ASK, asking)
        if context.may_approve():
            for waiting in [
                suggestion.id for suggestion in suggestions if suggestion.state is SuggestionState.PROPOSED
            ]:
                await self.approve(waiting, None)
        return [agent.record.suggestion(suggestion.id) for suggestion in suggestions]

    async def reject(self, suggestion_id: str, reason: str) -> Suggestion:
        """Reject a suggestion that was not submitted yet, and tell the brain where it can be told."""
        await self._agents.recall(suggestion_id)
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
        seen: Mapping[str, Value] | None = None,
        despite_conditions: bool = False,
    ) -> BestPoint:
        """Move the actuators to the best point that was measured, or to what the brain says is the best.

        ``seen`` is the point that whoever asks has seen, any on the front of several objectives; None goes wherever
        the best is by now. Raises `Conflict` when
        the agent runs, knows no best point yet, or another one than was seen, or a condition is not met and nobody said
        ``despite_conditions``; `OutOfBounds` when a guardrail forbids it, now or when its turn had come;
        `BackendUnavailable` when the move failed.
        """
        agent = self._agents.agent(name)
        require(Command.GO_TO_BEST, agent.record.state, name=name)
        measured = agent.record.best_measured
        best = measured.point if by == "measured" else agent.record.best_by_model
        if best is None:
            why = measured.none or f"agent {name!r} knows no best point yet; let it measure first"
            raise Conflict(
                why if by == "measured" else f"agent {name!r} says no best point of its own; go to the best measured",
                legal=legal_commands(agent.record.state),
            )
        if seen is not None:
            seen = own_names.to_own(seen, agent.spec)
        if seen is not None and by == "measured":  # any of a front will do
            best = next((point for point in measured.front if point.point == seen), best)
        if seen is not None and seen != best.point:
            where = ", ".join(f"{key} {text_of(value)}" for key, value in best.point.items())
            raise Conflict(f"the best point is another one by now: {where}; look at it, and press again")
        if not despite_conditions:
            self._conditions.refuse_unmet(f"to move all the same, client.go_to_best({name!r}, despite_conditions=True)")
        target = sent_points.fitting(best.point, agent.spec)
        await agent.guardrails.check_devices(target)
        guardrail_checks.check_rate(agent.guardrails.now, agent.record.handed_over_at, time.monotonic())
        guardrail_checks.check(target, agent.guardrails.now, replace(agent.guardrails.history, plan=MOVE))
        await self._queue.move(name, target, despite_conditions=despite_conditions)
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
