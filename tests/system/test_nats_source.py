"""A service that hears NATS JetStream, with the server and the stream away."""

import contextlib

import peers
import pytest
from services import wait_until

from agent_service.documents.sources import nats
from agent_service.errors import UsageError

CLAIM = {"kind": "claim"}


def source(service):
    return service.get("service")["sources"][0]


def connected(service):
    wait_until(lambda: source(service)["state"] == "connected", within_s=40, what="the source")


def test_a_server_that_is_away_is_said_and_what_it_kept_is_heard(start, tmp_path):
    with peers.nats_server(tmp_path) as server:
        service = start(sink=CLAIM, sources=[{"kind": "nats", "servers": server.servers}])
        reason = wait_until(lambda: "no stream" in str(source(service)["reason"]) and source(service)["reason"])
        assert reason == "there is no stream bluesky in its JetStream"
        with contextlib.closing(peers.NatsPublisher(server)) as publish:
            connected(service)
            service.create("walker", loop={"max_runs": 1})
            service.post("agents/walker/start")
            found = service.post("suggestions/claim", {"agent": "walker", "wait_s": 10})
            run = peers.run_documents(2, **found["md"])
            for pair in run[:2]:
                publish(*pair)
            publish.flush()
            wait_until(lambda: service.get(f"suggestions/{found['id']}")["state"] == "running")
        server.kill()
        wait_until(lambda: source(service)["state"] == "reconnecting", within_s=40)
        server.start()
        with contextlib.closing(peers.NatsPublisher(server)) as publish:
            for pair in run[2:]:
                publish(*pair)
            publish.flush()
        ended = wait_until(
            lambda: (one := service.get(f"suggestions/{found['id']}"))["state"] == "ingested" and one, within_s=40
        )
        assert (ended["run_uid"], ended["outcome"]) == (run[0][1]["uid"], {"signal": 2.5})


def test_a_new_consumer_hears_what_is_published_from_its_start_on(tmp_path):
    """The first plan may run before there is a stream, or a connection."""
    with peers.nats_server(tmp_path) as server:
        source = nats.NatsSource(server.servers, stream="bluesky", subject="events.>", durable="ours")
        source.start(kept := peers.Kept())
        try:
            wait_until(lambda: "no stream" in str(source.status.reason))
            with contextlib.closing(peers.NatsPublisher(server)) as publish:
                names = peers.published_run(publish)
            wait_until(lambda: kept == names, within_s=40, what=lambda: kept)
        finally:
            source.stop()


def test_a_server_that_has_nothing_new_is_not_away(start, tmp_path, monkeypatch):
    """Whichever of its time-outs the library raises, as on a machine that is busy."""
    monkeypatch.setattr(nats, "_WAITS_S", 0.002)
    with peers.nats_server(tmp_path) as server, contextlib.closing(peers.NatsPublisher(server)) as publish:
        service = start(sink=CLAIM, sources=[{"kind": "nats", "servers": server.servers}])
        connected(service)
        since = source(service)["since"]
        for heard in range(1, 30):
            publish("datum", {"datum_id": str(heard), "resource": "nobody's", "datum_kwargs": {}})
            publish.flush()
            wait_until(lambda heard=heard: source(service)["documents"] >= heard, within_s=40)
        assert (source(service)["state"], source(service)["since"]) == ("connected", since)


def test_a_missing_library_is_one_line_that_names_the_extra(start, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nats", None)
    with pytest.raises(UsageError, match=r'pip install "bluesky-agent-service\[nats\]"'):
        start(sink=CLAIM, sources=[{"kind": "nats", "servers": "nats://127.0.0.1:9"}])
