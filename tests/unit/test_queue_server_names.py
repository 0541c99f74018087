"""Which names of devices a queue server takes: it knows variables, and points go by what devices call themselves."""

import pytest
from forgetful_peers import ForgetfulManager, queue_server

from agent_service.errors import UnknownDevice
from agent_service.models import AgentSpec
from agent_service.plans.sinks.queue_server.allowed import Lists, wrong_in

DEVICE = {"is_readable": True, "is_movable": True}
LISTS = Lists({}, {"stage": {**DEVICE, "components": {"x": DEVICE}}, "stage_x": DEVICE, "det": DEVICE})


def spec(**changes):
    given = {"actuators": ["stage_x"], "sensors": ["det"], "outcome": "det"} | changes
    return AgentSpec(name="aligner", type="sobol", **given)


def wrong_names(one, *, sessions=False):
    wrong = wrong_in(one, LISTS, sessions=sessions)
    return [(field, error.detail) for field, error in wrong if isinstance(error, UnknownDevice)]


def test_an_actuator_that_is_the_way_to_a_component_is_refused_with_what_to_write():
    """The worker's plan gets the component, whose name is in no point, and would move nothing."""
    [(field, why)] = wrong_names(spec(actuators=["stage.x"]))
    assert field == "actuators"
    assert "'stage.x' is the way to a component" in why
    assert "stage_x = stage.x" in why
    assert "write 'stage_x' here" in why
    assert wrong_names(spec()) == []


@pytest.mark.parametrize("sessions", [False, True])
def test_a_sensor_that_is_a_component_is_read_but_not_found_by_a_session(sessions):
    assert [field for field, _ in wrong_names(spec(sensors=["stage.x"]), sessions=sessions)] == ["sensors"] * sessions


async def test_also_while_the_queue_server_does_not_answer():
    sink = queue_server(lambda order: True, ForgetfulManager())
    with pytest.raises(UnknownDevice, match="way to a component") as refused:
        sink.check(spec(actuators=["stage.x"]))
    assert [error.field for error in refused.value.errors] == ["actuators"]
