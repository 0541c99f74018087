"""Two services on one journal, in processes: one leads, the other takes over with what was under way."""

import contextlib
import signal
import time

import peers
import pytest
from services import wait_until
from standby_pair import Serving

from agent_service.service.keys import KeyFile, Scope
from agent_service.state_dir import StateDir

KAFKA = """
[[sources]]
kind = "kafka"
topics = ["{topic}"]
servers = "{servers}"
group = "beamline"
"""
NATS = """
[[sources]]
kind = "nats"
servers = "{servers}"
"""


@contextlib.contextmanager
def kafka(folder):
    with peers.kafka_broker(folder) as broker:
        yield KAFKA.format(**vars(broker)), peers.KafkaPublisher(broker.servers, broker.topic)


@contextlib.contextmanager
def nats(folder):
    with peers.nats_server(folder) as server, contextlib.closing(peers.NatsPublisher(server.servers)) as publish:
        yield NATS.format(**vars(server)), publish


@pytest.mark.parametrize("bus", [kafka, nats])
def test_a_standby_goes_on_with_what_was_under_way_and_a_leader_that_wakes_ends(postgres, tmp_path, bus):
    with bus(tmp_path) as (source, publish):
        _take_over_twice(tmp_path, publish, url=postgres.database(), more=source)


def _take_over_twice(folder, publish, **about):
    first, second = (Serving(folder / name, **about) for name in ("first", "second"))
    with contextlib.closing(first), contextlib.closing(second):
        first.start().until_ready()
        second.start().until_standing_by()
        assert second.http.get("/api/v1/agents").status_code == 503
        walker = {"name": "walker", "type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"]}
        first.post("agents", {**walker, "outcome": "signal", "executor": "thread", "loop": {"max_runs": 3}})
        first.post("agents/walker/start")
        measured = _measured_across(first, second, publish)
        _, secret = KeyFile(StateDir(first.folder / "service.state").keys_file).create("alice", [Scope.READ])
        first.start().until_standing_by()
        headers = {"Authorization": f"Apikey {secret}"}
        wait_until(lambda: second.http.get("/api/v1/agents", headers=headers).status_code == 200, within_s=60)
        second.child.send_signal(signal.SIGSTOP)
        first.until_ready()
        second.child.send_signal(signal.SIGCONT)
        assert second.child.wait(120) == 75
        assert first.get(f"suggestions/{measured}")["state"] == "ingested"
        assert first.post("suggestions/claim", {"agent": "walker", "wait_s": 30})["id"] != measured


def _measured_across(first, second, publish):
    """Measure a suggestion half before and half after the first was killed; return its id."""
    heard = "connected"  # a new consumer hears what comes from then on
    wait_until(lambda: first.get("service")["sources"][0]["state"] == heard, within_s=60)
    claimed = first.post("suggestions/claim", {"agent": "walker", "wait_s": 30})
    documents = peers.run_documents(2, **claimed["md"])
    for pair in documents[:2]:
        publish(*pair)
    publish.flush()
    wait_until(lambda: first.get(f"suggestions/{claimed['id']}")["state"] == "running", within_s=60)
    time.sleep(3)  # how long the run is under way already: longer than clocks may differ, no wait for anything
    first.child.kill()
    first.child.wait(60)
    second.until_ready()
    wait_until(lambda: second.get("agents/walker")["state"] == "running", within_s=60)
    for pair in documents[2:]:
        publish(*pair)
    publish.flush()
    wait_until(lambda: second.get(f"suggestions/{claimed['id']}")["state"] == "ingested", within_s=120)
    return claimed["id"]
