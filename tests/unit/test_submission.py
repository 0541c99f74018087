"""A pause in the middle of a step of the loop: what was about to be submitted is not, and is not lost."""

import asyncio

import pytest
from headless_service import service

from agent_service.models.state_machines import SuggestionState as State


@pytest.mark.parametrize("moment", ["before the fact", "after the fact"])
async def test_nothing_is_submitted_after_a_pause_was_acknowledged(tmp_path, monkeypatch, moment):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await rooms.create("walker")
        life = rooms.supervisor.lives["walker"]
        advance, paused = agent.facts.advance, asyncio.Event()

        async def advance_around_a_pause(suggestion_id, state, **more):
            pauses = state is State.SUBMITTED and not paused.is_set()
            if pauses and moment == "before the fact":
                await life.pause()
            advanced = await advance(suggestion_id, state, **more)
            if pauses and moment == "after the fact":
                await life.pause()
            if state is State.APPROVED:
                paused.set()
            return advanced

        monkeypatch.setattr(agent.facts, "advance", advance_around_a_pause)
        await life.start()
        async with asyncio.timeout(20):
            await paused.wait()
        [kept] = agent.record.suggestions.values()
        assert (life.state, kept.state, kept.reason) == ("paused", State.APPROVED, "taken back before it began")
        assert rooms.sink.status.pending == 0
        assert agent.record.handed_over == 0
        await life.resume()
        async with asyncio.timeout(20):
            while agent.record.suggestion(kept.id).state is not State.SUBMITTED:
                await agent.changed()
        assert agent.record.suggestion(kept.id).reason is None
