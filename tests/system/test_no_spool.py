"""A service without a catalogue keeps no documents, so that a restart in the middle of a run needs them once more."""

import contextlib

import peers
import pytest
from services import wait_until


@contextlib.contextmanager
def kafka(folder):
    with peers.kafka_broker(folder) as broker:
        section = {"kind": "kafka", "servers": broker.servers, "topics": [broker.topic]}
        yield section, peers.KafkaPublisher(broker.servers, broker.topic)


@contextlib.contextmanager
def nats(folder):
    with peers.nats_server(folder) as server, contextlib.closing(peers.NatsPublisher(server.servers)) as publish:
        yield {"kind": "nats", "servers": server.servers}, publish


@pytest.mark.parametrize("bus", [kafka, nats])
def test_a_run_that_is_under_way_is_heard_whole_after_a_restart(start, tmp_path, bus):
    with bus(tmp_path) as (section, publish):
        sections = {"sink": {"kind": "claim"}, "sources": [section], "service": {"catalog": "none"}}
        service = start(**sections)
        wait_until(lambda: service.get("service")["sources"][0]["state"] == "connected", within_s=60)
        service.create("walker", loop={"max_runs": 1})
        service.post("agents/walker/start")
        claimed = service.post("suggestions/claim", {"agent": "walker", "wait_s": 30})
        run = peers.run_documents(2, **claimed["md"])
        for pair in run[:3]:
            publish(*pair)
        publish.flush()
        wait_until(lambda: service.get(f"suggestions/{claimed['id']}")["state"] == "running", within_s=60)
        wait_until(lambda: service.get("service")["sources"][0]["documents"] == 3, within_s=60)
        service.close()
        service = start(**sections)
        for pair in run[3:]:
            publish(*pair)
        publish.flush()
        fate = lambda: service.get(f"suggestions/{claimed['id']}")  # noqa: E731
        wait_until(lambda: fate()["state"] == "ingested", within_s=60, what=fate)
        assert (fate()["run_uid"], fate()["outcome"]) == (run[0][1]["uid"], {"signal": 2.5})
