"""What an actuator may have: values checked and made what they have to be, or refused in a message that says why."""

import enum
import math

import numpy as np
import pytest
from pydantic import ValidationError

from agent_service.models import AgentSpec
from agent_service.models.spaces import Choice, FloatRange, fitted, read_space
from agent_service.models.values import plain, same

SPACE = {
    "x": [-3, 3],
    "tiny": [0, 1e-12],
    "turns": {"type": "int", "low": 0, "high": 8},
    "id": {"type": "int"},
    "filt": {"type": "choice", "values": ["Al", "Ti", "1", "true", ""]},
    "level": {"type": "choice", "values": [1, 2.5, 4], "ordered": True},
    "odd": {"type": "choice", "values": ["1", 1, True, 0.5]},
    "lamp": {"type": "bool"},
    "note": {"type": "text"},
    "free": {"low": 0},
}


class Filter(enum.StrEnum):
    AL = "Al"


def fit(name, value, *, measured=False):
    point, wrong = fitted({name: value}, [name], read_space(SPACE), measured=measured)
    return wrong.get(name, point.get(name))


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("x", 1, 1.0),
        ("x", np.float32(0.5), 0.5),
        ("x", 3.000000000000001, 3.0),
        ("x", -0.0, -0.0),
        ("tiny", 1e-12, 1e-12),
        ("tiny", 3e-13, 3e-13),
        ("turns", 3.0, 3),
        ("turns", np.int8(3), 3),
        ("turns", np.array([8]), 8),
        ("id", 2**63 - 1, 2**63 - 1),
        ("id", -(2**63), -(2**63)),
        ("filt", "Al", "Al"),
        ("filt", np.str_("Ti"), "Ti"),
        ("filt", Filter.AL, "Al"),
        ("filt", "", ""),
        ("level", 1.0, 1),
        ("level", 2.5, 2.5),
        ("level", 2.5 * (1 + 1e-12), 2.5),
        ("odd", 0.5 + 3e-8, 0.5),
        ("turns", np.float32(2.9999998), 3),
        ("turns", 0.1 * 3 * 10, 3),
        ("odd", "1", "1"),
        ("odd", 1, 1),
        ("odd", True, True),
        ("lamp", np.bool_(True), True),
        ("lamp", False, False),
        ("note", "nan", "nan"),
        ("note", 'ü "x" \'', 'ü "x" \''),
        ("free", 1e300, 1e300),
    ],
)
def test_what_fits_becomes_what_it_is_to_be(name, value, kept) -> None:
    result = fit(name, value)
    assert (type(result), result) == (type(kept), kept)
    assert not isinstance(kept, float) or math.copysign(1, result) == math.copysign(1, kept)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("x", "5", "is '5', not a number"),
        ("x", True, "is true, not a number"),
        ("x", math.nan, "is nan, not a finite number"),
        ("x", math.inf, "is inf, not a finite number"),
        ("x", None, "is None, not a finite number"),
        ("x", 3.1, "is 3.1, above 3.0"),
        ("x", -4, "is -4.0, below -3.0"),
        ("x", [1.0, 2.0], "is something of type list"),
        ("x", 1 + 2j, "is something of type complex"),
        ("tiny", 2e-12, "is 2e-12, above 1e-12"),
        ("free", 2**53 + 1, "no float holds exactly"),
        ("turns", 3.5, "is 3.5, not a whole number"),
        ("turns", 3.00001, "is 3.00001, not a whole number"),
        ("id", 1e9 + 0.5, "is 1000000000.5, not a whole number"),
        ("turns", 9, "is 9, above 8"),
        ("turns", "3", "is '3', not a number"),
        ("turns", True, "is true, not a number"),
        ("id", 2.0**63, "beyond 64 bits"),
        ("filt", "al", "is 'al', none of 'Al', 'Ti', '1', 'true', ''; did you mean 'Al'?"),
        ("filt", "Al ", "none of 'Al'"),
        ("filt", 1, "is 1, none of 'Al'"),
        ("filt", True, "is true, none of 'Al'"),
        ("level", 2, "is 2, none of 1, 2.5, 4"),
        ("level", True, "is true, none of 1"),
        ("odd", False, "is false, none of '1', 1, true, 0.5"),
        ("odd", 0, "is 0, none of"),
        ("lamp", 1, "is 1, neither true nor false"),
        ("lamp", "true", "is 'true', neither true nor false"),
        ("note", 1, "is 1, not a text"),
        ("note", b"a", "is something of type bytes"),
        ("note", "\ud800", "is something of type str"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(name, value, why) -> None:
    refused = fit(name, value)
    assert isinstance(refused, str)
    assert why in refused


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [("x", 3.01, 3.01), ("lamp", 1, True), ("lamp", 0.0, False), ("level", 2.5000001, 2.5), ("turns", 9.0, 9)],
)
def test_what_a_device_read_may_be_a_little_elsewhere(name, value, kept) -> None:
    result = fit(name, value, measured=True)
    assert (type(result), result) == (type(kept), kept)


def test_without_a_dimension_it_is_a_number_as_ever() -> None:
    assert fitted({"a": 3, "b": 3.0}, ["a", "b"], {}) == ({"a": 3, "b": 3.0}, {})
    assert fitted({"a": "3", "b": True}, ["a", "b"], {})[1] == {
        "a": "is '3', not a number",
        "b": "is true, not a number",
    }


CONDITIONAL = {
    "filt": {"type": "choice", "values": ["Al", "none"]},
    "thick": {"type": "int", "low": 1, "high": 5, "when": {"filt": ["Al"]}},
    "y": {"type": "float", "optional": True},
}


@pytest.mark.parametrize(
    ("point", "wrong"),
    [
        ({"filt": "Al", "thick": 2}, {}),
        ({"filt": "none"}, {}),
        ({"filt": "none", "y": 1.0}, {}),
        ({"filt": "Al"}, {"thick": "is missing"}),
        ({"filt": "none", "thick": 2}, {"thick": "has to be left out unless filt is 'Al'"}),
        ({"thick": 2}, {"filt": "is missing"}),
    ],
)
def test_an_actuator_may_be_absent_where_the_space_says_so(point, wrong) -> None:
    assert fitted(point, list(CONDITIONAL), read_space(CONDITIONAL))[1] == wrong


def test_what_a_run_read_beside_the_point_is_left_out() -> None:
    read = {"filt": "none", "thick": 9, "y": 0.5}
    assert fitted(read, list(CONDITIONAL), read_space(CONDITIONAL), measured=True) == ({"filt": "none", "y": 0.5}, {})


def spec(**fields):
    return AgentSpec.model_validate(
        {"name": "a", "type": "t", "actuators": ["x", "filt", "lamp"], "outcome": "o", **fields}
    )


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"space": {"z": [0, 1]}}, "space names z, which is no actuator"),
        ({"space": {"x": [1, 0]}}, "low = 1.0 is above high = 0.0"),
        ({"space": {"x": [0, 1, 2]}}, "a range is [low, high]"),
        ({"space": {"x": {"type": "nt"}}}, "space.x"),
        ({"space": {"x": {"type": "int", "low": 0.5}}}, "space.x"),
        ({"space": {"x": {"type": "int", "high": 2**64}}}, "beyond 64 bits"),
        ({"space": {"filt": {"type": "choice", "values": []}}}, "values"),
        ({"space": {"filt": {"type": "choice", "values": [1, 1.0]}}}, "values holds 1.0 twice"),
        ({"space": {"x": {"low": 0, "when": {"y": [1]}}}}, "space.x.when names y"),
        ({"space": {"x": {"low": 0, "when": {"lamp": ["on"]}}, "lamp": {"type": "bool"}}}, "neither true nor false"),
        (
            {
                "space": {
                    "x": {"low": 0, "when": {"lamp": [True]}},
                    "lamp": {"type": "bool", "when": {"x": [1.0]}},
                }
            },
            "depends on itself",
        ),
        (
            {
                "space": {"filt": {"type": "choice", "values": ["Al", "Ti"]}},
                "guardrails": {"bounds": {"filt": [0, 1]}},
            },
            "guardrails.bounds names filt, which is a choice whose values are no numbers in order",
        ),
        ({"space": {"lamp": {"type": "bool"}}, "guardrails": {"max_step": {"lamp": 1}}}, "true or false"),
        ({"space": {"filt": {"type": "text"}}, "guardrails": {"rules": ["x < filt"]}}, "which is a text"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(fields, why) -> None:
    with pytest.raises(ValidationError) as refused:
        spec(**fields)
    assert why in str(refused.value) or all(part in str(refused.value) for part in why.split("."))


def test_a_specification_keeps_its_space_through_json() -> None:
    whole = AgentSpec.model_validate(
        {"name": "a", "type": "t", "actuators": list(SPACE), "outcome": "o", "space": SPACE}
    )
    again = AgentSpec.model_validate_json(whole.model_dump_json())
    assert again == whole
    kinds = [type(value) for value in again.space["odd"].values]
    assert kinds == [str, int, bool, float]


def test_plain_values_are_one_or_not() -> None:
    assert same(3, 3.0)
    assert not same(1, True)
    assert not same("1", 1)
    assert plain(np.array(["a", "b"])) is None
    assert plain(np.array([True])) is True
    assert plain("x" * 4001) is None


def test_the_nearest_of_values_that_are_nearly_the_same_is_meant() -> None:
    energies = Choice(type="choice", values=[8333.0, 8333.0005, 8333.001])
    assert energies.fitted(8333.0005 + 1e-9) == energies.fitted(8333.0005 + 1e-4, measured=True) == 8333.0005


def test_none_is_a_value_that_a_point_lacks_where_it_may() -> None:
    space = {"x": FloatRange(low=0, high=1), "y": FloatRange(low=0, high=1, optional=True)}
    assert fitted({"x": 0.5, "y": None}, ["x", "y"], space) == ({"x": 0.5}, {})
    assert fitted({"x": None, "y": 0.5}, ["x", "y"], space)[1] == {"x": "is None, not a finite number"}
