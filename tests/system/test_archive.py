"""The archive with a real Tiled child, read by databroker in another process."""

import asyncio
import contextlib
import math
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
from archive_rig import Decisions, ask, descriptors, measure
from routed import RoutedSpool

from agent_service.archive import Archive
from agent_service.documents.json_lines import encode
from agent_service.errors import BackendUnavailable, DeadlineExceeded
from agent_service.journal import JournalLog, SqliteStore
from agent_service.state_dir import StateDir

WITHIN_S = 60


class Rig:
    """The parts of a service that the archive needs, in a state directory."""

    def __init__(self, path):
        self.state = StateDir(path)
        self.state.lock()
        self.spool = RoutedSpool(self.state.spool)
        self.journal = JournalLog(SqliteStore(self.state.journal))
        self.journal.open()
        self.decisions = Decisions(self.journal)
        self.told = 0

    def archive(self, catalog="embedded", **options):
        return Archive(
            self.state, catalog=catalog, last_seq=lambda: self.journal.last_seq, on_change=self.tell, **options
        )

    def tell(self):
        self.told += 1

    async def close(self):
        await self.journal.close()
        self.state.release()


@contextlib.asynccontextmanager
async def rig(path):
    one = Rig(path)
    try:
        yield one
    finally:
        await one.close()


@contextlib.asynccontextmanager
async def started(archive):
    await archive.start()
    try:
        yield archive
    finally:
        await archive.stop(10)


async def until(condition, within_s=WITHIN_S):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.01)


async def test_runs_and_decisions_are_read_in_another_process(tmp_path):
    before = descriptors()
    async with rig(tmp_path / "state") as one:
        uids = measure(one.spool.write, 3, points=2, agent_name="walker", agent_suggestion_uid="g0")
        await one.decisions.session("s1")
        await one.decisions.create("late")
        await one.decisions.without_points(
            "late", 1100
        )  # a column of NaN only, longer than a batch of a database driver
        await one.decisions.step("late", "g", "", x=7.5)
        await one.decisions.create("walker")
        for i, uid in enumerate(uids):
            await one.decisions.step("walker", f"g{i}", uid, x=0.5 * i)
        await one.journal.append("report", "walker", {"report": {"length_scale": [1, None]}})
        await one.decisions.end("s1")
        archive = one.archive()
        began = time.monotonic()
        await archive.start()
        assert time.monotonic() - began < 1  # it waits for nothing: Tiled alone takes seconds to import
        assert archive.status.state == "starting"
        await archive.drained(one.journal.last_seq, WITHIN_S)
        status = archive.status
        assert (status.state, status.catalog, status.reason) == ("ready", "embedded", None)
        await until(lambda: archive.status.runs_behind == archive.status.facts_behind == 0)
        assert one.told >= 2

        await asyncio.to_thread(_read, tmp_path / "state", uids)
        await _asked(archive, uids)
        await _profiles_lead_there(one.state, uids)

        pid = archive.pid
        await archive.stop(10)
        assert archive.pid is None
        assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110 - no zombie either
        assert not (one.state.catalog / "server.json").exists()
        await archive.stop(10)
    assert descriptors() == before


def _read(where, uids):
    """What a person would look at, in another process."""
    last, data, found, names, states, points, ran, reports, stop, documents, late = ask(
        where,
        "runs[-1].start['uid']",
        "runs[-1]['primary'].read()['motor'].values.tolist()",
        "sorted(runs.search(Key('start.agent_name') == 'walker'))",
        "[n for n, d in runs[-1].documents()]",
        "agents[-1]['suggest'].read()['state'].values.tolist()",
        "agents[-1]['suggest'].read()['motor'].values.tolist()",
        "agents[-1]['ingest'].read()['run_uid'].values.tolist()",
        "agents[-1]['report'].read()['report'].values.tolist()",
        "agents[-1].stop",
        "[[n, d] for n, d in agents[-1].documents()]",
        "agents[0]['suggest'].read()['motor'].values.tolist()[-3:]",
    )
    assert late[1] == 7.5
    assert last == uids[-1]
    assert data == [2, 2.1]
    assert found == sorted(uids)
    assert names == ["start", "descriptor", "event", "event", "stop"]
    assert states == ["proposed", "running"] * 3
    assert points[::2] == [0, 0.5, 1]
    assert all(math.isnan(x) for x in points[1::2])
    assert ran == uids
    assert reports == ['{"length_scale": [1, null]}']
    assert (stop["exit_status"], stop["num_events"]) == ("success", {"suggest": 6, "ingest": 3, "report": 1})
    names = [name for name, _ in documents]
    assert (names[0], names[-1], names.count("event"), names.count("descriptor")) == ("start", "stop", 10, 3)
    assert documents[0][1]["agent_name"] == "walker"


async def _asked(archive, uids):
    await archive.wait_for(uids[0], 10)
    with pytest.raises(DeadlineExceeded, match=r"nobody is not in the catalogue after 0.3 s; the catalogue is ready"):
        await archive.wait_for("nobody", 0.3)
    assert [name for name, _ in await archive.documents(uids[1])] == ["start", "descriptor", "event", "event", "stop"]
    assert await archive.documents("nobody") == []


async def _profiles_lead_there(state, uids):
    for path in (state.catalog / "api_key", state.catalog / "server.json", state.profiles / "agent_service.yml"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    code = (
        "import databroker\n"
        "print(databroker.from_profile('agent_service')[-1].start['uid'])\n"
        "print(databroker.from_profile('agent_service_agents')[-1].start['agent_name'])"
    )
    environment = {**os.environ, "TILED_PROFILES": str(state.profiles)}
    done = subprocess.run(  # noqa: ASYNC221 - nothing else happens meanwhile
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert done.stdout.split() == [uids[-1], "walker"], done.stderr


HALF = """
import json, pathlib, sys
from agent_service.archive.catalog import CatalogAddress, connect
from agent_service.state_dir import StateDir
from bluesky_tiled_plugins.writing.tiled_writer import TiledWriter
address = CatalogAddress.load(StateDir(pathlib.Path(sys.argv[1])))
writer = TiledWriter(connect(address.uri, api_key=address.api_key), batch_size=int((sys.argv[3:] or [1])[0]))
for line in pathlib.Path(sys.argv[2]).read_text().splitlines()[:-1]:
    writer(*json.loads(line))
"""


@pytest.mark.long
async def test_half_written_repeated_and_impossible_runs(tmp_path):
    kept = tmp_path / "kept"
    made = RoutedSpool(kept)
    half, whole, late = measure(made.write, 3, points=3)
    files = made.complete()
    async with rig(tmp_path / "state") as one, started(one.archive()) as archive:
        await until(lambda: archive.status.state == "ready")
        # an earlier writer died before the stop document
        subprocess.run(  # noqa: ASYNC221 - nothing else happens meanwhile
            [sys.executable, "-c", HALF, str(one.state.path), str(files[0])], check=True, timeout=WITHIN_S
        )
        found = ask(one.state.path, "len(runs[-1]['primary'].read()['det'])", "runs[-1].metadata.get('stop')")
        assert found == [3, None]
        waiting = [asyncio.create_task(archive.wait_for(uid, WITHIN_S)) for uid in (half, "bad-line", "no-descriptor")]
        for number, path in enumerate([files[0], files[1], files[1]], start=1):
            _copy(path, one, number)
        bad = [("start", {"uid": "bad-line", "time": 1.0}), ("stop", {"run_start": "bad-line"})]
        lines = [encode(*bad[0]), "glued", encode(*bad[1])]
        (one.state.spool / "complete" / "000000000004-bad-line.jsonl").write_text("\n".join(lines) + "\n")
        for name, doc in [
            ("start", {"uid": "no-descriptor", "time": 1.0, "plan_name": "p"}),
            ("descriptor", {"uid": "d", "run_start": "no-descriptor", "name": "primary", "time": 1.0, "data_keys": {}}),
            ("event", {"uid": "e", "descriptor": "d", "seq_num": 1, "time": 2.0, "nothing": "else"}),
            ("stop", {"uid": "s", "run_start": "no-descriptor", "time": 2.0, "exit_status": "success"}),
        ]:
            one.spool.write(name, doc)
        _copy(files[2], one, 9)
        await archive.drained(0, WITHIN_S)
        assert await waiting[0] is None
        for task in waiting[1:]:
            with pytest.raises(BackendUnavailable, match="the catalogue refused the run"):
                await task
        await until(lambda: archive.status.runs_refused == 2)
        assert [path.with_suffix(".reason").exists() for path in one.spool.refused()] == [True, True]
        rows = "{run.start['uid']: len(run['primary'].read()['det']) for run in runs.values()[1:] if run.stop}"
        # nothing is left of the refused ones
        assert ask(one.state.path, rows, "len(runs)") == [{whole: 3, half: 3, late: 3}, 4]


def _copy(path, one, number):
    uid = path.name.partition("-")[2]
    (one.state.spool / "complete" / f"{number:012d}-{uid}").write_bytes(path.read_bytes())


@pytest.mark.long
async def test_another_catalogue_by_its_uri_is_waited_for(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site = tmp_path / "site"
    (site / "catalog").mkdir(parents=True)
    (site / "catalog" / "port").write_text(str(port))  # the port it had last time
    (site / "catalog" / "api_key").write_text("secret")
    uri = f"http://127.0.0.1:{port}/api/v1"
    async with rig(tmp_path / "state") as one, rig(site) as two:
        uids = measure(one.spool.write, 2)
        async with started(one.archive(uri, api_key="secret")) as archive:
            await until(lambda: archive.status.state == "unavailable")
            assert uri in archive.status.reason
            assert archive.status.runs_behind == 2
            with pytest.raises(BackendUnavailable, match="does not answer"):
                await archive.wait_for(uids[0], 0.1)
            async with started(two.archive()) as server:
                await until(lambda: server.status.state == "ready")
                assert server.status.uri == uri
                await archive.drained(0, WITHIN_S)
                await until(lambda: archive.status.state == "ready")
                assert archive.status.uri == archive.status.catalog == uri
                assert ask(site, "[run.start['uid'] for run in runs.values()[1:]]") == [uids]
        files = [path for path in one.state.path.rglob("*") if path.is_file()]
        assert not [path for path in files if b"secret" in path.read_bytes()]


async def test_without_a_catalogue_nothing_is_started(tmp_path):
    async with rig(tmp_path) as one, started(one.archive("none")) as archive:
        assert (archive.pid, archive.status.state) == (None, "none")
        await archive.drained(5, 1)
        with pytest.raises(BackendUnavailable, match="this service has none"):
            await archive.wait_for("uid", 1)


SERVE = """
import sys, pathlib
from agent_service.archive import serve_catalog
say = lambda line: print(line, flush=True)
serve_catalog(pathlib.Path(sys.argv[1]), on_ready=say, on_progress=say)
"""


@pytest.mark.long
async def test_what_a_service_left_behind_is_served_later(tmp_path):
    state = tmp_path / "state"
    async with rig(state) as one, started(one.archive()) as archive:
        await until(lambda: archive.status.state == "ready")
        uri = archive.status.uri
    async with rig(state) as one:
        uids = measure(one.spool.write, 9)  # and the service ended before they were in the catalogue
        cut = []
        measure(lambda name, doc: None if name == "stop" else (cut.append(doc), one.spool.write(name, doc)), 1)
        await one.decisions.session("s1")
        await one.decisions.create("walker")
        await one.decisions.step("walker", "g", uids[0])
    server = subprocess.Popen(  # noqa: ASYNC220 - read below, in a thread
        [sys.executable, "-c", SERVE, str(state)], stdout=subprocess.PIPE, text=True
    )
    try:
        told = []
        while not told or "://" not in told[-1]:
            told.append((await asyncio.to_thread(server.stdout.readline)).strip())
        assert told[-1] == uri  # readers find it where it was
        assert re.fullmatch(r"to be written into the catalogue first: \d+ runs( and \d+ decisions)?", told[0])
        assert not list((state / "spool" / "complete").iterdir())  # before it said where it is
        there = f"[uid for uid in {uids!r} if not (uid in runs and runs[uid].stop)]"
        end = f"runs[{cut[0]['uid']!r}].stop['reason']"
        assert ask(state, there, end, "len(agents[0]['ingest'].read()['motor'])") == [
            [],
            "the service was interrupted",
            1,
        ]
        server.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(server.wait, 20) == 0
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    with StateDir(state):  # it was given back
        pass


async def test_a_catalogue_that_a_service_had_no_time_to_make_is_made_later(tmp_path):
    state = tmp_path / "state"
    async with rig(state) as one:
        uids = measure(one.spool.write, 2)
        async with started(one.archive()) as archive:
            await until(lambda: archive.pid is not None)  # and the service ends while it is being imported
        assert not (one.state.catalog / "catalog.db").exists()
        assert stat.S_IMODE(one.state.catalog.stat().st_mode) == 0o700
    server = subprocess.Popen(  # noqa: ASYNC220 - read below, in a thread
        [sys.executable, "-c", SERVE, str(state)], stdout=subprocess.PIPE, text=True
    )
    try:
        while "://" not in (line := await asyncio.to_thread(server.stdout.readline)):
            assert line, "it ended"
        assert ask(state, "[run.start['uid'] for run in runs.values()[1:]]") == [uids]
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
