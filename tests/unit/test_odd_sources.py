"""What peers send that nobody should: a source leaves it out, says so, and goes on with what comes after it."""

import json
import pickle
import time
from types import SimpleNamespace

import pytest
from services import wait_until

from agent_service.documents.packing import pack
from agent_service.documents.sources.acknowledged import Acknowledged
from agent_service.documents.sources.kafka import KafkaSource
from agent_service.documents.sources.stomp import StompSource
from agent_service.documents.sources.tiled import TiledSource
from agent_service.documents.sources.tiled_catalogue import CataloguedRun
from agent_service.documents.sources.zmq import ZmqSource
from agent_service.errors import BackendUnavailable

GOOD = ("start", {"uid": "a"})
ODD = [
    ["start"],
    ["start", {"uid": "a"}, 3],
    [["start"], {"uid": "a"}],
    [{"start": 1}, {"uid": "a"}],
    [None, None],
    ["startt", {"uid": "a"}],
    ["start", ["uid", "a"]],
    ["start", {}],
    ["start", {"uid": ""}],
    ["start", {"uid": 3}],
    ["start", {"uid": ["a"]}],
    ["start", {"uid": "../a"}],
    ["start", {"uid": "a" * 1000}],
    ["descriptor", {"uid": "d", "run_start": "../a"}],
    ["event", {1: 2}],
    "start",
    None,
    3,
]


class Taken:
    """An intake that says at once that a document is on disk."""

    def __init__(self):
        self.documents = []

    def put(self, name, document, stored=None):
        self.documents.append((name, document))
        if stored is not None:
            stored()


def zmq_source():
    source = ZmqSource("127.0.0.1:9")

    def send(body):
        name = body[0] if isinstance(body, list) and body and isinstance(body[0], str) else "start"
        document = body[1] if isinstance(body, list) and len(body) > 1 else body
        source._take(b" ".join((b"", name.encode(), pack(document))))

    return source, send, source._take


def kafka_source():
    source = KafkaSource(["t"], servers="127.0.0.1:9", group="g", options={})
    kept = source._partitions["t", 0] = Acknowledged(0)
    offsets = iter(range(1000))

    def raw(body):
        at = next(offsets)
        source._take(SimpleNamespace(topic=lambda: "t", partition=lambda: 0, offset=lambda: at, value=lambda: body))
        assert kept.upto == at + 1, "its offset is kept back"

    return source, lambda body: raw(pack(body)), raw


def stomp_source():
    source = StompSource("127.0.0.1", 9)

    def send(body):
        pair = body if isinstance(body, list) and len(body) == 2 else [body, body]
        source._take(json.dumps({"name": pair[0], "doc": pair[1]}))

    return source, send, lambda raw: source._take(raw.decode("utf-8", "replace"))


@pytest.mark.parametrize("made", [zmq_source, kafka_source, stomp_source])
def test_what_is_no_document_is_left_out_and_said_and_the_next_one_is_taken(made):
    source, send, raw = made()
    source._intake = intake = Taken()
    source.presence.connected()
    for body in ODD:
        send(body)
    for body in (b"", b" ", b"\x80", pickle.dumps(GOOD), b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000, b"[" * 100_000):
        raw(body)
    assert "publishes" in source.presence.status.reason
    assert [document for _, document in intake.documents if "../a" in str(document)] == []
    intake.documents.clear()
    send(list(GOOD))
    assert intake.documents == [GOOD]


class OneBadRun:
    """A catalogue of three runs; the documents of the one in the middle cannot be had."""

    def __init__(self, at):
        self.runs = [CataloguedRun(uid, {"uid": uid}, {"time": time}) for uid, time in zip("abc", at, strict=True)]

    async def of_suggestions(self, wanted):
        return []

    async def newest_first(self):
        yield self.runs[::-1]

    async def documents(self, uid):
        if uid == "b":
            raise BackendUnavailable("it answers 500 at /api/v1/container/full/b")
        run = next(one for one in self.runs if one.uid == uid)
        return [("start", run.start), ("stop", run.stop)]


def tiled_source(tmp_path):
    taken = Taken()
    source = TiledSource(
        OneBadRun, where="http://127.0.0.1:9", has_ended=lambda _: False, cursor=tmp_path / "cursor.json"
    )
    source._cursor.read()
    source.presence.connected()
    source._intake = taken
    return source, taken


async def test_a_run_that_a_catalogue_cannot_give_holds_up_no_other(tmp_path):
    source, taken = tiled_source(tmp_path)
    soon = time.time() + 1
    await source._look(OneBadRun([soon, soon, soon]))
    assert [document["uid"] for name, document in taken.documents if name == "start"] == ["a", "c"]
    assert "it does not give run b, which is asked for again: it answers 500" in source.presence.status.reason


@pytest.mark.parametrize("kept", [None, {"begun": 4e9, "newest": 4e9}])
async def test_a_clock_that_was_ahead_leaves_out_no_later_run(tmp_path, kept):
    if kept is not None:
        (tmp_path / "cursor.json").write_text(json.dumps(kept))
    source, taken = tiled_source(tmp_path)
    soon = time.time() + 1
    await source._look(OneBadRun([4e9, soon, soon]))
    again, later = tiled_source(tmp_path)
    await again._look(OneBadRun([soon, soon, soon + 1]))
    assert [document["uid"] for name, document in taken.documents if name == "start"] == ["a", "c"]
    assert [document["uid"] for name, document in later.documents if name == "start"] == ["a", "c"]


def test_a_broker_where_nobody_answers_is_said_by_the_source_alone(caplog):
    source = StompSource("127.0.0.1", 9)
    source.start(Taken())
    try:
        wait_until(lambda: "nobody answers there" in (source.status.reason or ""), what="its absence")
    finally:
        source.stop()
    assert {record.name for record in caplog.records if record.levelname == "WARNING"} <= {
        "agent_service.documents.sources.presence"
    }
