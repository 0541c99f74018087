"""What devices say of their limits and units, in whatever shape they say it."""

from types import SimpleNamespace

import numpy as np
import pytest

from agent_service.plans.device_settings import limits_of, units_in, units_of


def never(answer):
    raise AssertionError


def device(**attributes):
    return SimpleNamespace(name="x", parent=None, **attributes)


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"limits": (-5, 5)}, (-5, 5)),
        ({"limits": np.array([-5.0, 5.0])}, (-5, 5)),
        ({"limits": lambda: (-5, 5)}, (-5, 5)),
        ({"limits": {"low": -5, "high": 5}}, (-5, 5)),
        ({"limits": {"high": 5}}, (None, 5)),
        ({"limits": SimpleNamespace(lower=-5, upper=5)}, (-5, 5)),
        ({"limits": (None, 5)}, (None, 5)),
        ({"limits": (float("nan"), 5)}, (None, 5)),
        ({"limits": (0, 0)}, (None, None)),
        ({"limits": (5, -5)}, (None, None)),
        ({"limits": None}, (None, None)),
        ({"limits": (0, 0), "low_limit": -5, "high_limit": 5}, (-5, 5)),
        ({"limits": None, "low_limit": -5, "high_limit": 5}, (-5, 5)),
        ({"limits": (-9, 4), "low_limit_travel": -5, "high_limit_travel": 5}, (-5, 4)),
    ],
)
def test_limits_count_in_any_shape(attributes, found):
    assert limits_of(device(**attributes), never) == found


@pytest.mark.parametrize("stated", [(each for each in (-5, 5)), 5.0, (1, 2, 3), "none"])
def test_limits_in_a_shape_that_nobody_knows_are_an_error_and_not_none(stated):
    with pytest.raises(TypeError, match="not a lowest and a highest position"):
        limits_of(device(limits=stated), never)


def test_a_setpoint_keeps_the_limits_of_what_it_moves_and_another_part_does_not():
    motor = device(limits=(-5, 5))
    motor.user_setpoint, motor.velocity = (SimpleNamespace(name=name, parent=motor) for name in ("sp", "v"))
    assert limits_of(motor.user_setpoint, never) == (-5, 5)
    assert limits_of(motor.velocity, never) == (None, None)


def test_units_are_those_of_what_a_device_describes_and_of_its_readback_by_its_name():
    motor = device(describe=lambda: {"x": {"units": "mm"}, "x_setpoint": {"units": "mm"}, "x_velocity": {"units": ""}})
    assert units_of(motor, never) == {"x": "mm", "x_setpoint": "mm"}
    assert units_in({"table_readback": {"units": "deg"}, "count": {"dtype": "number"}, "odd": 3}) == {
        "table_readback": "deg",
        "table": "deg",
    }
