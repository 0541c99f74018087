"""What counts as a real number: any costume of one, and nothing else."""

import enum
import json
import math
import warnings
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pint
import pytest
import xarray
from hypothesis import given, strategies as st
from pydantic import BaseModel, ValidationError

from agent_service.models import Number, Point
from agent_service.models.real_numbers import as_before, at_home, real


class Slot(enum.IntEnum):
    THIRD = 3


class Indexed:
    def __index__(self):
        return 3


class Floating:
    def __float__(self):
        return 2.5


class Broken:
    shape = ()

    def item(self):
        raise RuntimeError("no value on this device")


holds_itself = np.array(None, dtype=object)
holds_itself[()] = holds_itself
units = pint.UnitRegistry()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Slot.THIRD, 3),
        (Indexed(), 3),
        (Floating(), 2.5),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.array([3], dtype=">i4"), 3),
        (np.array([3], dtype=object), 3),
        (np.longdouble(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.ma.array([0.5], mask=[False]), 0.5),
        (np.ma.array(2.5), 2.5),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
        (pd.Series([3]), 3),
        (pd.Series([3], dtype="Int64"), 3),
        (pd.DataFrame([[2.5]]), 2.5),
        (xarray.DataArray([3]), 3),
        (units.Quantity(2.5, ""), 2.5),
    ],
)
def test_a_number_in_any_costume(value, expected) -> None:
    found = real(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        np.True_,
        np.array([True]),
        "3",
        np.str_("3"),
        np.array(["3"]),
        b"3",
        np.bytes_(b"3"),
        memoryview(b"3"),
        1j,
        np.complex128(1),
        np.array([1 + 0j]),
        math.nan,
        -math.inf,
        np.float32("nan"),
        np.longdouble("1e400"),
        10**400,
        Decimal("sNaN"),
        Decimal("Infinity"),
        np.datetime64("2026-01-01", "ns"),
        np.timedelta64(3, "ns"),
        timedelta(seconds=3),
        pd.NA,
        pd.NaT,
        pd.Series([pd.NA], dtype="Int64"),
        np.ma.masked,
        np.ma.array([1], mask=[True]),
        np.array([]),
        np.array([1.0, 2.0]),
        np.zeros((1, 0)),
        np.array([(1, 2.0)], dtype="i4,f8"),
        holds_itself,
        [1.0],
        (1,),
        {1},
        object(),
        Broken(),
        units.Quantity(3, "mm"),
        units.Quantity(np.float64(3), "mm"),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:12]}",
)
def test_what_is_no_number(value) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert real(value) is None


WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = WHOLE | st.floats(allow_nan=False, allow_infinity=False)


@given(st.integers(-128, 127), st.sampled_from("bhilBHIL"), st.sampled_from([(), (1,), (1, 1), (1, 1, 1)]))
def test_whole_numbers_of_numpy_stay_whole(number, kind, shape) -> None:
    number = abs(number) if kind.isupper() else number
    found = real(np.full(shape, number, dtype=kind))
    assert (found, type(found)) == (number, int)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([(), (1,), (1, 1)]))
def test_floats_of_numpy_are_what_they_were(number, shape) -> None:
    for found in (real(np.full(shape, number)), real(np.full(shape, number, dtype=np.longdouble)), real(number)):
        assert (found, type(found)) == (number, float)


# --- on the wire


class Wire(BaseModel):
    point: Point
    told: dict[str, str | Number] = {}


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), NUMBERS))
def test_a_point_survives_any_number_of_trips_through_json(point) -> None:
    for _ in range(2):
        sent = Wire(point=point, told={**point, "_id": "s"})
        read = Wire.model_validate_json(sent.model_dump_json())
        again = Wire.model_validate(json.loads(json.dumps(read.model_dump(mode="json"))))
        for one in (read, again):
            assert one.point == point
            assert list(map(type, one.point.values())) == list(map(type, point.values()))
            assert {key: type(value) for key, value in one.told.items() if key != "_id"} == {
                key: type(value) for key, value in point.items() if key != "_id"
            }


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "\ud800", [1], 10**400])
def test_a_point_has_values(value) -> None:
    with pytest.raises(ValidationError):
        Wire(point={"x": value})


def test_the_schema_says_what_a_value_may_be() -> None:
    assert Wire.model_json_schema()["properties"]["point"]["additionalProperties"] == {
        "anyOf": [{"type": "boolean"}, {"type": "integer"}, {"type": "number"}, {"type": "string"}]
    }


# --- sent again


@pytest.mark.parametrize(
    ("value", "before", "expected"),
    [(3, 2.5, 3.0), (3.0, 2, 3), (3.5, 2, 3.5), (3, 2, 3), (3.0, None, 3.0), (3, None, 3)],
)
def test_what_is_sent_again_is_what_it_was(value, before, expected) -> None:
    found = as_before(value, before)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(("value", "expected"), [(3, 3), (2.5, 2.5), (2**63 - 1, 2**63 - 1), (2**70, 2.0**70)])
def test_what_64_bits_hold_stays_whole(value, expected) -> None:
    found = at_home(value)
    assert (found, type(found)) == (expected, type(expected))
    assert at_home(2**70 + 1) is None
