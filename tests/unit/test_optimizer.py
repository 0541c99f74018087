"""The adapter's own work: ids, checks of what a brain returns, variables, views."""

import math
import sys
import threading
from enum import StrEnum
from queue import Queue

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, Field

from agent_service import variable
from agent_service.brains import saved_state
from agent_service.brains.adapters.json_values import json_safe
from agent_service.brains.adapters.optimizer import OptimizerAdapter
from agent_service.brains.messages import IngestFact, SuggestFact, VariableFact
from agent_service.errors import Conflict, InvalidInput, NotFound
from agent_service.models import AgentSpec
from agent_service.models.spaces import read_space

SPEC = AgentSpec(name="a", type="t:t", actuators=["x", "y"], outcome="flux")


class Scripted:
    """Returns what it is told to, and remembers what it was asked."""

    def __init__(self, *suggestions):
        self.suggestions, self.ingested, self.failed = list(suggestions), [], []

    def suggest(self, num_points=None):
        return self.suggestions.pop(0)

    def ingest(self, points):
        self.ingested += points

    def register_failures(self, suggestions):
        self.failed += suggestions


def adapter(*suggestions, brain=None, evaluate=None):
    brain = brain or Scripted(*suggestions)
    return OptimizerAdapter(brain, spec=SPEC, evaluate=evaluate), brain


def point(x=1.0, y=2.0, **more):
    return {"x": x, "y": y, **more}


# --- suggest


def test_a_brain_without_ids_is_told_which_of_its_own_points_failed() -> None:
    hosted, brain = adapter([point(1.0), point(2.0), point(3.0), point(4.0)])
    hosted.suggest(["s1", "s2", "s3", "s4"])
    hosted.fail([point(1.0, _id="s1")])
    hosted.retry("again", "s2")
    hosted.fail([point(2.0, _id="s2"), point(2.0, _id="again"), point(9.0, _id="of a person")])
    hosted.edit("s3", point(7.0))
    hosted.fail([point(7.0, _id="s3"), point(1.0, _id="s1")])
    hosted.ingest([point(4.0, flux=1.0, _id="s4")])
    hosted.fail([point(4.0, _id="s4")])
    assert brain.failed == [point(1.0), point(2.0)]


def test_points_may_be_rows_of_a_table() -> None:
    rows = [{"x": 1.0, "y": 2.0, "why": "first"}, {"x": 3.0, "y": math.nan, "why": None}]
    space = {"y": {"type": "float", "optional": True}}
    tables = [pd.DataFrame(rows, index=[7, 9]), [pd.Series(row) for row in rows], np.array(rows, dtype=object)[:1]]
    for table in tables:
        hosted = OptimizerAdapter(Scripted(table), spec=SPEC.model_copy(update={"space": read_space(space)}))
        proposals, _ = hosted.suggest(["s", "t"])
        assert [one.point for one in proposals] == [{"x": 1.0, "y": 2.0}, {"x": 3.0}][: len(proposals)]
        assert proposals[0].extra == {"why": "first"}
    hosted, _ = adapter(pd.DataFrame(rows))
    with pytest.raises(ValueError, match="point 1 of suggest has no finite number for y, but None"):
        hosted.suggest(["s", "t"])


def test_numpy_becomes_plain_and_an_id_keeps_its_type_for_the_brain() -> None:
    hosted, brain = adapter([{"x": np.float32(1), "y": np.int64(2), "_id": np.int64(7)}])
    [proposal], _ = hosted.suggest(["s"])
    assert (proposal.point, proposal.brain_id) == ({"x": 1.0, "y": 2.0}, 7)
    assert type(proposal.brain_id) is int
    hosted.ingest([point(flux=3.0, _id="s")])
    assert type(brain.ingested[0]["_id"]) is np.int64


def test_an_id_that_json_cannot_hold_is_journaled_as_text_and_kept_as_it_is() -> None:
    trial = object()
    hosted, brain = adapter([point(_id=trial)])
    [proposal], _ = hosted.suggest(["s"])
    assert proposal.brain_id == repr(trial)
    hosted.ingest([point(flux=3.0, _id="s")])
    assert brain.ingested[0]["_id"] is trial


def test_an_id_of_none_counts_as_no_id() -> None:
    hosted, brain = adapter([point(_id=None)])
    [proposal], _ = hosted.suggest(["s"])
    hosted.ingest([point(flux=3.0, _id="s")])
    assert proposal.brain_id is None
    assert brain.ingested == [point(flux=3.0)]


def test_fewer_points_than_asked_is_fine_and_none_means_nothing_left() -> None:
    hosted, _ = adapter([point()], [])
    assert [one.id for one in hosted.suggest(["s1", "s2"])[0]] == ["s1"]
    assert hosted.suggest(["s3"])[0] == []


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "returned None"),
        (point(), "list of dictionaries"),
        ([1.0], "item 0"),
        ([point(), point(), point()], "asked for 2 and returned 3"),
        ([{"x": 1.0}], "lacks y"),
        ([{"x": 1.0, "z": 1.0}], "lacks y"),
        ([point(x=math.nan)], "no finite number for x"),
        ([point(x=math.inf)], "no finite number for x"),
        ([point(x="1")], "no finite number for x"),
        ([point(x=True)], "no finite number for x"),
        ([point(x=[1.0])], "no finite number for x"),
        ([point(_id=1), point(x=3.0, _id=1)], "twice"),
    ],
)
def test_a_wrong_suggestion_is_refused(returned, said) -> None:
    hosted, _ = adapter(returned)
    with pytest.raises(ValueError, match=said):
        hosted.suggest(["s1", "s2"])


NO_NUMBERS = [
    True,
    None,
    "3",
    b"3",
    1j,
    np.complex64(1),
    np.datetime64("2026"),
    [1.0],
    {1},
    object(),
    np.zeros(2),
    10**400,
]


@given(st.sampled_from(["x", "y"]), st.integers(0, len(NO_NUMBERS) - 1), st.booleans())
def test_what_is_no_number_is_refused_by_name_and_type(name, which, evaluate) -> None:
    odd = NO_NUMBERS[which]
    hosted, _ = adapter([{**point(), name: odd}], evaluate=lambda run, suggestions: {"flux": odd})
    with pytest.raises(ValueError, match="no finite number for") as caught:
        hosted.evaluate("run", [point(_id="s")]) if evaluate else hosted.suggest(["s"])
    said = str(caught.value)
    assert ("flux" if evaluate else name) in said
    assert ("None" if odd is None else f"of type {type(odd).__name__}") in said
    assert "\n" not in said


def test_ids_of_any_kind_are_told_apart() -> None:
    ids = [np.array([1, 2]), np.array([1, 3]), [1], {"a": 1}, (1, [2]), 1, "1"]
    hosted, brain = adapter([point(_id=one) for one in ids])
    proposals, _ = hosted.suggest([str(i) for i in range(len(ids))])
    assert len(proposals) == len(ids)
    hosted.ingest([point(flux=1.0, _id="1")])
    assert brain.ingested[0]["_id"] is ids[1]
    hosted, _ = adapter([point(_id=np.array([1])), point(_id=np.array([1]))])
    with pytest.raises(ValueError, match="twice"):
        hosted.suggest(["s1", "s2"])


def test_a_brain_that_only_listens_cannot_be_asked() -> None:
    class Listener:
        def ingest(self, points):
            pass

    hosted, _ = adapter(brain=Listener())
    assert hosted.traits().suggests is False
    with pytest.raises(Conflict):
        hosted.suggest(["s"])


# --- ids


def test_an_outcome_goes_to_the_brains_id_once() -> None:
    hosted, brain = adapter([point(_id=5)])
    hosted.suggest(["s"])
    hosted.ingest([point(flux=1.0, _id="s")])
    hosted.ingest([point(flux=2.0, _id="s")])
    assert brain.ingested == [point(flux=1.0, _id=5), point(flux=2.0)]


def test_a_failure_goes_to_the_brains_id() -> None:
    hosted, brain = adapter([point(_id=5), point(3.0)])
    hosted.suggest(["s1", "s2"])
    hosted.fail([point(_id="s1"), point(3.0, _id="s2"), point(_id="unknown")])
    assert brain.failed == [point(_id=5)]


def test_an_edit_without_registration_drops_the_id() -> None:
    hosted, brain = adapter([point(_id=5)])
    hosted.suggest(["s"])
    hosted.edit("s", point(9.0))
    hosted.ingest([point(9.0, flux=1.0, _id="s")])
    assert brain.failed == [{"_id": 5}]
    assert brain.ingested == [point(9.0, flux=1.0)]


def test_an_edit_with_registration_gets_a_new_id() -> None:
    class Registering(Scripted):
        def register_suggestions(self, suggestions):
            return [{**one, "_id": 6} for one in suggestions]

    hosted, brain = adapter(brain=Registering([point(_id=5)]))
    hosted.suggest(["s"])
    hosted.edit("s", point(9.0))
    hosted.ingest([point(9.0, flux=1.0, _id="s")])
    assert brain.failed == [{"_id": 5}]
    assert brain.ingested == [point(9.0, flux=1.0, _id=6)]


@pytest.mark.parametrize(("again", "told"), [(1.0 + 1e-12, {"_id": 8}), (1.1, {})])
def test_what_came_after_a_saved_state_keeps_an_id_only_where_the_brain_agrees(again, told) -> None:
    hosted, _ = adapter()
    before, _ = adapter([point(again, _id=8)])
    hosted.restore(before.dump())
    facts = [SuggestFact(("s",), (point(),), (5,)), IngestFact((point(flux=1.0, _id="s"),))]
    hosted.replay(facts)
    assert hosted._brain.ingested == [{**point(flux=1.0), **told}]


def test_a_brain_that_is_told_everything_is_asked_for_nothing_again() -> None:
    hosted, brain = adapter([point(_id=8)])
    hosted.replay([SuggestFact(("s",), (point(),), (5,)), IngestFact((point(flux=1.0, _id="s"),))])
    assert brain.ingested == [point(flux=1.0)]
    assert brain.suggestions == [[point(_id=8)]]


# --- its state


def test_a_brain_goes_on_from_its_state_with_all_that_it_has_open() -> None:
    before, brain = adapter([point(_id=5)], [point(3.0, _id=6)])
    before.suggest(["s"])
    hosted, _ = adapter()
    hosted.restore(before.dump())
    hosted.ingest([point(flux=1.0, _id="s")])
    assert hosted._brain.ingested == [point(flux=1.0, _id=5)]
    assert brain.ingested == []
    [proposal], _ = hosted.suggest(["t"])
    assert proposal.point == point(3.0)


def test_a_brain_whose_state_does_not_pickle_has_none_and_goes_on(caplog) -> None:
    caplog.set_level("INFO")
    hosted, brain = adapter([point()])
    brain.lock = threading.Lock()
    with brain.lock:
        assert hosted.dump() is None
    assert "its state cannot be saved" in caplog.text
    hosted.suggest(["s"])


def test_a_brain_with_locks_that_nobody_holds_is_saved_with_free_ones() -> None:
    before, brain = adapter([point(_id=5)])
    brain.lock, brain.reentrant, brain.ready, brain.queue = (
        threading.Lock(),
        threading.RLock(),
        threading.Event(),
        Queue(),
    )
    brain.guard = brain.lock
    brain.ready.set()
    brain.queue.put("left")
    hosted, _ = adapter()
    hosted.restore(before.dump())
    again = hosted._brain
    assert again.lock is again.guard is not brain.lock
    with again.lock, again.reentrant, again.reentrant:
        assert not again.guard.acquire(blocking=False)
    assert (again.ready.is_set(), again.queue.get_nowait(), again.queue.empty()) == (True, "left", True)
    with brain.reentrant:
        assert before.dump() is None
    ended = threading.Event()
    brain.thread = threading.Thread(target=ended.wait, daemon=True)
    brain.thread.start()
    try:
        assert before.dump() is None, "its thread would not go on"
    finally:
        ended.set()
        brain.thread.join()


def test_a_state_of_other_code_is_not_loaded_and_changes_nothing(tmp_path, monkeypatch) -> None:
    source = tmp_path / "edited_brain.py"
    source.write_text("class Brain:\n    def suggest(self, n=None): return []\n    def ingest(self, points): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import edited_brain

    payload = adapter(brain=edited_brain.Brain())[0].dump()
    hosted, _ = adapter(brain=edited_brain.Brain())
    hosted.restore(payload)
    source.write_text(source.read_text() + "# another\n")
    saved_state._mark.cache_clear()  # as in another process
    hosted, brain = adapter(brain=edited_brain.Brain())
    with pytest.raises(saved_state.OutOfDate, match="edited_brain has changed since"):
        hosted.restore(payload)
    assert hosted._brain is brain
    other = payload.replace(sys.version.encode().replace(b"\n", b"\\n"), b"2.7", 1)
    with pytest.raises(saved_state.OutOfDate, match=r"saved by Python 2\.7"):
        hosted.restore(other)


# --- the view


def test_best_points_are_asked_for_only_with_data_and_only_when_it_changed() -> None:
    class Counting(Scripted):
        asked = 0

        def get_best_points(self):
            self.asked += 1
            assert self.ingested
            return [(None, {"x": np.float64(1), "y": 2}, {"flux": (np.float64(3), 0.1), "note": "text"})]

    hosted, brain = adapter(brain=Counting([point()], [point()]))
    hosted.suggest(["s1"])
    assert brain.asked == 0
    hosted.ingest([point(flux=3.0)])
    hosted.suggest(["s2"])
    view = hosted.view()
    assert brain.asked == 1
    assert [(one.id, one.point, one.outcome) for one in view.best] == [(None, point(), {"flux": 3.0})]


def test_a_best_point_gets_the_id_that_the_brain_means() -> None:
    class Best(Scripted):
        def get_best_points(self):
            return [(5, point(), {"flux": 1.0})]

    hosted, _ = adapter(brain=Best([point(_id=5), point(_id=6)]))
    hosted.suggest(["s1", "s2"])
    view = hosted.ingest([point(flux=1.0, _id="s1"), point(flux=0.5, _id="s2")])
    assert [one.id for one in view.best] == ["s1"]


def test_should_stop_counts_once_the_brain_was_told_something() -> None:
    class Stopping(Scripted):
        def should_stop(self):
            assert self.ingested, "there is no data yet"
            return True, "converged"

    hosted, _ = adapter(brain=Stopping([point()]))
    assert hosted.suggest(["s"])[1].stop is None
    assert hosted.ingest([point(flux=1.0)]).stop == "converged"


def test_it_checkpoints_after_each_ingest_where_the_brain_has_a_place_for_it() -> None:
    class Checkpointing(Scripted):
        checkpoint_path, saved = "here", 0

        def checkpoint(self):
            self.saved += 1

    hosted, brain = adapter(brain=Checkpointing())
    hosted.ingest([point(flux=1.0)])
    brain.checkpoint_path = None
    hosted.ingest([point(flux=1.0)])
    assert brain.saved == 1


def test_a_report_is_made_fit_for_json() -> None:
    class Reporting(Scripted):
        def report(self):
            return {"a": np.array([1.0, np.nan]), 2: np.float32(0.5), "s": {1}}

    hosted, _ = adapter(brain=Reporting())
    assert hosted.report().report == {"a": [1.0, None], "2": 0.5, "s": [1]}
    assert adapter()[0].report().report is None


class Kind(StrEnum):
    A = "a"


class Model(BaseModel):
    x: float = math.inf


def test_json_safe() -> None:
    assert json_safe({"k": Kind.A, "m": Model(), "n": np.bool_(True), "t": (1, None), "o": 1j}, name="it") == {
        "k": "a",
        "m": {"x": None},
        "n": True,
        "t": [1, None],
        "o": "1j",
    }


# --- variables


class Tunable(Scripted):
    class Config(BaseModel):
        gain: float = Field(default=1.0, ge=0, json_schema_extra={"writable": True})

    def __init__(self, *suggestions):
        super().__init__(*suggestions)
        self.gain, self._xi = 1.0, 0.1

    @variable
    def seen(self):
        return np.int64(len(self.ingested))

    @variable
    def xi(self):
        return self._xi

    @xi.setter
    def xi(self, value):
        if value < 0:
            raise ValueError("xi is below 0")
        self._xi = value


def values(view):
    return {one.name: one.value for one in view.variables}


def test_variables_are_shown_and_set() -> None:
    hosted, brain = adapter(brain=Tunable())
    assert values(hosted.view()) == {"gain": 1.0, "seen": 0, "xi": 0.1}
    assert values(hosted.set_variable("gain", "2.5"))["gain"] == 2.5
    assert values(hosted.set_variable("xi", 3))["xi"] == 3
    assert brain.gain == 2.5


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("nope", 1, NotFound),
        ("ingest", 1, NotFound),
        ("seen", 1, InvalidInput),
        ("gain", -1, InvalidInput),
        ("gain", "much", InvalidInput),
        ("xi", -1, InvalidInput),
        ("xi", "text", InvalidInput),
    ],
)
def test_a_variable_that_cannot_be_set_says_so(name, value, error) -> None:
    hosted, brain = adapter(brain=Tunable())
    with pytest.raises(error) as caught:
        hosted.set_variable(name, value)
    assert type(caught.value) is error
    assert (brain.gain, brain.xi) == (1.0, 0.1)


def test_a_replay_sets_variables_and_passes_over_those_that_are_gone() -> None:
    hosted, _ = adapter(brain=Tunable())
    assert values(hosted.replay([VariableFact("xi", 0.7), VariableFact("gone", 1)]))["xi"] == 0.7


# --- evaluate


SUGGESTIONS = [point(_id="s1"), point(3.0, _id="s2")]


def test_evaluate_gets_copies_and_its_outcomes_are_put_in_order() -> None:
    def function(run, suggestions):
        assert run == "the run"
        for one in suggestions:
            one["flux"] = np.float64(one["x"])
        return suggestions[::-1]

    hosted, _ = adapter(evaluate=function)
    assert hosted.evaluate("the run", SUGGESTIONS) == [{"flux": 1.0}, {"flux": 3.0}]
    assert "flux" not in SUGGESTIONS[0]
    assert hosted.traits().takes == "run"


def test_evaluate_may_return_rows_of_a_table() -> None:
    rows = [{"flux": 1.0, "_id": "t"}, {"flux": 3.0, "_id": "s"}]
    for table in (pd.DataFrame(rows), [pd.Series(row) for row in rows], np.array(rows, dtype=object)):
        hosted, _ = adapter(evaluate=lambda run, suggestions, table=table: table)
        found = hosted.evaluate("run", [point(_id="s"), point(_id="t")])
        assert found == [{"flux": 3.0}, {"flux": 1.0}]
    hosted, _ = adapter(evaluate=lambda run, suggestions: pd.Series({"flux": 1.0, "_id": "s"}))
    assert hosted.evaluate("run", [point(_id="s")]) == [{"flux": 1.0}]
    hosted, _ = adapter(evaluate=lambda run, suggestions: pd.DataFrame([{"flux": math.nan}]))
    with pytest.raises(ValueError, match="no finite number for flux, but None"):
        hosted.evaluate("run", [point(_id="s")])


def test_evaluate_may_return_one_mapping_for_one_suggestion() -> None:
    hosted, _ = adapter(evaluate=lambda uid, suggestions: {"flux": 1})
    assert hosted.evaluate("uid", SUGGESTIONS[:1]) == [{"flux": 1.0}]
    assert hosted.traits().takes == "uid"


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "returned None"),
        ({"flux": 1.0}, "2 suggestion.* 1 outcome"),
        ([{"flux": 1.0}, {}], "no outcome"),
        ([{"flux": 1.0}, {"flux": math.nan}], "no finite number for flux"),
        ([{"flux": 1.0, "_id": "s1"}, {"flux": 1.0, "_id": "s3"}], "none of the suggestions"),
        ([{"flux": 1.0, "_id": "s1"}, {"flux": 1.0, "_id": "s1"}], "none of the suggestions"),
    ],
)
def test_a_wrong_outcome_is_refused(returned, said) -> None:
    hosted, _ = adapter(evaluate=lambda run, suggestions: returned)
    with pytest.raises(ValueError, match=said):
        hosted.evaluate("run", SUGGESTIONS)
