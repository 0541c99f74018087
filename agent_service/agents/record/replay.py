"""From an agent's facts in the journal to what its adapter replays when the brain is rebuilt."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from agent_service.agents.record.remembered import WITHOUT_OUTCOME
from agent_service.brains.messages import (
    EditFact,
    Fact,
    FailFact,
    IngestFact,
    MethodFact,
    RetryFact,
    SuggestFact,
    VariableFact,
)
from agent_service.models import ID_KEY, EventKind, Retold
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from agent_service.models import Event


def facts_of(events: Sequence[Event], *, config: Mapping[str, Any] | None = None, first: int = 0) -> list[Fact]:
    """Return what happened to an agent's brain, in the order in which it happened, from the facts that tell it.

    Only from the ``first`` of ``events`` on, with those before for what they say of these. What a new ``config`` names
    is no longer what a variable was set to before.
    """
    facts: list[Fact] = []
    batch: list[Event] = []
    points: dict[Any, Any] = {event.data["id"]: event.data["point"] for event in events if _has_point(event)}
    retried = {str(event.data.get("retry_of")) for event in events}
    for event in filter(_concerns_brain, events[first:]):
        data: dict[str, Any] = event.data
        state = data.get("state") if event.kind is EventKind.SUGGESTION_STATE else None
        proposed = state == SuggestionState.PROPOSED and not data.get("retry_of")
        if proposed and (not batch or _together(batch[-1], event)):
            batch.append(event)
            continue
        facts.extend(_suggested(batch))
        batch = [event] if proposed else []
        if data.get("retry_of"):
            facts.append(RetryFact(id=data["id"], retry_of=str(data["retry_of"])))
        elif event.kind is EventKind.INGEST:
            facts.extend(_ingested(data))
        elif event.kind is EventKind.METHOD:
            facts.append(MethodFact(name=data["method"], args=tuple(data["args"]), kwargs=data["kwargs"]))
        elif event.kind is EventKind.CONFIG and "variable" in data:
            facts.append(VariableFact(name=data["variable"], value=data["value"]))
        elif event.kind is EventKind.CONFIG and "config" in data:
            facts = _without_variables(facts, data["config"])
        elif state in WITHOUT_OUTCOME and data["id"] not in retried:
            facts.append(FailFact(points=({**points[data["id"]], ID_KEY: data["id"]},)))
        elif state == SuggestionState.APPROVED and "point" in data:
            facts.append(EditFact(id=data["id"], point=data["point"]))
    facts.extend(_suggested(batch))
    return _without_variables(facts, config or {})


def untold(points: Sequence[Mapping[str, Any]], retold: Sequence[Retold]) -> list[Mapping[str, Any]]:
    """Return the points that are to be told to the brain: not those that it knows from its time as an earlier agent."""
    return [point for point, of in zip_longest(points, retold) if of is None or not of.known]


def _ingested(data: Mapping[str, Any]) -> list[Fact]:
    new = untold(data["points"], [Retold.model_validate(origin) for origin in data.get("retold") or ()])
    return [IngestFact(points=tuple(new))] if new else []


def _has_point(event: Event) -> bool:
    return event.kind is EventKind.SUGGESTION_STATE and "point" in event.data


def _concerns_brain(event: Event) -> bool:
    """Whether it is no proposal of a point that the brain did not suggest, or suggested before."""
    data = event.data
    if event.kind is not EventKind.SUGGESTION_STATE:
        return True
    return (
        data.get("by") != "filler" and not data.get("again") and not (data.get("by_hand") and not data.get("retry_of"))
    )


def _without_variables(facts: list[Fact], names: Collection[str]) -> list[Fact]:
    return [fact for fact in facts if not (isinstance(fact, VariableFact) and fact.name in names)]


def _together(event: Event, following: Event) -> bool:
    """Whether two proposals come from one call of the brain; older journals do not say, there neighbours do."""
    batch = following.data.get("batch")
    return event.data.get("batch") == batch and (batch is not None or following.seq == (event.seq or 0) + 1)


def _suggested(batch: list[Event]) -> Iterable[SuggestFact]:
    if not batch:
        return []
    proposals: list[dict[str, Any]] = [event.data for event in batch]
    return [
        SuggestFact(
            ids=tuple(proposal["id"] for proposal in proposals),
            points=tuple(proposal["point"] for proposal in proposals),
            brain_ids=tuple(proposal.get("brain_id") for proposal in proposals),
            extras=tuple(proposal.get("extra") or {} for proposal in proposals),
        )
    ]
