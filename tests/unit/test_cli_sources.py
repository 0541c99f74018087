"""What ``agent-service status`` says of sources and of runs that did not arrive whole."""

import io

from rich.console import Console

from agent_service.cli._status import _service_table
from agent_service.models import ArchiveStatus, QueueStatus, ServiceStatus, SourceStatus, SuspectRun, utcnow


def shown(*, sources, suspects=()):
    status = ServiceStatus(
        version="1",
        session="s",
        started_at=utcnow(),
        uptime_s=1.0,
        state_dir="state",
        agents={},
        queue=QueueStatus(kind="claim", state="idle"),
        archive=ArchiveStatus(catalog="none", state="none"),
        sources=sources,
        suspects=list(suspects),
        scopes=[],
    )
    console = Console(file=io.StringIO(), width=200)
    console.print(_service_table("http://127.0.0.1:1", status))
    return console.file.getvalue()


def test_a_source_that_is_away_and_a_run_that_is_not_whole_are_said():
    away = SourceStatus(kind="zmq", where="tcp://proxy:5568", state="reconnecting", since=utcnow(), reason="nobody")
    here = SourceStatus(kind="posted", state="connected", since=utcnow())
    run = SuspectRun(uid="r1", reason="2 of 3 events of stream primary did not come", for_s=12.3)
    text = shown(sources=[here, away], suspects=[run])
    assert "zmq tcp://proxy:5568, reconnecting (nobody)" in text
    assert "run r1: 2 of 3 events of stream primary did not come, for 12 s" in text
    assert "posted" not in text


def test_a_source_that_is_there_says_when_its_last_document_came_and_how_far_it_is_behind():
    now = utcnow()
    there = SourceStatus(kind="kafka", where="k:9092", state="connected", since=now, last_document=now, lag=7)
    assert f"connected, last document {now.astimezone():%b %d %H:%M:%S}, 7 behind" in shown(sources=[there])
