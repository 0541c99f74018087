"""What was measured and proposed for one agent, as rows of a table: the same columns in every format."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.agents.record.remembered import WITHOUT_OUTCOME
from agent_service.agents.record.suggestions import recalled
from agent_service.agents.record.told import ToldFacts
from agent_service.models import ID_KEY, POINT_COLUMNS, EventKind, PointColumn
from agent_service.models.standard_errors import SEM_KEY, sems_of, with_sems
from agent_service.models.state_machines import OPEN, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from agent_service.agents.record.agent import AgentRecord
    from agent_service.journal import JournalLog
    from agent_service.models import AgentSpec, Event, Suggestion

Row = dict[str, Any]

_AT_ONCE: Final = 500


class PointTable:
    """The points of an agent as they were when this was made; made on the event loop, read from any thread.

    A row is a measured point, or a suggestion that was not measured, at the time that settled it; those that are still
    open come last. What is forgotten of old runs, as their uids, is None.
    """

    def __init__(self, record: AgentRecord, journal: JournalLog) -> None:
        self._journal = journal
        self._facts = ToldFacts(record, journal)
        self._until = journal.last_seq
        self._suggestions = dict(record.suggestions)
        self._open = list(record.open.values())
        self._proposed_by = dict(record.proposed_by)
        spec = record.spec
        outcomes = spec.outcomes or record.measured.bests.outcomes
        self.columns = [*POINT_COLUMNS, *_of(spec, "actuator", spec.actuators), *_of(spec, "outcome", outcomes)]
        self._places = {column.of: column.name for column in self.columns if column.of}
        sems = {name: f"{name}{SEM_KEY}" for name in outcomes if name in record.measured.bests.with_sem}
        taken = {column.name for column in self.columns}
        self._sems = {name: column for name, column in sems.items() if column not in taken}
        self.columns += [
            PointColumn(name=column, kind="sem", type="number", of=name) for name, column in self._sems.items()
        ]

    def rows(self, *, after: int = 0) -> Iterator[tuple[int, Row]]:
        """Yield rows, each with the number of the fact that it comes from: those behind fact ``after``."""
        last = after
        facts = self._facts.read(after=after, until=self._until)
        while some := list(islice(facts, _AT_ONCE)):
            known = self._known(some)
            for fact in some:
                last = fact.seq or 0
                if fact.kind is EventKind.INGEST:
                    yield from ((last, row) for row in self._measured(fact, known))
                elif fact.kind is EventKind.SUGGESTION_STATE and (row := self._unmeasured(fact, known)):
                    yield last, row
        yield from ((last, self._open_row(each)) for each in self._open)

    def _open_row(self, suggestion: Suggestion) -> Row:
        by = self._proposed_by.get(suggestion.id)
        return self._row(suggestion, by, suggestion.updated_at, suggestion.point, _outcome_of(suggestion))

    def _known(self, facts: Sequence[Event]) -> Mapping[str, tuple[Suggestion, str]]:
        """Return the suggestions that some facts are about, by id, and by whom each was proposed."""
        ids: set[str] = set()
        for fact in facts:
            if fact.kind is EventKind.INGEST:
                ids.update(str(point[ID_KEY]) for point in _points_of(fact) if point.get(ID_KEY))
            elif fact.kind is EventKind.SUGGESTION_STATE and fact.data["state"] in WITHOUT_OUTCOME:
                ids.add(str(fact.data["id"]))
        here = {key: (self._suggestions[key], self._proposed_by[key]) for key in ids & self._suggestions.keys()}
        return {**recalled(self._journal.of_suggestions(list(ids - here.keys()))), **here}

    def _measured(self, fact: Event, known: Mapping[str, tuple[Suggestion, str]]) -> Iterator[Row]:
        points = _points_of(fact)
        uids = cast("list[str]", fact.data.get("run_uids") or [])
        for i, point in enumerate(points):
            suggestion, by = known.get(str(point.get(ID_KEY)), (None, None))
            row = self._row(suggestion, by, fact.time, point, point)
            row["suggestion"] = point.get(ID_KEY)
            row["fate"] = str(SuggestionState.INGESTED)
            row["run_uid"] = row["run_uid"] or (uids[i] if len(uids) == len(points) else next(iter(uids), None))
            row["by"] = row["by"] or fact.data.get("by") or ("run" if uids else None)
            yield row

    def _unmeasured(self, fact: Event, known: Mapping[str, tuple[Suggestion, str]]) -> Row | None:
        suggestion, by = known.get(str(fact.data["id"]), (None, None))
        if suggestion is None or suggestion.state in OPEN or suggestion.state is SuggestionState.INGESTED:
            return None
        if fact.data["state"] != suggestion.state:
            return None
        return self._row(suggestion, by, fact.time, suggestion.point, _outcome_of(suggestion))

    def _row(
        self,
        suggestion: Suggestion | None,
        by: str | None,
        time: datetime,
        point: Mapping[str, Any],
        outcome: Mapping[str, Any],
    ) -> Row:
        row: Row = dict.fromkeys((column.name for column in self.columns), None)
        row["time"] = time
        if suggestion is not None:
            row |= {"run_uid": suggestion.run_uid, "suggestion": suggestion.id, "fate": str(suggestion.state)}
            row |= {"by": by, "approved_by": suggestion.approved_by}
            row["reason"] = suggestion.reason
        for name, sem in sems_of(outcome).items():
            if name in self._sems:
                row[self._sems[name]] = sem
        for name, value in {**outcome, **point}.items():
            if (column := self._places.get(name)) is not None:
                row[column] = value
        return row


def _points_of(fact: Event) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", fact.data["points"])


def _outcome_of(suggestion: Suggestion) -> Mapping[str, Any]:
    return with_sems(suggestion.outcome or {}, suggestion.sem)


def _of(spec: AgentSpec, kind: str, names: list[str]) -> list[PointColumn]:
    """Return the columns of actuators or outcomes; one whose name another column has is told apart by its kind."""
    taken = {column.name for column in POINT_COLUMNS}
    return [
        PointColumn.model_validate(
            {
                "name": f"{kind}.{name}" if name in taken or (kind == "outcome" and name in spec.actuators) else name,
                "of": name,
                "kind": kind,
                "type": _type(spec, name) if kind == "actuator" else "number",
            }
        )
        for name in names
    ]


def _type(spec: AgentSpec, name: str) -> str:
    dimension = spec.space.get(name)
    if dimension is None or dimension.type == "float":
        return "number"
    if dimension.type != "choice":
        return {"text": "text", "bool": "truth", "int": "whole"}[dimension.type]
    kinds = {type(value) for value in dimension.values}
    return "text" if str in kinds else "truth" if kinds == {bool} else "whole" if kinds == {int} else "number"
