"""Why a loop ends by itself, and what it suggests until then."""

import asyncio

import pytest
from headless_service import service

from agent_service.agents.loop import MAX_REJECTIONS
from agent_service.models.state_machines import SuggestionState as State

ENDS = {
    "the brain has no more": (
        {"config": {"limit": 0}},
        "the agent has nothing more to suggest",
    ),
    "the guardrails reject all": (
        {"guardrails": {"bounds": {"x": (-9, -1)}}, "loop": {"n_points": 50}},
        f"{MAX_REJECTIONS} suggestions in a row were rejected",
    ),
}


@pytest.mark.parametrize("case", ENDS)
async def test_a_loop_that_has_nothing_to_do_ends_and_says_why(tmp_path, case):
    spec, reason = ENDS[case]
    async with service(tmp_path / "journal.db") as rooms, asyncio.timeout(60):
        agent = await rooms.create("walker", **spec)
        await rooms.supervisor.life("walker").start()
        while agent.record.state != "stopped":
            await agent.changed()
        assert agent.record.reason.startswith(reason)
        assert {one.state for one in agent.record.suggestions.values()} <= {State.REJECTED}
        assert agent.record.handed_over == 0


@pytest.mark.parametrize(("max_runs", "batch"), [(None, 3), (2, 2)])
async def test_no_more_is_suggested_than_may_be_measured(tmp_path, max_runs, batch):
    async with service(tmp_path / "journal.db") as rooms, asyncio.timeout(60):
        loop = {"n_points": 3, "max_runs": max_runs, "approval": "required"}
        agent = await rooms.create("walker", loop=loop)
        await rooms.supervisor.life("walker").start()
        while not agent.record.suggestions:
            await agent.changed()
        assert [one.state for one in agent.record.suggestions.values()] == [State.PROPOSED] * batch
