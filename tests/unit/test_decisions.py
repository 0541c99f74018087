"""From facts to rows: the fold behind the agents' runs."""

import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from agent_service.archive.decisions import Fold, Row, RunEnd
from agent_service.models import AgentSpec, Event, EventKind


class Facts:
    """Facts as the journal numbers them, taken in by a fold."""

    def __init__(self, fold=None):
        self.fold = fold or Fold()

    def take(self, kind, agent, **data):
        seq = self.fold.seq + 1
        time = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=seq)
        return self.fold.apply_fact(Event(seq=seq, time=time, agent=agent, kind=kind, data=data))

    def session(self, uid):
        return self.take(EventKind.SERVICE_STATE, None, state="started", session=uid)

    def create(self, name="a", **spec):
        spec = AgentSpec(**{"name": name, "type": "sobol", "actuators": ["x", "y"], "outcome": "flux", **spec})
        return self.take(EventKind.AGENT_STATE, name, state="created", spec=spec.model_dump(mode="json"))


@pytest.fixture
def facts():
    facts = Facts()
    facts.session("s1")
    facts.create()
    return facts


def test_a_suggestion_gives_a_row_for_each_of_its_states(facts):
    (row,) = facts.take(
        EventKind.SUGGESTION_STATE, "a", id="g", state="proposed", point={"x": 1, "y": 2.5}, brain_id=None
    )
    assert isinstance(row, Row)
    assert row.stream == "suggest"
    assert row.values == {
        "suggestion_uid": "g",
        "state": "proposed",
        "reason": "",
        "run_uid": "",
        "extra": "",
        "x": 1.0,
        "y": 2.5,
        "journal_seq": 3,
    }
    assert isinstance(row.values["x"], float)
    (row,) = facts.take(EventKind.SUGGESTION_STATE, "a", id="g", state="running", run_uid="r", reason="why")
    assert (row.values["state"], row.values["run_uid"], row.values["reason"]) == ("running", "r", "why")
    assert math.isnan(row.values["x"])
    assert list(row.values) == list(row.run.columns("suggest"))


def test_an_ingest_gives_a_row_for_each_point(facts):
    points = [{"x": 1.0, "y": 2.0, "flux": 3, "_id": "g"}, {"x": 4.0, "other": "text", "flux": None, "y": True}]
    one, two = facts.take(EventKind.INGEST, "a", points=points, run_uids=["r1", "r2"])
    assert one.values == {
        "suggestion_uid": "g",
        "run_uid": "r1",
        "extra": "",
        "x": 1.0,
        "y": 2.0,
        "flux": 3.0,
        "journal_seq": 3,
    }
    assert (two.values["suggestion_uid"], two.values["run_uid"]) == ("", "r2")
    assert math.isnan(two.values["y"])
    assert math.isnan(two.values["flux"])
    assert json.loads(two.values["extra"]) == {"other": "text", "y": True}
    assert set(one.values) == set(one.run.columns("ingest"))
    (three,) = facts.take(EventKind.INGEST, "a", points=points[:1], run_uids=[])
    assert three.values["run_uid"] == ""


def test_outcomes_of_a_function_are_learned_from_the_first_ingest():
    facts = Facts()
    facts.session("s1")
    facts.create(outcome=None, evaluate="m:f")
    facts.take(EventKind.SUGGESTION_STATE, "a", id="g", state="proposed", point={"x": 1, "y": 1})
    (row,) = facts.take(EventKind.INGEST, "a", points=[{"x": 1, "y": 1, "width": 2.0, "note": "n", "_id": "g"}])
    assert row.values["width"] == 2.0
    (row,) = facts.take(EventKind.INGEST, "a", points=[{"x": 1, "y": 1, "width": 2.0, "late": 5}])
    assert json.loads(row.values["extra"]) == {"late": 5}
    facts.session("s2")
    (row,) = facts.take(EventKind.INGEST, "a", points=[{"x": 1, "y": 1, "late": 5}])
    assert row.run.start_document()["outcome"] == ["width"]


def test_a_report_is_a_row_of_json(facts):
    (row,) = facts.take(EventKind.REPORT, "a", report={"hyper": [1, {"k": None}]})
    assert json.loads(row.values["report"]) == {"hyper": [1, {"k": None}]}
    assert list(row.values) == list(row.run.columns("report"))


def test_a_run_per_agent_and_session_whose_uid_follows_from_the_facts(facts):
    (first,) = facts.take(EventKind.REPORT, "a", report={})
    (again,) = facts.take(EventKind.REPORT, "a", report={})
    assert again.run == first.run
    start = first.run.start_document()
    assert {key: start[key] for key in ("plan_name", "agent_name", "agent_type", "session")} == {
        "plan_name": "agent",
        "agent_name": "a",
        "agent_type": "sobol",
        "session": "s1",
    }
    replay = Facts()
    replay.session("s1")
    replay.create()
    assert replay.take(EventKind.REPORT, "a", report={})[0].run == first.run

    (end,) = facts.take(EventKind.SERVICE_STATE, None, state="stopped", session="s1")
    assert isinstance(end, RunEnd)
    assert (end.run, end.exit_status) == (first.run, "success")
    assert facts.session("s2") == []
    (other,) = facts.take(EventKind.REPORT, "a", report={})
    assert other.run.uid != first.run.uid
    (end,) = facts.session("s3")
    assert (end.run, end.exit_status, end.reason) == (other.run, "abort", "the service was interrupted")


def test_a_namesake_of_a_removed_agent_has_a_run_of_its_own(facts):
    (old,) = facts.take(EventKind.REPORT, "a", report={})
    facts.take(EventKind.AGENT_STATE, "a", removed=True)
    (late,) = facts.take(EventKind.SUGGESTION_STATE, "a", id="g", state="abandoned")
    assert late.run == old.run
    (end,) = facts.create(actuators=["z"])
    assert (end.run.uid, end.exit_status) == (old.run.uid, "success")
    (new,) = facts.take(EventKind.REPORT, "a", report={})
    assert new.run.uid != old.run.uid
    assert new.run.actuators == ["z"]


def test_what_is_no_decision_and_agents_nobody_created_give_nothing(facts):
    assert facts.take(EventKind.QUEUE_STATE, None, state="held") == []
    assert facts.take(EventKind.REPORT, "ghost", report={}) == []
    assert facts.take(EventKind.AGENT_STATE, "a", state="running", reason=None) == []
    assert facts.fold.seq == 5


def test_the_fold_goes_through_its_file_unchanged(facts):
    facts.take(EventKind.REPORT, "a", report={})
    again = Fold.model_validate_json(facts.fold.model_dump_json())
    assert again == facts.fold
    assert Facts(again).take(EventKind.REPORT, "a", report={})[0].run == next(iter(facts.fold.open_runs.values()))


def test_what_no_column_of_numbers_holds_is_in_extra(facts):
    point = {"x": "red", "y": 2**60 + 1, "z": 10**400}
    (row,) = facts.take(EventKind.SUGGESTION_STATE, "a", id="g", state="proposed", point=point)
    assert json.loads(row.values["extra"]) == point
    (row,) = facts.take(EventKind.INGEST, "a", points=[{**point, "flux": [1.0, 2.0]}])
    assert json.loads(row.values["extra"]) == {**point, "flux": [1.0, 2.0]}
    (row,) = facts.take(EventKind.SUGGESTION_STATE, "a", id="g", state="rejected", reason="no\0pe \ud800")
    assert row.values["reason"] == "no\\x00pe \\ud800"  # what a database takes


def test_actuators_of_any_name_have_columns_of_their_own(facts):
    facts.create("b", actuators=["state", "2theta", "x" * 65], outcome="X" * 65)
    (row,) = facts.take(EventKind.INGEST, "b", points=[{"state": 1.0, "2theta": 2.0, "x" * 65: 3.0, "X" * 65: 4.0}])
    columns = row.run.point_columns("ingest")
    assert [row.values[columns[name]] for name in columns] == [1.0, 2.0, 3.0, 4.0]
    assert len({column.lower() for column in row.values}) == len(row.values)
    assert max(map(len, row.values)) <= 60


def test_the_rows_of_a_stream_are_numbered(facts):
    def suggest():
        (row,) = facts.take(EventKind.SUGGESTION_STATE, "a", id="g", state="proposed")
        return row.number

    assert [suggest(), suggest()] == [1, 2]
    rows = facts.take(EventKind.INGEST, "a", points=[{"x": 1}, {"x": 2}])
    assert [row.number for row in rows] == [1, 2]
    (end,) = facts.take(EventKind.SERVICE_STATE, None, state="stopped", session="s1")
    assert end.num_events == {"suggest": 2, "ingest": 2}
    facts.session("s2")
    assert suggest() == 1


def test_a_run_that_0_1_0_began_is_not_numbered(facts):
    """Its rows are counted where they are: in the catalogue."""
    facts.take(EventKind.REPORT, "a", report={})
    kept = facts.fold.model_dump(mode="json")
    del kept["counts"]
    facts.fold = Fold.model_validate(kept)
    (row,) = facts.take(EventKind.REPORT, "a", report={})
    assert row.number is None
    (end,) = facts.take(EventKind.SERVICE_STATE, None, state="stopped", session="s1")
    assert end.num_events is None
