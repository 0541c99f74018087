"""What a brain says of itself: each value arrives as what it is, or is refused in a line that names entry and type."""

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import pathlib
import uuid

import numpy as np
import pandas as pd
import pytest
import xarray
from hypothesis import given, strategies as st
from pydantic import BaseModel

from agent_service.brains.adapters.json_values import MAX_DEPTH, MAX_VALUES, Unfit, json_safe


class Plain(enum.Enum):
    A = "a"
    B = 2


class Shade(enum.StrEnum):
    RED = "red"


@dataclasses.dataclass
class Fit:
    centre: float
    errors: np.ndarray


class Model(BaseModel):
    width: float
    kind: Plain = Plain.B


LOOSE = [
    (np.longdouble("0.5"), 0.5),
    (np.array([0.5, np.nan], dtype=np.longdouble), [0.5, None]),
    (np.float16(0.5), 0.5),
    (np.int8(-3), -3),
    (np.bool_(True), True),
    (np.str_("text"), "text"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array(7), 7),
    (np.array([1, "a", None, [2]], dtype=object), [1, "a", None, [2]]),
    (np.array([(1, 2.5)], dtype=[("n", "i4"), ("v", "f8")]), [{"n": 1, "v": 2.5}]),
    (np.array([(1, 2.5)], dtype=[("n", "i4"), ("v", "f8")])[0], {"n": 1, "v": 2.5}),
    (np.ma.array([1.0, 2.0], mask=[False, True]), [1.0, None]),
    (np.datetime64("2026-11-28T10:00:00", "ns"), "2026-11-28T10:00:00.000000000"),
    (np.array(["2026-11-28", "NaT"], dtype="datetime64[D]"), ["2026-11-28", None]),
    (np.timedelta64(1500, "ms"), 1.5),
    (np.array([1, "NaT"], dtype="timedelta64[s]"), [1.0, None]),
    (pd.Series([1.5, None]), [1.5, None]),
    (pd.Series([1, None], dtype="Int64"), [1, None]),
    (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), {"a": [1, 2], "b": ["x", None]}),
    (pd.Timestamp("2026-11-28"), "2026-11-28T00:00:00"),
    (pd.Timedelta(seconds=2), 2.0),
    (pd.Index([1, 2]), [1, 2]),
    (pd.Categorical(["a", "b"]), ["a", "b"]),
    (pd.NA, None),
    (pd.NaT, None),
    (xarray.DataArray([1.0, 2.0]), [1.0, 2.0]),
    (decimal.Decimal("1.25"), 1.25),
    (decimal.Decimal("NaN"), None),
    (fractions.Fraction(1, 4), 0.25),
    (math.inf, None),
    (2**80, 2**80),
    (Plain.A, "a"),
    (Plain.B, 2),
    (Shade.RED, "red"),
    ({Shade.RED: 1, Plain.B: 2}, {"red": 1, "2": 2}),
    (Fit(1.5, np.array([1, 2])), {"centre": 1.5, "errors": [1, 2]}),
    (Model(width=math.nan), {"width": None, "kind": 2}),
    (pathlib.PurePosixPath("/data/run.h5"), "/data/run.h5"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (dt.datetime(2026, 11, 28, tzinfo=dt.UTC), "2026-11-28T00:00:00+00:00"),
    (dt.date(2026, 11, 28), "2026-11-28"),
    (dt.timedelta(minutes=1), 60.0),
    (range(3), [0, 1, 2]),
    ((1, {2}), [1, [2]]),
    (memoryview(np.array([1.5, 2.5])), [1.5, 2.5]),
    ("\udc80", "\\udc80"),
]


@pytest.mark.parametrize(("value", "expected"), LOOSE, ids=lambda one: f"{type(one).__name__}-{str(one)[:14]}")
@pytest.mark.parametrize("strict", [False, True])
def test_it_arrives(value, expected, strict):
    found = json_safe({"entry": value}, name="report", strict=strict)
    assert json.loads(json.dumps(found, allow_nan=False)) == {"entry": expected}


@pytest.mark.parametrize(
    "value",
    [1 + 2j, np.complex128(1), np.array([1j]), b"bytes", bytearray(b"x"), object(), len, json, Plain, iter([1])],
    ids=lambda one: type(one).__name__,
)
def test_what_has_no_counterpart_is_told_as_python_shows_it_or_refused(value):
    shown = json_safe({"entry": value}, name="report")["entry"]
    assert shown in (repr(value), [repr(complex(0, 1))], repr(complex(1)), repr(np.complex128(1)))
    with pytest.raises(Unfit, match=r"^the result\.entry(\.0)? is a \w+, which JSON cannot hold$"):
        json_safe({"entry": value}, name="the result", strict=True)


def circle():
    one = {}
    one["again"] = {"and": [one]}
    return one


def object_circle():
    one = np.array(None, dtype=object)
    one[()] = one
    return one


def series_circle():
    one = []
    one.append(pd.Series([one]))
    return one


def nested(depth):
    one = []
    for _ in range(depth):
        one = [one]
    return one


def laughs():
    one = ["ha"]
    for _ in range(MAX_DEPTH - 5):
        one = [one, one]
    return one


class Deceptive:
    """Says that it is an array."""

    def tolist(self):
        return Deceptive()


class Broken:
    def tolist(self):
        raise RuntimeError("on another\ndevice")


class Rude:
    def __repr__(self):
        raise RuntimeError("not shown")


class Lazy(dict):
    """Reads what it holds when it is asked for it, and cannot."""

    def items(self):
        raise OSError("the file is closed")


class Same:
    def __str__(self):
        return "1"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (circle(), r"^report\.again\.and\.0 is the dict that it is in"),
        (object_circle(), "holds itself"),
        (series_circle(), "holds itself"),
        (nested(MAX_DEPTH + 1), "nested deeper than 64"),
        (nested(5000), "nested deeper than 64"),
        (laughs(), "report is too large, with more than 1,000,000 values"),
        ({"map": np.zeros((1100, 1100))}, "too large"),
        ({"text": "x" * 40_000_000}, "too large"),
        ({"n": 10**400}, r"^report\.n is a int that is larger"),
        ({"n": np.longdouble("1e4000")}, r"^report\.n is a longdouble that is larger"),
        ({"e": Deceptive()}, "nested deeper"),
        ({"e": Broken()}, r"^report\.e cannot be read: RuntimeError: on another device$"),
        ({"e": Rude()}, r"^report\.e cannot be read: RuntimeError"),
        ({"e": {1: "one", "1": "another"}}, "two entries that JSON would call '1'"),
        ({"e": {Same(): 1, 1: 2}}, "two entries"),
        ({"e": Lazy()}, "the file is closed"),
        ({"k" * 5000: {"a": circle()}}, "holds itself"),
    ],
    ids=range(17),
)
def test_what_cannot_be_told_is_refused_in_one_short_line(value, said):
    with pytest.raises(Unfit, match=said) as caught:
        json_safe(value, name="report")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_same_thing_twice_is_no_circle():
    one = [1.0]
    assert json_safe([one, one, {"a": one}], name="it") == [[1.0], [1.0], {"a": [1.0]}]


def test_as_much_as_there_may_be():
    assert len(json_safe(np.zeros(MAX_VALUES // 2 - 10), name="it")) == MAX_VALUES // 2 - 10
    json_safe(nested(MAX_DEPTH - 1), name="it")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
)


@given(TREES)
def test_what_json_holds_arrives_as_it_is(value):
    assert json_safe(value, name="it") == value
    assert json.loads(json.dumps(json_safe(value, name="it", strict=True))) == value


ODDITIES = [one for one, _ in LOOSE] + [1j, b"x", object(), circle(), nested(200), Broken(), Rude(), 10**400, Lazy()]
ODD = st.integers(0, len(ODDITIES) - 1).map(lambda i: ODDITIES[i])
ODD_TREES = st.recursive(ODD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


@given(ODD_TREES, st.booleans())
def test_whatever_it_is_it_is_json_or_unfit(value, strict):
    try:
        found = json_safe({"entry": value}, name="report", strict=strict)
    except Unfit as error:
        assert str(error).startswith("report")  # noqa: PT017
    else:
        json.dumps(found, allow_nan=False).encode()
