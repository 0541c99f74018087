import math
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent_service.brains.evaluate import load_function, takes
from agent_service.documents.outcomes import actuators_of, by_field, check_names, places
from agent_service.documents.runs import Run
from agent_service.errors import InvalidInput, InvalidPoint
from agent_service.models import AgentSpec


def run_of(*events: dict[str, Any]) -> Run:
    keys = dict.fromkeys(key for event in events for key in event)
    descriptor = {"uid": "d", "run_start": "r1", "name": "primary", "data_keys": {key: {} for key in keys}}
    numbered = [("event", {"descriptor": "d", "seq_num": n, "data": data}) for n, data in enumerate(events, 1)]
    return Run((("start", {"uid": "r1"}), ("descriptor", descriptor), *numbered, ("stop", {"run_start": "r1"})))


def test_the_mean_over_events() -> None:
    run = run_of({"flux": 1, "x": 0.1}, {"flux": 4, "x": 0.3})
    assert by_field(run, ["flux"]) == {"flux": 2.5}
    assert actuators_of(run, ["x"]) == {"x": pytest.approx(0.2)}


@pytest.mark.parametrize("motors", [["x"], ("y", "x"), ["y"], None, "x"])
def test_a_scan_is_a_point_for_each_place_and_never_one_between_them(motors: Any) -> None:
    run = run_of({"flux": 1, "x": 0.0, "y": 5.1}, {"flux": 4, "x": 9.0, "y": 5.2}, {"flux": 6, "x": 9.0, "y": 5.3})
    run = Run((("start", {**run.start, "motors": motors}), *run.documents[1:]))
    parts = places(run, ["x"])
    measured = [(actuators_of(part, ["x"])["x"], by_field(part, ["flux"])["flux"]) for part in parts]
    scanned = isinstance(motors, list | tuple) and "x" in motors
    assert measured == ([(0.0, 1.0), (9.0, 5.0)] if scanned else [(6.0, pytest.approx(11 / 3))])
    assert all(part.complete and part.uid == "r1" for part in parts)


@pytest.mark.parametrize(
    ("hints", "driven"),
    [
        ({"dimensions": [(["x"], "primary")]}, False),
        ({"dimensions": [[["y", "x"], "primary"]]}, False),
        ({"dimensions": [(["time"], "primary")]}, True),
        ({"dimensions": [None, 3, []]}, True),
        (None, True),
        ({"dimensions": [(["time"], "primary")]}, False),
        ("x", False),
    ],
)
def test_a_scan_that_names_no_motors_is_one_by_its_hints_or_its_setpoints(hints: Any, driven: bool) -> None:
    """Such as a plan of `bps.mv` and `bps.trigger_and_read`."""
    wheres = [{"x": 0.01, "x_setpoint": 0.0}, {"x": 9.02, "x_setpoint": 9.0}]
    run = run_of(*({"flux": 1, "x": one["x"], **(one if driven else {})} for one in wheres))
    parts = places(Run((("start", {**run.start, "hints": hints}), *run.documents[1:])), ["x"])
    scanned = driven or ("x" in str(hints) and isinstance(hints, dict))
    assert [actuators_of(part, ["x"])["x"] for part in parts] == ([0.01, 9.02] if scanned else [pytest.approx(4.515)])


def test_a_setpoint_that_stays_is_no_scan() -> None:
    run = run_of(*({"flux": n, "x": 2 + n / 1000, "x_user_setpoint": 2.0} for n in range(4)))
    assert places(run, ["x"]) == [run]


def test_a_scan_of_very_many_places_is_refused() -> None:
    run = run_of(*({"flux": 1, "x": n} for n in range(1001)))
    with pytest.raises(InvalidPoint, match="over 1001 places, more than 1000"):
        places(Run((("start", {"uid": "r1", "motors": ["x"]}), *run.documents[1:])), ["x"])


def test_the_mean_over_an_array() -> None:
    run = run_of({"image": np.full((2, 2), 3, dtype="uint8")}, {"image": np.full((2, 2), 5, dtype="uint8")})
    assert by_field(run, ["image"]) == {"image": 4.0}
    assert type(by_field(run, ["image"])["image"]) is float


COSTUMES = {
    "int": 3,
    "float": 3.0,
    "float32": np.float32(3),
    "longdouble": np.longdouble(3),
    "int8": np.int8(3),
    "uint64": np.uint64(3),
    "0-d": np.array(3),
    "shape (1,)": np.array([3.0]),
    "shape (1, 1)": np.array([[3]]),
    "list of one": [3],
    "decimal": Decimal(3),
    "fraction": Fraction(3),
    "object": np.array([Decimal(3)], dtype=object),
}


@pytest.mark.parametrize("others", [[], [3.0], [np.array([3.0])]], ids=["alone", "with numbers", "with arrays"])
@pytest.mark.parametrize("costume", COSTUMES)
def test_a_number_in_any_costume(costume: str, others: list[Any]) -> None:
    run = run_of(*({"flux": value, "x": value} for value in [COSTUMES[costume], *others]))
    assert by_field(run, ["flux"]) == {"flux": 3.0}
    assert actuators_of(run, ["x"]) == {"x": 3.0}


def test_whole_and_large_numbers_and_truth_values() -> None:
    assert by_field(run_of({"n": 2**70}, {"n": 2**70}), ["n"]) == {"n": float(2**70)}
    assert by_field(run_of({"n": np.uint8(255)}, {"n": np.uint8(255)}), ["n"]) == {"n": 255.0}
    assert by_field(run_of({"n": True}, {"n": False}), ["n"]) == {"n": 0.5}
    with pytest.raises(InvalidPoint, match="is inf, not a finite number"):
        by_field(run_of({"n": np.longdouble(10) ** 1000}), ["n"])


@pytest.mark.parametrize("filled", [{"image": False}, {}], ids=["not filled", "not said"])
def test_a_field_in_a_file_is_no_number(filled: dict[str, bool]) -> None:
    keys = {"image": {"external": "FILESTORE:"}}
    descriptor = {"uid": "d", "run_start": "r1", "name": "primary", "data_keys": keys}
    event = {"descriptor": "d", "seq_num": 1, "data": {"image": 7.0}, "filled": filled}
    run = Run((("start", {"uid": "r1"}), ("descriptor", descriptor), ("event", event)))
    with pytest.raises(
        InvalidPoint, match="is not in its documents but in a file; give the agent an evaluate function"
    ):
        by_field(run, ["image"])
    loaded = {**event, "filled": {"image": "a-datum-id"}}
    assert by_field(Run((*run.documents[:2], ("event", loaded))), ["image"]) == {"image": 7.0}
    streamed = Run(run.documents[:2])  # its data are in stream_datum documents, and no event has it
    with pytest.raises(InvalidPoint, match="in a file"):
        by_field(streamed, ["image"])


def test_several_descriptors_of_a_stream() -> None:
    """A device is configured in the middle: another descriptor, the numbers go on; then a pause repeats one event."""
    two = [
        ("descriptor", {"uid": uid, "run_start": "r1", "name": "primary", "data_keys": {"flux": {}}}) for uid in "de"
    ]
    events = [
        ("event", {"descriptor": uid, "seq_num": number, "data": {"flux": value}})
        for uid, number, value in [("d", 1, 1.0), ("d", 2, 9.0), ("e", 2, 2.0), ("e", 3, 3.0)]
    ]
    assert by_field(Run((("start", {"uid": "r1"}), *two, *events)), ["flux"]) == {"flux": 2.0}


@pytest.mark.parametrize("numbers", [[1, 2], (1, 2), np.array([1, 2])], ids=["list", "tuple", "array"])
def test_pages_of_events(numbers: Any) -> None:
    page = {"descriptor": "d", "uid": ["a", "b"], "time": [0.0, 1.0], "seq_num": numbers}
    page |= {"data": {"flux": np.array([1.0, 3.0])}, "timestamps": {"flux": [0.0, 1.0]}, "filled": {}}
    descriptor = {"uid": "d", "run_start": "r1", "name": "primary", "data_keys": {"flux": {}}}
    run = Run((("start", {"uid": "r1"}), ("descriptor", descriptor), ("event_page", page)))
    assert by_field(run, ["flux"]) == {"flux": 2.0}
    assert [(one["uid"], one["time"]) for one in run.events()] == [("a", 0.0), ("b", 1.0)]


def test_an_outcome_may_not_have_an_actuators_name() -> None:
    check_names(AgentSpec(name="a", type="sobol", actuators=["x"], outcome=["flux"]))
    with pytest.raises(InvalidInput) as error:
        check_names(AgentSpec(name="a", type="sobol", actuators=["x"], outcome=["flux", "x"]))
    assert (
        error.value.detail
        == "outcome 'x' is an actuator of this agent, so it cannot be an outcome too; name another field"
    )
    assert [one.field for one in error.value.errors] == ["outcome"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "'flux' of run r1 is nan, not a finite number"),
        (math.inf, "is inf, not a finite number"),
        ([], "is empty, so it has no mean"),
        ("a-datum-id", "is no number but text"),
        (None, "is no number but object"),
        (1 + 2j, "is no number but complex128"),
    ],
)
def test_no_outcome(value: Any, says: str) -> None:
    with pytest.raises(InvalidPoint) as error:
        by_field(run_of({"flux": value}), ["flux"])
    assert says in error.value.detail


def test_an_absent_field_says_what_there_is() -> None:
    with pytest.raises(InvalidPoint) as error:
        by_field(run_of({"x": 1.0, "y": 2.0}), ["flux"])
    assert error.value.detail == "no event of stream 'primary' of run r1 has a field 'flux'; it has: x, y"
    with pytest.raises(InvalidPoint, match="it has: nothing"):
        by_field(Run((("start", {"uid": "r1"}),)), ["flux"])


def test_a_field_that_changes_its_shape() -> None:
    with pytest.raises(InvalidPoint, match="changes its shape"):
        by_field(run_of({"flux": [1.0]}, {"flux": [1.0, 2.0]}), ["flux"])


def test_load_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "an_analysis.py").write_text(
        "class Peak:\n    @staticmethod\n    def area(run, suggestions): ...\nk = 1\n"
    )
    (tmp_path / "a_broken_analysis.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_function("an_analysis:Peak.area").__name__ == "area"
    for reference, says in {
        "an_analysis": "write it as module:function",
        "an_analysis:": "write it as module:function",
        "an_analysis:nothing": "has no 'nothing'",
        "an_analysis:k": "is of type int, not a function",
        "no_such_module:f": "raised ModuleNotFoundError",
        "a_broken_analysis:f": "raised ZeroDivisionError: division by zero",
    }.items():
        with pytest.raises(InvalidInput) as error:
            load_function(reference)
        assert says in error.value.detail
        assert [one.field for one in error.value.errors] == ["evaluate"]
    for name in ("an_analysis", "a_broken_analysis"):
        sys.modules.pop(name, None)


def test_what_a_function_takes() -> None:
    assert takes(lambda uid, suggestions: None) == "uid"
    assert takes(lambda uids, suggestions: None) == "uids"
    assert takes(lambda runs, suggestions: None) == "runs"
    assert takes(lambda run, suggestions: None) == "run"
    assert takes(lambda whatever, suggestions: None) == "run"
    assert takes(lambda: None) == "run"
    assert takes(max) == "run"


@pytest.mark.parametrize(("field", "name"), [("outcome", "_id"), ("actuators", ["x", "_id"])])
def test_nothing_is_called_as_what_says_whose_point_it_is(field, name):
    about = {"name": "a", "type": "sobol", "actuators": ["x"], "outcome": "signal", field: name}
    with pytest.raises(InvalidInput, match="'_id' is where a point says which suggestion it is of") as caught:
        check_names(AgentSpec(**about))
    assert [one.field for one in caught.value.errors] == [field]
