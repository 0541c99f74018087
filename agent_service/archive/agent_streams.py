"""The agents' decisions as Bluesky runs: from the journal into the container ``agents`` of the catalogue."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: pyarrow and tiled have no types

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from tiled.structures.core import Spec

from agent_service.archive.attempts import TRIES, reason_of
from agent_service.archive.catalog import AGENTS
from agent_service.archive.columns import TRUE_NAME
from agent_service.archive.decisions import OWN_COLUMNS, SEQ, AgentRun, Row, RunEnd, StreamName, load_fold
from agent_service.archive.metadata import storable
from agent_service.archive.tiled_nodes import child, child_or_new, run_uid_part
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from agent_service.archive.attempts import Attempts
    from agent_service.archive.decisions import ColumnType
    from agent_service.archive.refused import RefusedDecisions
    from agent_service.protocols import JournalReader

_BATCH_FACTS: Final = 1000
_BATCH_ROWS: Final = 5000
_RUN_SPECS: Final = [Spec("BlueskyRun", version="3.0")]
_STREAM_SPECS: Final = [Spec("BlueskyEventStream", version="3.0"), Spec("composite")]
_ARROW: Final = {"number": pa.float64(), "string": pa.string(), "integer": pa.int64()}

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Table:
    """Tiled's client of a stream's table, and the rows in it; ``columns`` has the names that 0.1.0 gave otherwise."""

    client: Any
    schema: Any
    columns: dict[str, str]
    facts: set[int] = field(default_factory=set[int])
    complete: int = 0
    beyond: set[int] = field(default_factory=set[int])

    def numbered(self, row: Row) -> int:
        """Return a row's number; one without follows on what is there."""
        return row.number if row.number is not None else max(self.complete, *self.beyond, 0) + 1

    def has(self, row: Row) -> bool:
        """Tell whether a row is in it."""
        if row.number is None:
            return _seq(row) in self.facts
        return row.number <= self.complete or row.number in self.beyond

    def add(self, numbers: Iterable[int], facts: Iterable[int]) -> None:
        """Remember rows that are in it."""
        self.beyond.update(numbers)
        self.facts.update(facts)
        while self.complete + 1 in self.beyond:
            self.complete += 1
            self.beyond.discard(self.complete)


def ensure_agents(root: Any) -> Any:
    """Return the container of the agents' runs, made if need be: before any run, so that ``catalog[-1]`` is a run."""
    specs = [Spec("CatalogOfBlueskyRuns", version="3.0")]
    return child_or_new(
        root, AGENTS, metadata={"description": "decisions of the agents, a run per session"}, specs=specs
    )


class AgentStreams:
    """Writes the journal's facts to the agents' runs, many rows at a time, each exactly once; belongs to one thread.

    What the catalogue refuses is put into ``refused``, and the rest goes on: a row's number is that of the decision in
    its stream, so the refused ones leave gaps, and fill them later. The file ``cursor`` moves after the rows are in the
    catalogue; rows that a crash left there are known by their numbers.
    """

    def __init__(
        self, agents: Any, *, journal: JournalReader, cursor: Path, refused: RefusedDecisions, attempts: Attempts
    ) -> None:
        self._agents = agents
        self._journal = journal
        self._cursor = cursor
        self._refused_decisions = refused
        self._attempts = attempts
        self._fold = load_fold(cursor, snapshot=journal.snapshot())
        self._tables: dict[tuple[str, StreamName], _Table] = {}
        self._runs: dict[str, Any] = {}
        self._closed: dict[tuple[str, str], str] = {}
        self._put: set[tuple[str, StreamName, int, int | None]] = set()

    @property
    def seq(self) -> int:
        """Number of the last fact that is written, or refused."""
        return self._fold.seq

    def advance(self) -> bool:
        """Write the next batch of facts; return whether there was any. May raise `CatalogUnreachable`, `TryAgain`."""
        facts = self._journal.read(after=self._fold.seq, limit=_BATCH_FACTS)
        if not facts:
            return False
        fold = self._fold.model_copy(deep=True)
        rows: list[Row] = []
        for fact in facts:
            for step in fold.apply_fact(fact):
                if isinstance(step, Row):
                    rows.append(step)
                else:
                    rows = self._write(rows)
                    self._finish(step)
            if len(rows) >= _BATCH_ROWS:
                rows = self._write(rows)
        self._write(rows)
        private_files.write(self._cursor, fold.model_dump_json())
        self._fold = fold
        self._put.clear()
        return True

    def try_again(self) -> bool:
        """Write what is to be tried again, and return whether there was anything; raises as `advance`."""
        files = self._refused_decisions.again()
        for path in files:
            self._closed.clear()
            steps = self._refused_decisions.read(path)
            self._write([step for step in steps if isinstance(step, Row)])
            for step in steps:
                if isinstance(step, RunEnd):
                    self._finish(step)
            self._refused_decisions.done(path)
            self._put.clear()
        return bool(files)

    def _write(self, rows: Iterable[Row]) -> list[Row]:
        """Append the rows to their tables; returns the empty list of what is left to do."""
        streams: dict[tuple[str, StreamName], list[Row]] = {}
        for row in rows:
            streams.setdefault((row.run.uid, row.stream), []).append(row)
        for key, of_stream in streams.items():
            if key in self._closed:
                self._refused_decisions.put(of_stream, self._closed[key])
                continue
            try:
                self._table(of_stream[-1].run, key[1], of_stream[0].time)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not hold up the other agents
                self._refuse(of_stream, error)
                self._closed[key] = reason_of(error)  # its next rows have no table either
            else:
                self._append(of_stream)
        return []

    def _append(self, rows: list[Row], *, tries: int = TRIES) -> None:
        """Append rows of one stream; what is refused is halved until the rows are found that are at fault."""
        fresh = rows
        try:
            table = self._table(rows[-1].run, rows[0].stream, rows[0].time)
            fresh = [row for row in rows if not table.has(row) and _name(row) not in self._put]
            if fresh:
                _append(table, fresh)
        except Exception as error:  # noqa: BLE001 - as above
            if len(fresh) == 1:
                self._refuse(fresh, error, tries=tries)
                self._put.add(_name(fresh[0]))
                return
            self._judge(fresh, error, tries=tries)
            half = len(fresh) // 2
            self._append(fresh[:half], tries=1)
            self._append(fresh[half:], tries=1)

    def _finish(self, end: RunEnd) -> None:
        try:
            self._end(end)
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse([end], error)
        self._runs.pop(end.run.uid, None)
        for key in [key for key in self._tables if key[0] == end.run.uid]:
            del self._tables[key]

    def _refuse(self, steps: Sequence[Row | RunEnd], error: Exception, *, tries: int = TRIES) -> None:
        """Put steps aside, unless the catalogue is away, or they are to be tried again."""
        self._judge(steps, error, tries=tries)
        run = steps[0].run
        _log.error("decisions of %s are refused by the catalogue and refused: %s", run.agent, error, exc_info=error)
        self._refused_decisions.put(steps, reason_of(error))

    def _judge(self, steps: Sequence[Row | RunEnd], error: Exception, *, tries: int) -> None:
        run = steps[0].run
        self._runs.pop(run.uid, None)  # an append may or may not have arrived: look again
        for key in [key for key in self._tables if key[0] == run.uid]:
            del self._tables[key]
        first = steps[0]
        name = f"{run.uid}/{first.stream}/{first.values[SEQ]}" if isinstance(first, Row) else f"{run.uid}/stop"
        self._attempts.judge(name, error, tries=tries)

    def _end(self, end: RunEnd) -> None:
        run = self._run(end.run)
        counts = end.num_events
        if counts is None:
            tables = {stream: self._table(end.run, stream, end.time) for stream in _streams_of(run)}
            counts = {stream: max(table.complete, *table.beyond, 0) for stream, table in tables.items()}
        stop: dict[str, Any] = {
            "uid": run_uid_part(end.run.uid, "stop"),
            "run_start": end.run.uid,
            "time": end.time,
            "exit_status": end.exit_status,
            "reason": end.reason,
            "num_events": counts,
        }
        run.update_metadata(metadata={"stop": stop}, drop_revision=True)

    def _run(self, run: AgentRun) -> Any:
        if run.uid not in self._runs:
            metadata = {"start": storable(run.start_document())}
            self._runs[run.uid] = child_or_new(self._agents, run.uid, metadata=metadata, specs=_RUN_SPECS)
        return self._runs[run.uid]

    def _table(self, run: AgentRun, stream: StreamName, time: float) -> _Table:
        key = (run.uid, stream)
        if key not in self._tables:
            descriptor = _descriptor(run, stream, time)
            node = child_or_new(self._run(run), stream, metadata=storable(descriptor), specs=_STREAM_SPECS).base
            client = child(node, "internal")
            if client is None:
                data_keys = descriptor["data_keys"]
                schema = _schema(run.columns(stream))
                client = node.create_appendable_table(schema, key="internal", metadata=storable(data_keys))
                self._tables[key] = _Table(client, schema, {})
            else:
                self._tables[key] = _table_there(run, stream, node, client)
        return self._tables[key]


def _descriptor(run: AgentRun, stream: StreamName, time: float) -> dict[str, Any]:
    data_keys: dict[str, dict[str, Any]] = {}
    for column, (kind, holds) in run.columns(stream).items():
        data_keys[column] = {"dtype": kind, "shape": [], "source": f"{run.agent}:{holds}"}
        if column != holds:
            data_keys[column][TRUE_NAME] = holds
    uid = run_uid_part(run.uid, stream)
    return {"uid": uid, "time": time, "data_keys": data_keys, "configuration": {}, "hints": {}}


def _schema(columns: Mapping[str, tuple[ColumnType, str]]) -> Any:
    fields = [(name, _ARROW[kind]) for name, (kind, _) in columns.items()]
    stamps = [(f"ts_{name}", pa.float64()) for name in columns]
    return pa.schema([("seq_num", pa.int64()), ("time", pa.float64()), *fields, *stamps])


def _table_there(run: AgentRun, stream: StreamName, node: Any, client: Any) -> _Table:
    """Return a table that is in the catalogue already, with the columns that it has."""
    sources = {
        data_key["source"]: column
        for column, data_key in node.metadata["data_keys"].items()
        if column not in OWN_COLUMNS
    }
    own = run.point_columns(stream).items()
    columns = {column: sources[f"{run.agent}:{name}"] for name, column in own if f"{run.agent}:{name}" in sources}
    table = _Table(client, client.structure().arrow_schema_decoded, columns)
    written = client.read(["seq_num", SEQ])
    if len(written):
        table.add(map(int, written["seq_num"]), map(int, written[SEQ]))
    return table


def _seq(row: Row) -> int:
    return int(row.values[SEQ] or 0)


def _name(row: Row) -> tuple[str, StreamName, int, int | None]:
    return row.run.uid, row.stream, _seq(row), row.number


def _streams_of(run: Any) -> list[StreamName]:
    names: list[StreamName] = ["suggest", "ingest", "report"]
    there = set(run.base)
    return [name for name in names if name in there]


def _append(table: _Table, rows: list[Row]) -> None:
    dicts: list[dict[str, Any]] = []
    first = table.numbered(rows[0])
    for i, row in enumerate(rows):
        values = {table.columns.get(name, name): value for name, value in row.values.items()}
        number = first + i if row.number is None else row.number
        dicts.append({"seq_num": number, "time": row.time, **values, **{f"ts_{name}": row.time for name in values}})
    names = set(table.schema.names)
    added = pa.Table.from_pylist(
        [{key: value for key, value in row.items() if key in names} for row in dicts], schema=table.schema
    )
    table.client.append_partition(0, added)
    table.add((row["seq_num"] for row in dicts), map(_seq, rows))
