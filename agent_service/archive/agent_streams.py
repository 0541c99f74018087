"""The agents' decisions as Bluesky runs: from the journal into the container ``agents`` of the catalogue."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: pyarrow and tiled have no types

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from tiled.structures.core import Spec

from agent_service.archive.decisions import SEQ, AgentRun, Row, RunEnd, StreamName, load_fold
from agent_service.archive.nodes import child, child_or_new, run_uid_part
from agent_service.catalog import AGENTS, write_private
from agent_service.journal import read_facts, read_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_BATCH_FACTS: Final = 1000
_BATCH_ROWS: Final = 5000
_RUN_SPECS: Final = [Spec("BlueskyRun", version="3.0")]
_STREAM_SPECS: Final = [Spec("BlueskyEventStream", version="3.0"), Spec("composite")]
_ARROW: Final = {"number": pa.float64(), "string": pa.string(), "integer": pa.int64()}


@dataclass(slots=True)
class _Table:
    """A stream's table: Tiled's client of it, its rows, and the last fact in it."""

    client: Any
    schema: Any
    rows: int
    last_seq: int


def ensure_agents(root: Any) -> Any:
    """Return the container of the agents' runs, made if need be: before any run, so that ``catalog[-1]`` is a run."""
    specs = [Spec("CatalogOfBlueskyRuns", version="3.0")]
    return child_or_new(
        root, AGENTS, metadata={"description": "decisions of the agents, a run per session"}, specs=specs
    )


class AgentStreams:
    """Writes the journal's facts to the agents' runs, many rows at a time, each exactly once.

    Parameters
    ----------
    agents
        Tiled's client of the container of the agents' runs.
    journal
        The journal's file.
    cursor
        File that keeps how far it came. It moves after the rows are in the catalogue; rows that a crash left there
        are known by their fact's number.

    Notes
    -----
    One thread of one process at a time.
    """

    def __init__(self, agents: Any, *, journal: Path, cursor: Path) -> None:
        self._agents = agents
        self._journal = journal
        self._cursor = cursor
        self._fold = load_fold(cursor, snapshot=read_snapshot(journal))
        self._tables: dict[tuple[str, StreamName], _Table] = {}
        self._runs: dict[str, Any] = {}

    @property
    def seq(self) -> int:
        """Number of the last fact that is written."""
        return self._fold.seq

    def advance(self) -> bool:
        """Write the next batch of facts; return whether there was any.

        Raises
        ------
        httpx.HTTPError
            When the catalogue failed. The next call begins again from the last batch that was written whole.
        """
        facts = read_facts(self._journal, after=self._fold.seq, limit=_BATCH_FACTS)
        if not facts:
            return False
        fold = self._fold.model_copy(deep=True)
        rows: list[Row] = []
        try:
            for fact in facts:
                for step in fold.take(fact):
                    if isinstance(step, Row):
                        rows.append(step)
                    else:
                        rows = self._write(rows)
                        self._end(step)
                if len(rows) >= _BATCH_ROWS:  # between facts: a fact's rows go in one append, all or none
                    rows = self._write(rows)
            self._write(rows)
        except BaseException:
            self._tables.clear()  # an append may or may not have arrived: look again
            self._runs.clear()
            raise
        write_private(self._cursor, fold.model_dump_json())
        self._fold = fold
        return True

    def _write(self, rows: Iterable[Row]) -> list[Row]:
        """Append the rows to their tables; returns the empty list of what is left to do."""
        streams: dict[tuple[str, StreamName], list[Row]] = {}
        for row in rows:
            streams.setdefault((row.run.uid, row.stream), []).append(row)
        for (_, stream), found in streams.items():
            table = self._table(found[-1].run, stream, found[0].time)
            fresh = [row for row in found if row.values[SEQ] > table.last_seq]  # pyright: ignore[reportOperatorIssue] - an int
            if fresh:
                table.client.append_partition(0, _arrow(fresh, table))
                table.rows += len(fresh)
                table.last_seq = int(fresh[-1].values[SEQ])
        return []

    def _end(self, end: RunEnd) -> None:
        run = self._run(end.run)
        stop: dict[str, Any] = {
            "uid": run_uid_part(end.run.uid, "stop"),
            "run_start": end.run.uid,
            "time": end.time,
            "exit_status": end.exit_status,
            "reason": end.reason,
            "num_events": {stream: self._table(end.run, stream, end.time).rows for stream in _streams_of(run)},
        }
        run.update_metadata(metadata={"stop": stop}, drop_revision=True)
        self._runs.pop(end.run.uid, None)
        for key in [key for key in self._tables if key[0] == end.run.uid]:
            del self._tables[key]

    def _run(self, run: AgentRun) -> Any:
        if run.uid not in self._runs:
            metadata = {"start": run.start_document()}
            self._runs[run.uid] = child_or_new(self._agents, run.uid, metadata=metadata, specs=_RUN_SPECS)
        return self._runs[run.uid]

    def _table(self, run: AgentRun, stream: StreamName, time: float) -> _Table:
        key = (run.uid, stream)
        if key in self._tables:
            return self._tables[key]
        columns = run.columns(stream)
        data_keys = {
            name: {"dtype": kind, "shape": [], "source": f"{run.agent}:{holds}"}
            for name, (kind, holds) in columns.items()
        }
        descriptor = {
            "uid": run_uid_part(run.uid, stream),
            "time": time,
            "data_keys": data_keys,
            "configuration": {},
            "hints": {},
        }
        node = child_or_new(self._run(run), stream, metadata=descriptor, specs=_STREAM_SPECS).base
        fields = [(name, _ARROW[kind]) for name, (kind, _) in columns.items()]
        stamps = [(f"ts_{name}", pa.float64()) for name in columns]
        schema = pa.schema([("seq_num", pa.int64()), ("time", pa.float64()), *fields, *stamps])
        client = child(node, "internal")
        if client is None:
            client, rows, last_seq = node.create_appendable_table(schema, key="internal", metadata=data_keys), 0, 0
        else:
            written = client.read(["seq_num", SEQ])
            rows, last_seq = len(written), int(written[SEQ].max()) if len(written) else 0
        self._tables[key] = _Table(client, schema, rows, last_seq)
        return self._tables[key]


def _streams_of(run: Any) -> list[StreamName]:
    names: list[StreamName] = ["suggest", "ingest", "report"]
    there = set(run.base)
    return [name for name in names if name in there]


def _arrow(rows: list[Row], table: _Table) -> Any:
    first = table.rows + 1
    dicts = [
        {
            "seq_num": first + i,
            "time": row.time,
            **row.values,
            **{f"ts_{name}": row.time for name in row.values},
        }
        for i, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(dicts, schema=table.schema)
