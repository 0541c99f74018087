"""The shipped plans, looked at message by message; tests/conformance/test_plan_sinks.py runs them."""

import pytest
from ophyd import Component, Device
from ophyd.sim import SynAxis

from agent_service.plans import blueapi, library, queue_server
from agent_service.plans.library import acquire, move_to


def test_acquire_makes_one_run_per_suggestion() -> None:
    x, y = SynAxis(name="x"), SynAxis(name="y")
    suggestions = [{"x": 1.0, "y": 2.0, "_id": "s1"}, {"x": 3.0, "y": 4.0}]
    messages = list(acquire(suggestions, [x, y], [], {"sample": "gold"}))
    starts = [message.kwargs for message in messages if message.command == "open_run"]
    assert [start.get("agent_suggestion_uid") for start in starts] == ["s1", None]
    assert [(start["plan_name"], start["sample"], start["num_points"]) for start in starts] == [
        ("acquire", "gold", 1)
    ] * 2
    moves = [(message.obj.name, message.args[0]) for message in messages if message.command == "set"]
    assert moves == [("x", 1.0), ("y", 2.0), ("x", 3.0), ("y", 4.0)]
    assert [message.kwargs["name"] for message in messages if message.command == "create"] == ["primary"] * 2


def test_acquire_without_actuators_reads_the_sensors() -> None:
    sensor = SynAxis(name="sensor")
    messages = list(acquire([{"_id": "s1"}], [], [sensor]))
    assert [message.obj.name for message in messages if message.command == "read"] == ["sensor"]
    assert not [message for message in messages if message.command == "set"]


def test_move_to_moves_without_a_run() -> None:
    x, y = SynAxis(name="x"), SynAxis(name="y")
    messages = list(move_to({"x": 1.0, "y": 2.0}, [x, y]))
    assert {(message.obj.name, message.args[0]) for message in messages if message.command == "set"} == {
        ("x", 1.0),
        ("y", 2.0),
    }
    assert "open_run" not in {message.command for message in messages}


class Stage(Device):
    x = Component(SynAxis)


@pytest.fixture
def stage():
    return Stage(name="stage")


@pytest.mark.parametrize("module", [library, queue_server, blueapi])
@pytest.mark.parametrize("point", [{"stage.x": 1.0}, {"stage_x": 1.0, "y": 2.0}, {"extra": "a"}])
def test_a_position_that_is_of_no_device_is_an_error_and_nothing_moves(module, point, stage) -> None:
    """The device would stay where it is, and the outcome be told as that of the point."""
    good = {"stage_x": 0.0, "_id": "s0", "_private": 1}
    for messages in (module.acquire([good, {**point, "_id": "s1"}], [stage.x], []), module.move_to(point, [stage.x])):
        seen = []
        with pytest.raises(ValueError, match=r"no device that is to move calls itself so \(there: stage_x\)"):
            seen.extend(messages)
        assert seen == []
    sent = [message.args[0] for message in module.acquire([good], [stage.x], []) if message.command == "set"]
    assert sent == [0.0]
