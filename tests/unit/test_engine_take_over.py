"""What the RunEngine's process kept while no service was there comes into the spool before anything is decided."""

import asyncio
import errno

import pytest

from agent_service.documents.sources.engine_process import EngineProcessSource
from agent_service.documents.spool import Spool
from agent_service.errors import UsageError
from agent_service.service.compose_engine import ComposedEngine


def run(uid):
    return [
        ("start", {"uid": uid, "time": 1.0}),
        ("descriptor", {"uid": f"{uid}-d", "run_start": uid, "name": "primary"}),
        ("event", {"uid": f"{uid}-1", "descriptor": f"{uid}-d", "seq_num": 1, "data": {}, "time": 2.0}),
        ("stop", {"uid": f"{uid}-s", "run_start": uid, "exit_status": "success", "num_events": {"primary": 1}}),
    ]


class Sink:
    """Hands documents over, and says which runs go on; None: its process ends meanwhile."""

    reattaches = True

    def __init__(self, source, documents, runs) -> None:
        self.source, self.documents, self.go_on = source, documents, runs
        self.hand_over = self

    async def runs(self):
        for seq, (name, document) in enumerate(self.documents, 1):
            self.source.take(seq, name, document)
        if self.go_on is None:
            self.source.interrupt("interrupted: it was killed")
        return self.go_on or ()


@pytest.fixture
def engine_of():
    def make(documents, runs):
        source = EngineProcessSource(asyncio.get_running_loop(), says_stored=True)
        return ComposedEngine(Sink(source, documents, runs), source, None, None)

    return make


def found(spool):
    return {spool.uid_of(path): [name for name, _ in spool.read(path)] for path in spool.complete()}


async def test_documents_follow_those_of_a_run_that_is_open_and_none_comes_twice(tmp_path, engine_of) -> None:
    before = Spool(tmp_path)
    for name, document in run("ended"):
        before.write(name, document, "ended")
    for name, document in run("open")[:2]:
        before.write(name, document, "open")
    spool = Spool(tmp_path)
    kept = [*run("ended"), *run("open")[1:], *run("goes on")[:3]]
    stored = []
    engine = engine_of(kept, ["goes on"])
    engine.source.on_stored = stored.append
    assert await engine.take_over(spool) == ["goes on"]
    whole = [name for name, _ in run("any")]
    assert found(spool) == {"ended": whole, "open": whole}
    assert spool.close_interrupted(but=["goes on"]) == []
    [[*documents]] = spool.open_here()
    assert documents == run("goes on")[:3]
    async with asyncio.timeout(10):
        while not stored:
            await asyncio.sleep(0.01)
    assert stored[-1] == len(kept)


async def test_a_run_ends_where_its_process_ends_while_it_hands_over(tmp_path, engine_of) -> None:
    spool = Spool(tmp_path)
    assert await engine_of(run("cut")[:3], None).take_over(spool) == ()
    [path] = spool.complete()
    stop = list(spool.read(path))[-1][1]
    assert (stop["exit_status"], stop["reason"], stop["num_events"]) == (
        "fail",
        "interrupted: it was killed",
        {"primary": 1},
    )


async def test_nothing_is_decided_while_the_disk_is_full(tmp_path, engine_of, monkeypatch) -> None:
    spool = Spool(tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool, "write", full)
    engine, stored = engine_of(run("a"), []), []
    engine.source.on_stored = stored.append
    with pytest.raises(UsageError, match=r"the disk does not take the documents .* make room on it"):
        await engine.take_over(spool)
    assert stored == [], "the process has them still"
