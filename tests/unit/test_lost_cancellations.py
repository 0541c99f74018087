"""A loop that is cancelled in the very moment in which what it waits for comes ends all the same."""

import asyncio
from types import SimpleNamespace

import pytest

from agent_service.agents.loop import AgentLoop
from agent_service.documents.sources.tiled import TiledSource


class Catalogue:
    """Has nothing."""

    async def ask(self) -> None: ...

    async def of_uids(self, uids):
        return []

    async def newest_first(self):
        for page in ():
            yield page


def tiled(folder):
    source = TiledSource(Catalogue, where="http://127.0.0.1:9", has_ended=lambda uid: True, cursor=folder / "cursor")
    return source._look_again_and_again(Catalogue()), source._news


def agent(_):
    wake = asyncio.Event()
    approvals = SimpleNamespace(next_expiry_s=lambda: None)
    loop = SimpleNamespace(
        ingestion=SimpleNamespace(inbox=[]),
        measurement=SimpleNamespace(stopping=False),
        _agent=SimpleNamespace(wake=wake, guardrails=SimpleNamespace(approvals=approvals)),
    )
    loop._rest = lambda at_most_s: AgentLoop._rest(loop, at_most_s)

    async def again_and_again() -> None:
        while True:
            await AgentLoop._wait(loop, 60.0)
            wake.clear()

    return again_and_again(), wake


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("waits", [tiled, agent])
async def test_a_cancellation_is_not_lost(tmp_path, waits, turns) -> None:
    work, event = waits(tmp_path)
    task = asyncio.create_task(work)
    while not event._waiters:
        assert not task.done(), task
        await asyncio.sleep(0)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=20)
    assert task.done(), "it was cancelled, and went on"
