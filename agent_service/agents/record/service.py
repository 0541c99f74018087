"""What the service knows: a fold over the journal's facts, which can be put into a snapshot and taken out again.

A snapshot stands for all facts up to its number. In memory, and in it, are the newest suggestions whose fate is final,
and the newest reports; earlier ones are read from the journal when they are asked for, and so is what a brain is told
again: what is here does not grow with what was measured.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Self, cast

from pydantic import TypeAdapter

from agent_service.agents.losses import Losses
from agent_service.agents.record.agent import HANDED_OVER_KEPT, AgentRecord
from agent_service.errors import UsageError
from agent_service.models import Event, EventKind, Value
from agent_service.models.state_machines import OPEN, SUGGESTION_TRANSITIONS, SuggestionState
from agent_service.models.strict_numbers import CHECKED_BEFORE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import Suggestion

SNAPSHOT_VERSION: Final = 2
DECIDED_KEPT: Final = 10_000
"""Newest suggestions with a final fate that are in memory, of all agents together."""

_FINAL: Final = frozenset(str(state) for state, following in SUGGESTION_TRANSITIONS.items() if not following)
_DERIVED: Final = {"facts", "open", "best_kept", "handed_over_at", "measured"}


@dataclass(slots=True)
class ServiceRecord:
    """All agents, the plan queue and the conditions, as the journal tells it; `apply` changes it."""

    agents: dict[str, AgentRecord] = field(default_factory=dict[str, AgentRecord])
    positions: dict[str, Value] = field(default_factory=dict[str, Value])
    queue: Event | None = None
    conditions: dict[str, Losses] = field(default_factory=dict[str, Losses])
    decided: deque[tuple[AgentRecord, str]] = field(default_factory=deque[tuple[AgentRecord, str]], compare=False)
    on_forget: Callable[[str], None] = field(default=lambda suggestion_id: None, compare=False)

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
            if event.kind is EventKind.SUGGESTION_STATE:
                return self._follow_suggestion(record, data)
        return sent

    def _follow_suggestion(self, record: AgentRecord, data: Mapping[str, Any]) -> Mapping[str, Value]:
        """Remember which suggestions were decided last; return where one that begins sends actuators."""
        suggestion_id = str(data["id"])
        if data["state"] in _FINAL:
            self._note_decided(record, suggestion_id)
        began = data["state"] == SuggestionState.RUNNING and "run_uids" not in data
        return record.suggestions[suggestion_id].point if began else {}

    def remember(self, name: str, suggestion: Suggestion, proposed_by: str) -> None:
        """Keep a suggestion whose fate is final, as if it had been decided now: somebody looks at it."""
        record = self.agents[name]
        record.suggestions[suggestion.id], record.proposed_by[suggestion.id] = suggestion, proposed_by
        self._note_decided(record, suggestion.id)

    def _note_decided(self, record: AgentRecord, suggestion_id: str) -> None:
        self.decided.append((record, suggestion_id))
        while len(self.decided) > DECIDED_KEPT:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        record, suggestion_id = self.decided.popleft()
        # people look up how the best came to be: those stay
        best = {point.id for point in (*record.best, *record.best_measured.front)}
        old = {suggestion_id, *record.best_kept}
        record.best_kept = {each for each in old if each in best}
        for each in old - record.best_kept:
            _forget(record, each)
            self.on_forget(each)

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
        record = cls(
            agents={name: _record_from_json(agent) for name, agent in data["agents"].items()},
            positions=data["positions"],
            queue=None if data["queue"] is None else Event.model_validate(data["queue"]),
            conditions={name: Losses.from_json(losses) for name, losses in data.get("conditions", {}).items()},
        )
        decided = [
            (suggestion.updated_at, agent, suggestion.id)
            for agent in record.agents.values()
            for suggestion in agent.suggestions.values()
            if suggestion.state in _FINAL
        ]
        record.decided.extend((agent, name) for _, agent, name in sorted(decided, key=itemgetter(0)))
        return record


def _forget(record: AgentRecord, suggestion_id: str) -> None:
    record.suggestions.pop(suggestion_id, None)
    record.proposed_by.pop(suggestion_id, None)
    record.claimed_by.pop(suggestion_id, None)
    record.claim_terms.pop(suggestion_id, None)
    record.approved_by_person.discard(suggestion_id)


@cache
def _record_type() -> TypeAdapter[AgentRecord]:
    return TypeAdapter(AgentRecord)  # not when this is imported: it takes a while


def _record_as_json(record: AgentRecord) -> dict[str, Any]:
    data = _record_type().dump_python(record, mode="json", exclude=_DERIVED)
    return {**data, "measured": record.measured.as_json()}


def _record_from_json(record_data: dict[str, Any]) -> AgentRecord:
    if isinstance(runs := record_data["ingested_runs"], list):  # of version 1, which kept what brains were told too
        record_data = {**record_data, "ingested_runs": {}, "runs_of_old": runs, "fillers": _fillers(record_data)}
    known = {key: value for key, value in record_data.items() if key not in _DERIVED}
    record = _record_type().validate_python(known, context=CHECKED_BEFORE)
    if "measured" in record_data:
        record.measured.restore(record_data["measured"])
    else:
        record.measured.is_old = bool(record.ingests)
        record.last_told = _last_told(record_data["facts"])
    record.open = {key: suggestion for key, suggestion in record.suggestions.items() if suggestion.state in OPEN}
    # as when the facts are folded: what went before counts as of now
    record.handed_over_at.extend([time.monotonic()] * min(record.handed_over, HANDED_OVER_KEPT))
    return record


def _fillers(record_data: Mapping[str, Any]) -> int:
    return sum(by == "filler" for by in record_data["proposed_by"].values())


def _last_told(facts: Sequence[Sequence[Any]]) -> tuple[int, datetime] | None:
    """Return number and time of the last of some facts: number, kind, time and data each."""
    return (facts[-1][0], datetime.fromisoformat(facts[-1][2])) if facts else None
