"""Where actuators are, from documents of others and from what the service itself sent."""

import decimal
import fractions

import numpy as np
import pytest
from bluesky import RunEngine, plans as bp
from ophyd import Component, Device, Signal
from ophyd.sim import SynAxis
from routed import Routing

from agent_service.agents.positions import SPARE_KEPT, LastPositions
from agent_service.plans.sinks.own_run_engine import _dismantle


def run(where, value, *, uid="r", key="x", page=False, **start):
    hearsay, descriptor = start.pop("hearsay", False), start.pop("descriptor", {})
    where.on_document("start", {"uid": uid, **start}, uid, hearsay=hearsay)
    keys = {"uid": f"{uid}-d", "run_start": uid, "data_keys": {key: {}}}
    where.on_document("descriptor", {**keys, **descriptor}, uid)
    event = {"descriptor": f"{uid}-d", "data": {key: value}}
    where.on_document("event_page" if page else "event", event, uid)
    where.on_document("stop", {"run_start": uid}, uid)


@pytest.fixture
def where():
    return LastPositions(lambda name: name == "x", lambda suggestion_id: suggestion_id == "ours")


COSTUMES = [
    np.float32(10),
    np.int64(10),
    np.longdouble(10),
    decimal.Decimal(10),
    fractions.Fraction(10),
    np.array(10.0),
    np.array([10]),
    [10.0],
    10,
]


@pytest.mark.parametrize("value", COSTUMES, ids=lambda one: f"{type(one).__name__}-{one}")
def test_a_number_in_any_costume_says_where_a_person_went(where, value):
    run(where, value)
    assert where.positions == {"x": 10.0}
    run(where, [0, value], page=True, uid="again")
    assert where.positions == {"x": 10.0}


@pytest.mark.parametrize("value", [True, np.True_, "10", None, float("nan"), [1, 2], np.array([1.0, 2.0]), {"x": 1}])
def test_what_is_no_number_says_nothing(where, value):
    where.sent({"x": 1.0})
    run(where, value)
    assert where.positions == {"x": 1.0}


def test_the_one_that_arrived_later_counts_whatever_the_clocks_say(where):
    run(where, 9.0, time=9e12)
    where.sent({"x": 1.0})
    assert where.positions == {"x": 1.0}
    run(where, 2.0, uid="old", time=0.0)
    assert where.positions == {"x": 2.0}


def test_a_name_that_no_agent_has_is_remembered_and_memory_is_bounded(where):
    run(where, 5.0, key="z")
    where.sent({"x": 1.0})
    for number in range(SPARE_KEPT - 1):
        run(where, 0.0, uid=f"r{number}", key=f"spare-{number}")
    assert where.positions["z"] == 5.0
    run(where, 0.0, uid="one more", key="one more")
    assert "z" not in where.positions
    assert where.positions["x"] == 1.0
    assert len(where.positions) == SPARE_KEPT + 1


def test_a_run_of_ours_says_nothing_and_that_of_another_service_does(where):
    run(where, 9.0, agent_suggestion_uid="ours")
    assert where.positions == {}
    run(where, 9.0, agent_suggestion_uid="another's")
    assert where.positions == {"x": 9.0}


def test_hearsay_counts_only_for_what_is_not_known_otherwise(where):
    run(where, 3.0, hearsay=True)
    assert where.positions == {"x": 3.0}
    run(where, 1.0, uid="heard")
    run(where, 9.0, uid="posted", hearsay=True)
    assert where.positions == {"x": 1.0}


class PV(Device):
    """Readback and setpoint under names of their own, as a PVPositioner has them."""

    setpoint = Component(Signal, value=0.0)
    readback = Component(Signal, value=0.0)


class Stage(Device):
    x = Component(SynAxis)
    y = Component(PV)


def test_names_as_ophyd_makes_them(where):
    stage = Stage(name="stage")
    stage.y.setpoint.put(9.0)
    stage.y.readback.put(4.0)
    engine = RunEngine({}, context_managers=[])
    routing = Routing()
    engine.subscribe(lambda name, document: where.on_document(*routing.route(name, document)))
    try:
        engine(bp.scan([stage.y], stage.x, 0, 3, 2))
        assert where.positions["stage_x"] == 3.0
        assert where.positions["stage_y"] == 4.0
        assert where.positions["stage_y_setpoint"] == 9.0, "a signal may be an actuator too"
        engine(bp.count([stage]))
        assert where.positions["stage_y"] == 4.0
    finally:
        _dismantle(engine)


def test_the_one_field_that_a_device_hints_at_is_where_it_is(where):
    about = {"object_keys": {"x": ["x_raw", "x_mm"]}, "hints": {"x": {"fields": ["x_mm"]}}}
    run(where, 7.0, key="x_mm", descriptor=about)
    assert where.positions["x"] == 7.0
