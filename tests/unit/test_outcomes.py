import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent_service.errors import InvalidInput, InvalidPoint
from agent_service.outcomes import actuators_of, by_field, load_function, takes
from agent_service.runs import Run


def run_of(*events: dict[str, Any]) -> Run:
    keys = dict.fromkeys(key for event in events for key in event)
    descriptor = {"uid": "d", "run_start": "r1", "name": "primary", "data_keys": {key: {} for key in keys}}
    numbered = [("event", {"descriptor": "d", "seq_num": n, "data": data}) for n, data in enumerate(events, 1)]
    return Run((("start", {"uid": "r1"}), ("descriptor", descriptor), *numbered, ("stop", {"run_start": "r1"})))


def test_the_mean_over_events() -> None:
    run = run_of({"flux": 1, "x": 0.1}, {"flux": 4, "x": 0.3})
    assert by_field(run, ["flux"]) == {"flux": 2.5}
    assert actuators_of(run, ["x"]) == {"x": pytest.approx(0.2)}


def test_the_mean_over_an_array() -> None:
    run = run_of({"image": np.full((2, 2), 3, dtype="uint8")}, {"image": np.full((2, 2), 5, dtype="uint8")})
    assert by_field(run, ["image"]) == {"image": 4.0}
    assert type(by_field(run, ["image"])["image"]) is float


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
