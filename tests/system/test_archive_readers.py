"""Readers of the embedded catalogue while it is written: nothing that was acknowledged is lost, and nothing ends."""

import asyncio
import subprocess
import sys
import threading

import duckdb
import pyarrow as pa
import pytest
from archive_rig import ask
from test_archive import WITHIN_S, rig, started, until

from agent_service.archive.tiled_server import tables

SEQS = "sorted(s for run in agents.values() for s in run['{}'].read()['journal_seq'].values.tolist())"
READER = """
import sys
from agent_service.archive.tiled_nodes import child
from agent_service.archive.catalog import CatalogAddress, connect, node_uri
from agent_service.state_dir import StateDir
from pathlib import Path
address = CatalogAddress.load(StateDir(Path(sys.argv[1])))
agents = connect(node_uri(address.uri, "agents"), api_key=address.api_key)
table = child(child(list(agents.values())[0], "suggest").base, "internal")
print("reads", flush=True)
for _ in range(40):
    table.read(["seq_num"])
"""


@pytest.fixture
def storage(tmp_path):
    path = tmp_path / "storage.duckdb"
    with duckdb.connect(str(path)) as made:
        made.execute("CREATE TABLE numbers (number BIGINT)")
    storage = tables(f"duckdb:///{path}")
    yield storage
    storage.dispose()


def _execute(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if statement.startswith("SELECT") else None


def test_a_reader_that_ends_takes_nothing_of_a_writer_back(storage):
    """As Tiled writes and reads: rows, then their commit; and a connection that is given back without one."""
    writer = storage.connect()
    with writer.cursor() as cursor:
        cursor.adbc_ingest("numbers", pa.table({"number": [1, 2]}), mode="append")
    reader = storage.connect()
    assert _execute(reader, "SELECT count(*) FROM numbers") == [(0,)]  # not before they are committed
    reader.close()
    writer.commit()
    writer.close()
    again = storage.connect()
    assert _execute(again, "SELECT count(*) FROM numbers") == [(2,)]
    again.close()


def test_many_may_begin_to_read_at_the_same_moment(storage):
    together = threading.Barrier(8)
    found = []

    def read():
        together.wait(10)
        for _ in range(20):
            connection = storage.connect()
            found.extend(_execute(connection, "SELECT count(*) FROM numbers"))
            connection.commit()
            connection.close()

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [(0,)] * 160


@pytest.mark.long
async def test_decisions_are_written_while_others_read_them(tmp_path):
    async with rig(tmp_path / "state") as one, started(one.archive()) as archive:
        await one.decisions.session("s1")
        await one.decisions.create("walker")
        await one.decisions.step("walker", "first", "")
        await archive.drained(one.journal.last_seq, WITHIN_S)
        pid = archive.pid
        command = [sys.executable, "-c", READER, str(one.state.path)]
        readers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - read below, in a thread
            for _ in range(2)
        ]
        try:
            for reader in readers:
                assert await asyncio.to_thread(reader.stdout.readline) == "reads\n"
            count = 0
            while any(reader.poll() is None for reader in readers):
                count += 1
                await one.decisions.step("walker", f"g{count}", "")
                await archive.drained(one.journal.last_seq, WITHIN_S)  # an append for each
            assert [reader.returncode for reader in readers] == [0, 0]
        finally:
            for reader in readers:
                reader.kill()
                reader.wait()
                reader.stdout.close()
        await until(lambda: archive.status.facts_behind == 0)
        assert archive.pid == pid
        facts = one.journal.read()
        kept = [[fact.seq for fact in facts if fact.kind == kind] for kind in ("suggestion.state", "ingest")]
        assert ask(one.state.path, SEQS.format("suggest"), SEQS.format("ingest")) == kept
