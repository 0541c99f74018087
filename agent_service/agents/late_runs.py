"""Runs that come when their suggestion was closed and their agent has stopped: they count at its next start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.agents.conditions import spans_of
from agent_service.agents.ingestion import TAKES_LATE_RUN
from agent_service.agents.tasks import Role
from agent_service.documents import outcomes
from agent_service.documents.choice import matches, needs_end
from agent_service.documents.run_of_document import suggestion_of
from agent_service.errors import InvalidInput, ServiceError
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from agent_service.agents.agent import HostedAgent
    from agent_service.documents.runs import Run

_S = SuggestionState


def keep(agent: HostedAgent, run: Run) -> None:
    """Begin to write that a run has measured its suggestion, if it is the one that counts; a brain is told later."""
    agent.tasks.begin(Role.FACT, _keep(agent, run))


async def _keep(agent: HostedAgent, run: Run) -> None:
    own = agent.record.suggestions.get(suggestion_of(run.start))
    if own is None or own.state not in TAKES_LATE_RUN or await agent.keeper.told.has_ingested(run.uid):
        return
    if (run.stop or {}).get("exit_status") != "success":
        return
    try:
        await _check(agent, run, first=own.run_uid in (None, run.uid))
        about: dict[str, Any] = {"run_uid": run.uid, "reason": "its run came late, when the agent had stopped"}
        if not agent.spec.evaluate:
            about["outcome"] = outcomes.by_field(run, agent.spec.outcomes)
        await agent.facts.advance(own.id, _S.MEASURED, **about)
    except ServiceError as error:
        agent.log(f"run {run.uid} does not count for suggestion {own.id}: {error.detail}")


async def _check(agent: HostedAgent, run: Run, *, first: bool) -> None:
    """Raise `InvalidInput` unless a run is whole, was measured under the conditions, and is the one that counts."""
    rule = agent.spec.run
    if missing := run.missing():
        raise InvalidInput(f"it did not arrive whole: {missing} did not come")
    if needs_end(rule, every=agent.brain.traits.takes in ("runs", "uids")) or not (first or isinstance(rule, dict)):
        raise InvalidInput("it came late, and may not be the one that counts")
    if isinstance(rule, dict) and not matches(run.start, rule):
        raise InvalidInput("its metadata are not those of the agent's run")
    if why := await agent.conditions.void(spans_of([run])):
        raise InvalidInput(f"it is {why}")
