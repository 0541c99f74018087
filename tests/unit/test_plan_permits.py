"""Whether a plan may begin now that its turn has come."""

from dataclasses import replace

import pytest
from headless_service import service

from agent_service.agents.submission import order_of
from agent_service.errors import NotYet, OutOfBounds
from agent_service.models import AgentPatch, ServiceGuardrails
from agent_service.models.state_machines import SuggestionState as State
from agent_service.plans.sinks.facility_sink import catalogue_of_nobody
from agent_service.service.compose import LateParts


@pytest.fixture
async def rooms(tmp_path):
    async with service(tmp_path / "journal.db") as headless:
        yield headless


async def order_in(rooms, **spec):
    agent = await rooms.create("walker", **spec)
    await rooms.supervisor.life("walker").start(paused=True)
    while agent.record.state != "paused":
        await agent.changed()
    [suggestion] = await agent.suggest(1, by="loop")
    await agent.facts.advance(suggestion.id, State.APPROVED)
    return agent, order_of(agent, agent.record.suggestion(suggestion.id))


async def running_order_in(rooms, **spec):
    agent, order = await order_in(rooms, **spec)
    await rooms.supervisor.life("walker").resume()
    return agent, order


async def test_no_plan_begins_of_an_agent_that_was_paused_after_it_was_handed_over(rooms):
    _, order = await running_order_in(rooms)
    rooms.supervisor.permits.permit(order, {}, {})
    await rooms.supervisor.life("walker").pause()
    with pytest.raises(NotYet, match="the agent is paused"):
        rooms.supervisor.permits.permit(order, {}, {})
    rooms.supervisor.permits.permit(replace(order, suggestion_id=""), {}, {})  # a person's move


async def test_only_a_running_agent_wants_its_plan_to_begin(rooms):
    _, order = await order_in(rooms)
    permits = rooms.supervisor.permits
    assert not permits.may_begin(order)
    await rooms.supervisor.life("walker").resume()
    assert permits.may_begin(order)
    assert not permits.may_begin(replace(order, agent="nobody"))


async def test_the_guardrails_of_this_moment_count(rooms):
    _, order = await running_order_in(rooms)
    rooms.supervisor.permits.permit(order, {}, {})
    await rooms.supervisor.patch("walker", AgentPatch(guardrails={"bounds": {"x": (5, 9)}}))
    with pytest.raises(OutOfBounds, match=r"guardrails\.bounds\.x"):
        rooms.supervisor.permits.permit(order, {}, {})


async def test_a_plan_that_is_permitted_counts_as_sent(rooms):
    _, order = await running_order_in(rooms)
    sent = replace(order, point={"x": 3.0, "y": 1.0})
    rooms.supervisor.permits.permit(sent, {}, {})
    assert {**rooms.supervisor.last_positions.positions} == sent.point
    later = replace(order, point={"x": 4.0, "y": 1.0})
    rooms.supervisor.permits.permit(later, {}, {}, begins=False)
    assert {**rooms.supervisor.last_positions.positions} == sent.point, "it may be taken back"
    rooms.supervisor.permits.note_begun(later)
    assert {**rooms.supervisor.last_positions.positions} == later.point


@pytest.mark.parametrize(("x_is", "allowed"), [(2.5, True), (-3.0, False), (float("nan"), False)])
async def test_a_step_begins_where_the_device_says_it_is(rooms, x_is, allowed):
    _, order = await running_order_in(rooms, guardrails={"max_step": {"x": 4}})
    order = replace(order, point={"x": 5.0, "y": 0.0})
    if allowed:
        rooms.supervisor.permits.permit(order, {"x": x_is}, {})
    else:
        with pytest.raises(OutOfBounds, match=r"guardrails\.max_step\.x"):
            rooms.supervisor.permits.permit(order, {"x": x_is}, {})


@pytest.mark.parametrize(
    ("guardrails", "point", "early"),
    [
        ({}, {"x": 1.0, "y": 0.0}, True),
        ({"bounds": {"x": [-5, 5]}, "rules": ["abs(x - y) <= 4"]}, {"x": 1.0, "y": 0.0}, True),
        ({"rules": ["abs(x - y) <= 4"]}, {"y": 0.0}, False),
        ({"rules": ["abs(x - y) <= 4"]}, {"z": 0.0}, True),
        ({"rules": ["x < 9", "y < 9"]}, {"y": 0.0}, True),
        ({"rules": ["x < 9", "x + y < 9"]}, {"x": 0.0}, False),
        ({"max_step": {"x": 4}}, {"x": 1.0, "y": 0.0}, False),
        ({"max_runs_per_minute": 5}, {"x": 1.0, "y": 0.0}, False),
        ({"budget_time_s": 5}, {"x": 1.0, "y": 0.0}, False),
    ],
)
async def test_nothing_is_permitted_early_where_a_rule_looks_at_what_the_plan_before_moves(
    rooms, guardrails, point, early
):
    _, order = await order_in(rooms)
    await rooms.supervisor.patch("walker", AgentPatch(guardrails=guardrails))
    permits = rooms.supervisor.permits
    assert permits.may_be_early(replace(order, point=point)) is early
    assert not permits.may_be_early(replace(order, agent="nobody", point=point))


async def test_a_part_of_a_limited_device_does_not_pass_by_its_limits(rooms):
    _, order = await running_order_in(rooms, guardrails={"bounds": {"x": (0, 9)}})
    rooms.supervisor.permits.permit(order, {}, {"y": ("table",)})
    with pytest.raises(OutOfBounds, match="y is a part of x or moves it, and x is limited"):
        rooms.supervisor.permits.permit(order, {}, {"y": ("x",)})


@pytest.mark.parametrize(
    ("whole", "part"), [("m", "m.y.setpoint"), ("m.y", "m.y.setpoint"), ("stage", "stage_z"), ("stage.z", None)]
)
async def test_where_the_devices_are_elsewhere_the_way_to_a_part_says_what_it_is_a_part_of(rooms, whole, part):
    """A site's own plan at a facility may move the setpoint, past the limits that bear the motor's name."""
    config = {"bounds": {"m.y.setpoint": [0, 1], "stage.z": [0, 1]}}
    actuators, names = ["m.y.setpoint", "stage_z"], {"stage_z": "stage.z"}
    _, order = await order_in(rooms, type="sobol", config=config, actuators=actuators, names=names)
    await rooms.supervisor.life("walker").resume()
    late = LateParts(lambda: rooms.supervisor, catalogue_of_nobody)
    rooms.supervisor.permits._limits = ServiceGuardrails(bounds={whole: (0, 9)})
    for ask in (late.permit, late.may_begin):
        if part is None:
            ask(order)
            continue
        with pytest.raises(OutOfBounds, match=f"{part} is a part of {whole} or moves it, and {whole} is limited"):
            ask(order)
    rooms.supervisor.permits._limits = ServiceGuardrails(bounds={whole: (0, 9), part or "stage_z": (0, 9)})
    assert late.may_begin(order)


async def test_an_approval_that_is_required_by_now_is_a_persons(rooms):
    _, order = await running_order_in(rooms)
    await rooms.supervisor.patch("walker", AgentPatch(loop={"approval": "required"}))
    with pytest.raises(OutOfBounds, match="a person's approval is required by now"):
        rooms.supervisor.permits.permit(order, {}, {})


async def test_a_move_whose_condition_was_lost_while_it_waited_is_not_permitted(rooms, monkeypatch):
    _, order = await running_order_in(rooms)
    move = replace(order, suggestion_id="", point={"x": 1.0})
    permits = rooms.supervisor.permits
    permits.permit(move, {}, {})
    monkeypatch.setattr(type(rooms.supervisor.conditions), "unmet", "beam: ring_current 0, needs > 100")
    with pytest.raises(OutOfBounds, match="nothing moved: when its turn had come, a condition was not met"):
        permits.permit(move, {}, {})
    permits.permit(replace(move, despite_conditions=True), {}, {})
