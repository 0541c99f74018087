"""Spaces and points as anybody may draw them: through JSON, journal, snapshot, catalogue and CSV, and back."""

import asyncio
import csv
import io
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, assume, example, given, settings, strategies as st

from agent_service.agents import sent_points
from agent_service.agents.record.remembered import is_told
from agent_service.agents.record.replay import facts_of
from agent_service.agents.record.service import ServiceRecord
from agent_service.archive.decisions import Fold, Row
from agent_service.brains.messages import IngestFact, SuggestFact
from agent_service.journal import JournalLog, SqliteStore
from agent_service.models import AgentSpec, EventKind, IngestRequest, Suggestion
from agent_service.models.spaces import fitted, read_space
from agent_service.models.standard_errors import as_written, with_sems
from agent_service.models.values import same

WHOLE = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
ODD_TEXTS = ["", "1", "1.0", "nan", "true", "null", "-0", " Al ", 'a "quoted" one', "ü, µ\n", "=1+1"]
VALUES = st.one_of(st.booleans(), WHOLE, FLOATS, TEXTS, st.sampled_from(ODD_TEXTS))
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20).filter(
    lambda name: name != "_id"
)


NOW = datetime.now(UTC)
OUTCOME = {"the outcome": 1.5, "other": -2.0}
GOALS = {"objectives": {"the outcome": "maximize"}, "outcome_constraints": {"other": {"max": 0}}}
SEMS = st.dictionaries(st.sampled_from(list(OUTCOME)), st.floats(0, 1e300))


def start_goals(start):
    assert start["objectives"]["the outcome"]["direction"] == "maximize"
    return {field: start[field] for field in ("objectives", "outcome_constraints")}


def _different(values):
    return [one for i, one in enumerate(values) if not any(same(one, other) for other in values[:i])]


@st.composite
def dimensions(draw):
    """A dimension as a specification has it, and one of its values."""
    kind = draw(st.sampled_from(["float", "int", "bool", "text", "choice"]))
    if kind == "choice":
        of = draw(st.sampled_from([VALUES, WHOLE, TEXTS, FLOATS]))
        values = _different(draw(st.lists(of, min_size=1, max_size=4)))
        return {"type": "choice", "values": values}, draw(st.sampled_from(values))
    value = draw({"float": FLOATS, "int": WHOLE, "bool": st.booleans(), "text": VALUES.map(str)}[kind])
    return {"type": kind}, value


@st.composite
def cases(draw):
    """A space, and a point of it; some actuators are optional, and some of these are absent."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    space, point = {}, {}
    for name in names:
        space[name], value = draw(dimensions())
        if draw(st.booleans()):
            space[name]["optional"] = True
            if draw(st.booleans()):
                continue
        point[name] = value
    return space, point


def exact(point):
    return {name: (type(value), repr(value)) for name, value in point.items()}


def fits(raw, space):
    point, wrong = fitted(raw, list(space), read_space(space), measured=True)
    assert not wrong
    return exact(point)


MIXED = {"m": {"type": "choice", "values": ["1", 1, True, 0.5]}, "big": {"type": "int"}, "zero": {"type": "float"}}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cases(), SEMS)
@example((MIXED, {"m": "1", "big": 2**53 + 1, "zero": -0.0}), {})
@example((MIXED, {"m": 1, "big": -(2**63), "zero": 1e-12}), {"the outcome": 0.0})
@example((MIXED, {"m": True, "big": 2**63 - 1, "zero": 5e-324}), {"other": 5e-324})
@example(
    (
        {"two words": {"type": "choice", "values": ["only"]}, "it's": {"type": "text"}},
        {"two words": "only", "it's": ""},
    ),
    {},
)
def test_a_point_comes_back_as_it_was(case, sems):
    space, point = case
    assume(not {"the outcome", "other", "the outcome_sem", "other_sem"} & set(space))
    spec = AgentSpec.model_validate({"name": "a", "type": "t", "actuators": list(space), "space": space, **GOALS})
    assert AgentSpec.model_validate_json(spec.model_dump_json()) == spec
    given_point, wrong = fitted(point, spec.actuators, spec.space)
    assert not wrong
    assert exact(given_point) == exact(point)
    now = datetime.now(UTC)
    about = {"outcome": OUTCOME, "sem": sems, "created_at": now, "updated_at": now}
    wire = Suggestion(id="s", agent="a", state="measured", point=point, **about)
    back = Suggestion.model_validate_json(wire.model_dump_json())
    assert (exact(back.point), back.outcome, back.sem) == (exact(point), OUTCOME, sems)
    events = asyncio.run(journaled(spec, point, sems))
    told(events, point, sems)
    in_the_catalogue(events, space, point, sems)


async def journaled(spec, point, sems):
    """Write what a service would into a journal on a disk, and return its facts as they are read back."""
    with tempfile.TemporaryDirectory() as folder:
        journal = JournalLog(SqliteStore(Path(folder) / "journal.sqlite"))
        journal.open()
        try:
            created = {"state": "created", "reason": None, "spec": spec.model_dump(mode="json")}
            proposed = {"id": "s", "state": "proposed", "point": point, "by": "loop", "plan": "acquire"}
            written = as_written(
                with_sems({**point, "_id": "s", **OUTCOME}, sems)
            )  # as a client sends it, and the service checks it
            born = Suggestion(id="s", agent="a", state="running", point=point, created_at=NOW, updated_at=NOW)
            [complete] = sent_points.complete(
                IngestRequest.model_validate_json(json.dumps({"points": [written]})).points, spec, {"s": born}
            )
            ingested = {"points": [complete], "run_uids": [], "best": []}
            await journal.append(EventKind.SERVICE_STATE, None, {"state": "started", "session": "s1"})
            await journal.append(EventKind.AGENT_STATE, "a", created)
            await journal.append(EventKind.SUGGESTION_STATE, "a", proposed)
            await journal.append(EventKind.INGEST, "a", ingested)
            return journal.read()
        finally:
            await journal.close()


def told(events, point, sems):
    """Look at what a brain is told again: of the journal, and of a snapshot of it."""
    record = ServiceRecord()
    for event in events:
        record.apply(event)
    again = ServiceRecord.from_json(json.loads(json.dumps(record.as_json())))
    for one in (record.agents["a"], again.agents["a"]):
        suggested, ingested = facts_of([event for event in events if event.agent == "a" and is_told(event)])
        assert isinstance(suggested, SuggestFact)
        assert isinstance(ingested, IngestFact)
        assert exact(suggested.points[0]) == exact(one.suggestions["s"].point) == exact(point)
        assert exact({name: ingested.points[0][name] for name in point}) == exact(point)
        assert exact(one.best_measured.point.point) == exact(point)
        assert one.best_measured.point.sem == sems
        assert ingested.points[0].get("_sem", {}) == sems


def in_the_catalogue(events, space, point, sems):
    """Read the rows of the agent's run, as they are and out of a CSV file, by the space in its start document."""
    fold = Fold()
    rows = [row for event in events for row in fold.apply_fact(event) if isinstance(row, Row)]
    assert [row.stream for row in rows] == ["suggest", "ingest"]
    for row in rows:
        start = json.loads(json.dumps(row.run.start_document()))
        assert list(start["space"]) == list(space)
        assert AgentSpec.model_validate({"name": "a", "type": "t", "actuators": list(space), **start_goals(start)})
        columns, kinds = row.run.point_columns(row.stream), row.run.columns(row.stream)
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, list(row.values))
        writer.writeheader()
        writer.writerow(row.values)
        file.seek(0)
        [cells] = csv.DictReader(file)
        read = {"number": float, "integer": lambda text: int(text) if text else None, "string": str}
        from_csv = {column: read[kinds[column][0]](cells[column]) for column in columns.values()}
        for values in (row.values, {**row.values, **from_csv, "extra": cells["extra"]}):
            back = {name: values[column] for name, column in columns.items() if name in space}
            back = {name: value for name, value in back.items() if value not in (None, "") and value == value}  # noqa: PLR0124
            back |= {name: value for name, value in json.loads(values["extra"] or "{}").items() if name in space}
            assert fits(back, start["space"]) == exact(point)
            if row.stream == "ingest":
                assert {name: values[columns[name]] for name in OUTCOME} == OUTCOME
                assert {name: values[columns[f"{name}_sem"]] for name in row.run.sems} == sems
