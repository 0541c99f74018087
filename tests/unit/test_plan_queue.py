"""The plan queue as people steer it, when its sink cannot do what they ask."""

import asyncio

import pytest
from forgetful_peers import queue_server
from headless_service import service

from agent_service.errors import BackendUnavailable


@pytest.mark.parametrize(("stop", "state"), [("pause", "paused"), ("abort", "held")])
async def test_a_resume_that_fails_leaves_the_queue_as_it_was_after_a_restart_too(tmp_path, monkeypatch, stop, state):
    async def gives_no_answer():
        raise BackendUnavailable("no answer within 10 s")

    async with service(tmp_path / "journal.db") as rooms:
        queue = rooms.supervisor.queue
        await (queue.pause() if stop == "pause" else queue.abort("smoke"))
        monkeypatch.setattr(queue.sink, "resume", gives_no_answer)
        with pytest.raises(BackendUnavailable):
            await queue.resume()
        assert queue.status.state == state
    async with service(tmp_path / "journal.db") as rooms:
        assert rooms.supervisor.queue.status.state == state
        await rooms.supervisor.queue.resume()
    async with service(tmp_path / "journal.db") as rooms:
        assert rooms.supervisor.queue.status.state == "idle"


async def test_a_hold_of_a_facilitys_sink_survives_a_restart(tmp_path):
    async with service(tmp_path / "journal.db", queue_server) as rooms:
        queue = rooms.supervisor.queue
        rooms.sink.latch("somebody ended our plan")
        async with asyncio.timeout(10):
            while queue.facts.last_state != "held":
                await asyncio.sleep(0.01)
    async with service(tmp_path / "journal.db", queue_server) as rooms:
        queue = rooms.supervisor.queue
        assert (queue.status.state, queue.status.reason) == ("held", "somebody ended our plan")
        await queue.resume()
        await queue.abort("smoke")
        stops = [fact for fact in rooms.journal.read() if fact.data.get("command") == "abort"]
        assert [fact.data["reason"].split(" (")[0] for fact in stops] == ["somebody ended our plan", "smoke"]
