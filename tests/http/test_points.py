"""All points of an agent as a table: one set of columns, as JSON in pages, CSV, Arrow and a DataFrame."""

import csv
import io
import subprocess
import sys
import uuid

import pandas as pd
import pyarrow as pa
import pytest
from headless_service import service
from services import wait_until

from agent_service.agents.point_table import PointTable
from agent_service.client import Client
from agent_service.models import EventKind
from agent_service.models.state_machines import SuggestionState

NUMBER = 4000
OWN = ["run_uid", "time", "suggestion", "fate", "by", "approved_by", "reason"]
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def measured(served):
    """An agent with a measured point of each origin, a rejected one and one that waits."""
    served.create("all", loop={"max_runs": 2, "approval": "first 1"}, space={"y": {"type": "int", "low": 0, "high": 9}})
    served.post("agents/all/start")
    [first] = wait_until(lambda: served.suggestions("all", state="proposed"))
    served.post(f"suggestions/{first['id']}/reject", {"reason": "too far"})
    wait_until(lambda: served.suggestions("all", state="proposed"))
    served.post("agents/all/ingest", {"points": [{"x": 5, "y": 3, "signal": 1.5}]})
    served.post(f"suggestions/{served.suggestions('all', state='proposed')[0]['id']}/approve")
    served.until("all", "stopped", within_s=60)
    served.post("agents/all/suggestions", {"point": {"x": 0.5, "y": 1}, "reason": "why not"})
    return served


def table(service, kind, **params):
    answer = service.http.get("/api/v1/agents/all/points", headers={"Accept": kind}, params=params)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
    return answer


def test_one_set_of_columns_in_every_format(measured):
    page = table(measured, "application/json").json()
    names = [column["name"] for column in page["columns"]]
    assert names == [*OWN, "x", "y", "signal"]
    assert [column["type"] for column in page["columns"]][-3:] == ["number", "whole", "number"]
    rows = page["items"]
    assert page["next"] is None
    assert [row["fate"] for row in rows] == ["rejected", "ingested", "ingested", "ingested", "proposed"]
    assert [row["by"] for row in rows] == ["loop", "owner", "loop", "loop", "owner"]
    assert [row["approved_by"] for row in rows] == [None, None, "owner", None, None]
    assert [row["signal"] for row in rows][:2] == [None, 1.5]
    assert [bool(row["run_uid"]) for row in rows] == [False, False, True, True, False]
    assert rows[0]["reason"] == "rejected by a person: too far"
    as_csv = list(csv.DictReader(io.StringIO(table(measured, "text/csv").text)))
    assert list(as_csv[0]) == names
    assert [[row[name] or None for name in OWN] for row in as_csv] == [[row[name] for name in OWN] for row in rows]
    arrow = pa.ipc.open_stream(table(measured, ARROW).content).read_all()
    assert arrow.schema.names == names
    assert arrow.schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert [{**row, "time": row["time"].isoformat()} for row in arrow.to_pylist()] == rows
    with Client(measured.url, api_key=measured.server.api_key) as client:
        frame = client.points("all")
    assert list(frame.columns) == names
    assert frame["signal"].dropna().tolist() == [row["signal"] for row in rows if row["signal"] is not None]
    assert [when.isoformat() for when in frame["time"]] == [row["time"] for row in rows]


def test_pages_hold_all_of_it_once(measured):
    every, cursor = [], None
    whole = table(measured, "application/json").json()["items"]
    while True:
        page = table(measured, "application/json", limit=2, **({"cursor": cursor} if cursor else {})).json()
        every += page["items"]
        if (cursor := page["next"]) is None:
            break
    assert every == whole


def test_an_agent_without_points_is_an_empty_table(served):
    served.create("nothing")
    with Client(served.url, api_key=served.server.api_key) as client:
        frame = client.points("nothing")
    assert (len(frame), list(frame.columns)) == (0, OWN)
    assert isinstance(frame, pd.DataFrame)
    found = served.http.get("/api/v1/agents/nothing/points", headers={"Accept": "text/csv"})
    assert found.text == ",".join([*OWN, "x", "y", "signal"]) + "\r\n"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/*", "text/csv"),
        ("text/html, text/csv;q=0.5, application/json;q=0.1", "text/csv"),
        (f"text/csv;q=0.2, {ARROW}", ARROW),
        ("application/json;q=0, text/csv", "text/csv"),
    ],
)
def test_the_client_says_which_format(measured, accept, kind):
    answer = measured.http.get("/api/v1/agents/all/points", headers={"Accept": accept})
    assert answer.headers["content-type"].split(";")[0] == kind


def test_another_format_is_refused_in_words(measured):
    for accept in ("text/html", "image/png;q=1", "application/json;q=0"):
        found = measured.problem("GET", "agents/all/points", 406, "not_acceptable", headers={"Accept": accept})
        assert f"points come as application/json, text/csv or {ARROW}" in found["detail"]
    measured.problem("GET", "agents/nobody/points", 404, "not_found")


def test_without_pyarrow_it_says_so(measured, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = measured.problem("GET", "agents/all/points", 406, "not_acceptable", headers={"Accept": ARROW})
    assert "install pyarrow" in found["detail"]


def test_neither_pandas_nor_pyarrow_is_imported_unasked():
    code = (
        "import sys, agent_service.server.routes.points, agent_service.client\n"
        "from agent_service.client import Client\nClient('http://127.0.0.1:1')\n"
        "sys.exit(sorted({'pandas', 'pyarrow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


SIMPLE = {"actuators": ["x"], "outcome": "s"}


async def test_many_points_come_in_order_and_from_anywhere(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await rooms.create("a", **SIMPLE, sensors=["s"])
        for i in range(NUMBER):
            new = str(uuid.uuid4())
            proposed = {"id": new, "state": SuggestionState.PROPOSED, "point": {"x": i}, "by": "loop"}
            told = {"points": [{"x": i, "s": 2.0 * i, "_id": new}], "run_uids": [f"run-{i}"], "best": []}
            rooms.journal.post(EventKind.SUGGESTION_STATE, "a", proposed)
            rooms.journal.post(EventKind.INGEST, "a", told)
            last = rooms.journal.post(EventKind.SUGGESTION_STATE, "a", {"id": new, "state": SuggestionState.INGESTED})
        await last
        made = PointTable(agent.record, rooms.journal)
        rows = list(made.rows())
        assert [row["x"] for _, row in rows] == list(range(NUMBER))
        assert rows[-1][1]["run_uid"] == f"run-{NUMBER - 1}"
        half = rows[NUMBER // 2 - 1][0]
        assert next(made.rows(after=half))[1]["x"] == NUMBER // 2
        assert len(list(made.rows(after=half))) == NUMBER // 2


async def test_a_name_that_a_column_has_already_is_told_apart(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await rooms.create("a", actuators=["time", "x"], outcome=["by", "x2"], sensors=["s"])
        spec = agent.record.spec.model_copy(update={"outcome": ["by", "x"]})
        agent.record.spec = spec
        columns = PointTable(agent.record, rooms.journal).columns[len(OWN) :]
    assert [(column.name, column.of) for column in columns] == [
        ("actuator.time", "time"),
        ("x", "x"),
        ("outcome.by", "by"),
        ("outcome.x", "x"),
    ]
