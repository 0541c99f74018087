"""What the service knows: a fold over the journal's facts, which can be put into a snapshot and taken out again.

A snapshot stands for all facts up to its number. What nobody needs to go on is not in it: suggestions whose fate is
final, older reports, and of each fact all but what the agent's brain was told.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, cast

from pydantic import TypeAdapter

from agent_service.agents.losses import Losses
from agent_service.agents.record.agent import HANDED_OVER_KEPT, AgentRecord
from agent_service.agents.record.replay import essence
from agent_service.errors import UsageError
from agent_service.models import Event, EventKind, Value
from agent_service.models.state_machines import OPEN, SUGGESTION_TRANSITIONS, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SNAPSHOT_VERSION: Final = 1
REPORTS_KEPT: Final = 100
"""Newest reports of an agent that a snapshot holds."""

FORGOTTEN_AT_ONCE: Final = 500
"""Facts, or suggestions, that are looked at in one step: some milliseconds."""

_DERIVED: Final = {"facts", "open", "bests", "handed_over_at"}


class Kept(NamedTuple):
    """Of an agent in a snapshot: when it was created, in ISO 8601, and the suggestions that are there by themselves."""

    created_at: str
    suggestions: Sequence[str]


@dataclass(slots=True)
class ServiceRecord:
    """All agents, the plan queue and the conditions, as the journal tells it; `apply` and `compact` change it."""

    agents: dict[str, AgentRecord] = field(default_factory=dict[str, AgentRecord])
    positions: dict[str, Value] = field(default_factory=dict[str, Value])
    queue: Event | None = None
    conditions: dict[str, Losses] = field(default_factory=dict[str, Losses])

    def apply(self, event: Event) -> Mapping[str, Value]:
        """Take the next fact in; return where it says that actuators were sent."""
        sent = self._apply(event)
        self.positions.update(sent)
        return sent

    def _apply(self, event: Event) -> Mapping[str, Value]:
        data = event.data
        sent: Mapping[str, Value] = {}
        if event.kind is EventKind.QUEUE_STATE:
            if data.get("command") in ("pause", "resume", "abort"):
                self.queue = event
            elif data.get("command") == "moved" or (data.get("command") == "move" and "plan" not in data):
                sent = cast("Mapping[str, Value]", data["point"]) if data.get("begun", True) else {}
        if event.kind is EventKind.CONDITION_STATE:
            self.conditions.setdefault(str(data["condition"]), Losses()).apply(data)
        if event.agent is None:
            return sent
        if event.kind is EventKind.AGENT_STATE and "spec" in data:
            self.agents[event.agent] = AgentRecord.created(event)
        elif (record := self.agents.get(event.agent)) is None:
            return sent
        elif event.kind is EventKind.AGENT_STATE and data.get("removed"):
            del self.agents[event.agent]
        else:
            record.apply(event)
            began = event.kind is EventKind.SUGGESTION_STATE and data["state"] == SuggestionState.RUNNING
            if began and "run_uids" not in data:
                return record.suggestions[str(data["id"])].point
        return sent

    def compact(self) -> None:
        """Forget what nobody needs to go on."""
        for record in self.agents.values():
            # people look up how these came to be
            best = {point.id for point in (*record.best, *record.best_measured.front)}
            record.facts = essence(record)
            record.reports = record.reports[-REPORTS_KEPT:]
            for suggestion in list(record.suggestions.values()):
                if not SUGGESTION_TRANSITIONS[suggestion.state] and suggestion.id not in best:  # its fate is final
                    _forget(record, suggestion.id)

    def kept(self) -> dict[str, Kept]:
        """Return by agent what others may not forget, when this is compacted."""
        return {
            name: Kept(record.created_at.isoformat(), list(record.suggestions)) for name, record in self.agents.items()
        }

    def follow(self, kept: Mapping[str, Kept], *, seq: int) -> Iterator[Sequence[str]]:
        """Forget, step by step, what a compacted record of the facts up to ``seq`` has forgotten.

        This one knows later facts too; ``kept`` is what that one has still. Yields ids of suggestions that were just
        forgotten, some at a time; facts may be applied between.
        """
        for name, then in kept.items():
            record = self.agents.get(name)
            if record is None or record.created_at.isoformat() != then.created_at:  # removed since, or made anew
                continue
            yield from _follow(record, then, seq)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, for a snapshot."""
        return {
            "version": SNAPSHOT_VERSION,
            "positions": self.positions,
            "queue": None if self.queue is None else self.queue.model_dump(mode="json"),
            "conditions": {name: losses.as_json() for name, losses in self.conditions.items()},
            "agents": {name: _record_as_json(record) for name, record in self.agents.items()},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return what `as_json` made JSON of; `UsageError` when a newer version of this program made it."""
        if data["version"] > SNAPSHOT_VERSION:
            raise UsageError(
                f"the journal's snapshot has version {data['version']}, written by a newer agent-service; this one "
                f"reads up to {SNAPSHOT_VERSION}: upgrade it"
            )
        return cls(
            agents={name: _record_from_json(name, agent) for name, agent in data["agents"].items()},
            positions=data["positions"],
            queue=None if data["queue"] is None else Event.model_validate(data["queue"]),
            conditions={name: Losses.from_json(losses) for name, losses in data.get("conditions", {}).items()},
        )


@cache
def _record_type() -> TypeAdapter[AgentRecord]:
    return TypeAdapter(AgentRecord)  # not when this is imported: it takes a while


def _follow(record: AgentRecord, then: Kept, seq: int) -> Iterator[Sequence[str]]:
    older = bisect_right(record.facts, seq, key=lambda fact: fact.seq or 0)
    kept: list[Event] = []
    for first in range(0, older, FORGOTTEN_AT_ONCE):
        kept += essence(record, record.facts[first : min(older, first + FORGOTTEN_AT_ONCE)])
        yield ()
    later = {str(event.data["id"]) for event in record.facts[older:] if "id" in event.data}
    gone = list(record.suggestions.keys() - set(then.suggestions) - later)
    record.facts = [*kept, *record.facts[older:]]
    reports = [report for report in record.reports if report.seq <= seq]
    record.reports = [*reports[-REPORTS_KEPT:], *record.reports[len(reports) :]]
    for first in range(0, len(gone), FORGOTTEN_AT_ONCE):
        forgotten = gone[first : first + FORGOTTEN_AT_ONCE]
        for suggestion_id in forgotten:
            _forget(record, suggestion_id)
        yield forgotten


def _forget(record: AgentRecord, suggestion_id: str) -> None:
    del record.suggestions[suggestion_id]
    record.proposed_by.pop(suggestion_id, None)
    record.claimed_by.pop(suggestion_id, None)
    record.approved_by_person.discard(suggestion_id)


def _record_as_json(record: AgentRecord) -> dict[str, Any]:
    data = _record_type().dump_python(record, mode="json", exclude=_DERIVED)
    data["facts"] = [[event.seq, event.kind, event.time.isoformat(), event.data] for event in record.facts]
    return data


def _record_from_json(name: str, record_data: dict[str, Any]) -> AgentRecord:
    facts = [
        Event.known(seq=seq, time=datetime.fromisoformat(time), agent=name, kind=EventKind(kind), data=data)
        for seq, kind, time, data in record_data["facts"]
    ]
    record = _record_type().validate_python({key: value for key, value in record_data.items() if key not in _DERIVED})
    record.facts = facts
    record.bests.find_anew(record.spec, facts)
    record.open = {key: suggestion for key, suggestion in record.suggestions.items() if suggestion.state in OPEN}
    # as when the facts are folded: what went before counts as of now
    record.handed_over_at.extend([time.monotonic()] * min(record.handed_over, HANDED_OVER_KEPT))
    return record
