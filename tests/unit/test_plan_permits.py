"""Whether a plan may begin now that its turn has come."""

from dataclasses import replace

import pytest
from headless_service import service

from agent_service.agents.submission import order_of
from agent_service.errors import OutOfBounds
from agent_service.models import AgentPatch
from agent_service.models.state_machines import SuggestionState as State


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


async def test_only_a_running_agent_wants_its_plan_to_begin(rooms):
    _, order = await order_in(rooms)
    permits = rooms.supervisor.permits
    assert not permits.may_begin(order)
    await rooms.supervisor.life("walker").resume()
    assert permits.may_begin(order)
    assert not permits.may_begin(replace(order, agent="nobody"))


async def test_the_guardrails_of_this_moment_count(rooms):
    _, order = await order_in(rooms)
    rooms.supervisor.permits.permit(order, {}, {})
    await rooms.supervisor.patch("walker", AgentPatch(guardrails={"bounds": {"x": (5, 9)}}))
    with pytest.raises(OutOfBounds, match=r"guardrails\.bounds\.x"):
        rooms.supervisor.permits.permit(order, {}, {})


async def test_a_plan_that_is_permitted_counts_as_sent(rooms):
    _, order = await order_in(rooms)
    sent = replace(order, point={"x": 3.0, "y": 1.0})
    rooms.supervisor.permits.permit(sent, {}, {})
    assert {**rooms.supervisor.last_positions.positions} == sent.point


@pytest.mark.parametrize(("x_is", "allowed"), [(2.5, True), (-3.0, False), (float("nan"), False)])
async def test_a_step_begins_where_the_device_says_it_is(rooms, x_is, allowed):
    _, order = await order_in(rooms, guardrails={"max_step": {"x": 4}})
    order = replace(order, point={"x": 5.0, "y": 0.0})
    if allowed:
        rooms.supervisor.permits.permit(order, {"x": x_is}, {})
    else:
        with pytest.raises(OutOfBounds, match=r"guardrails\.max_step\.x"):
            rooms.supervisor.permits.permit(order, {"x": x_is}, {})


async def test_a_part_of_a_limited_device_does_not_pass_by_its_limits(rooms):
    _, order = await order_in(rooms, guardrails={"bounds": {"x": (0, 9)}})
    rooms.supervisor.permits.permit(order, {}, {"y": ("table",)})
    with pytest.raises(OutOfBounds, match="y is a part of x, which is limited"):
        rooms.supervisor.permits.permit(order, {}, {"y": ("x",)})


async def test_an_approval_that_is_required_by_now_is_a_persons(rooms):
    _, order = await order_in(rooms)
    await rooms.supervisor.patch("walker", AgentPatch(loop={"approval": "required"}))
    with pytest.raises(OutOfBounds, match="a person's approval is required by now"):
        rooms.supervisor.permits.permit(order, {}, {})
