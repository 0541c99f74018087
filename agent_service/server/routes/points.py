"""The points of an agent as a table: JSON in pages, CSV or Arrow whole, as the client accepts."""

from __future__ import annotations

import asyncio
import csv
import io
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from agent_service.agents.point_table import PointTable
from agent_service.errors import NotAcceptable
from agent_service.models import PointPage
from agent_service.models.values import is_number
from agent_service.server.auth import READ
from agent_service.server.pagination import Cursor, Limit, position
from agent_service.server.routes import ServiceDep, as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_service.agents.point_table import Row

router = APIRouter(prefix="/agents/{name}", tags=["agents"])

JSON: Final = "application/json"
CSV: Final = "text/csv"
ARROW: Final = "application/vnd.apache.arrow.stream"
_CHUNK: Final = 1000
"""Rows that are made at a time."""


@router.get(
    "/points",
    dependencies=[READ],
    responses={
        200: {
            "model": PointPage,
            "description": "Successful Response",
            "content": {CSV: {"schema": {"type": "string"}}, ARROW: {"schema": {"type": "string", "format": "binary"}}},
        },
        406: {"description": "Not Acceptable"},
    },
)
async def points(
    service: ServiceDep,
    name: str,
    accept: Annotated[str, Header(description=f"{JSON}, {CSV} or {ARROW}")] = JSON,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> Response:
    """Return an agent's points, measured and proposed, one row each; CSV and Arrow hold all of them, JSON a page.

    A page ends with a fact of the journal, so it may hold a few more rows than ``limit``.
    """
    kind = _chosen(accept)
    write = _arrow_writer() if kind == ARROW else None
    table = PointTable(service.supervisor.agent(name).record, service.journal)
    if kind == JSON:
        page = await asyncio.to_thread(_page, table, limit, after=position(cursor))
        return as_json(page.model_dump_json().encode())
    # plain iterators: they are read in a thread
    body = _csv(table) if write is None else write(table)
    ending = "csv" if write is None else "arrow"
    headers = {"Content-Disposition": f'attachment; filename="{name}.{ending}"'}
    return StreamingResponse(body, media_type=kind, headers=headers)


def _chosen(accept: str) -> str:
    """Return the format that a client likes best; `NotAcceptable` when it takes none of them."""
    liked: list[tuple[float, str]] = []
    for part in accept.split(","):
        kind, *parameters = [text.strip().lower() for text in part.split(";")]
        weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        try:
            liked.append((float(weight), kind))
        except ValueError:
            continue
    for weight, kind in sorted(liked, key=lambda choice: -choice[0]):
        if weight and kind in (JSON, CSV, ARROW):
            return kind
        if weight and kind in ("*/*", "application/*"):
            return JSON
        if weight and kind == "text/*":
            return CSV
    raise NotAcceptable(f"points come as {JSON}, {CSV} or {ARROW}; ask for one of them by the header Accept")


def _page(table: PointTable, limit: int, *, after: int) -> PointPage:
    items: list[Row] = []
    last: int | None = None
    for seq, row in table.rows(after=after):
        if len(items) >= limit and seq != last:
            return PointPage(columns=table.columns, items=items, next=str(last))
        items.append({**row, "time": row["time"].isoformat()})
        last = seq
    return PointPage(columns=table.columns, items=items)


def _chunks(table: PointTable) -> Iterator[list[Row]]:
    rows = (row for _, row in table.rows())
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _csv(table: PointTable) -> Iterator[str]:
    names = [column.name for column in table.columns]
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for chunk in chain([[]], _chunks(table)):
        writer.writerows({**row, "time": row["time"].isoformat()} for row in chunk)
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def _arrow_writer() -> Any:
    """Return what writes a table as a stream of Arrow; `NotAcceptable` where pyarrow is not installed."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - only who asks for Arrow needs it
    except ImportError:
        raise NotAcceptable(
            f"this service has no pyarrow, so points come as {JSON} or {CSV}; install pyarrow beside it"
        ) from None
    arrow: Any = pa
    types = {"time": arrow.timestamp("us", tz="UTC"), "number": arrow.float64(), "whole": arrow.int64()}
    types |= {"truth": arrow.bool_(), "text": arrow.string()}

    def write(table: PointTable) -> Iterator[bytes]:
        fields = [arrow.field(column.name, types[column.type]) for column in table.columns]
        schema = arrow.schema(fields)
        sink = io.BytesIO()
        with arrow.ipc.new_stream(sink, schema) as stream:
            for chunk in _chunks(table):
                columns = [[_fit(row[column.name], column.type) for row in chunk] for column in table.columns]
                arrays = [arrow.array(values, field.type) for values, field in zip(columns, fields, strict=True)]
                stream.write_batch(arrow.RecordBatch.from_arrays(arrays, schema=schema))
                yield sink.getvalue()
                sink.seek(0)
                sink.truncate()
        yield sink.getvalue()

    return write


def _fit(value: object, kind: str) -> object:
    """Return a value as a column of its type takes it; what does not fit, of a point from before, as none."""
    if kind == "text":
        return None if value is None else str(value)
    if kind == "truth":
        return value if isinstance(value, bool) else None
    if kind == "time":
        return value
    if not is_number(value):
        return None
    return float(value) if kind == "number" else int(value)
