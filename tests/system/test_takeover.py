"""Two services on one journal, in processes: one leads, the other takes over with what was under way."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import peers
import pytest
from queue_service import free_ports
from services import wait_until

from agent_service.service.keys import KeyFile, Scope
from agent_service.state_dir import StateDir

KEY = "k" * 32
SUPPORT = Path(__file__).parents[1] / "support"
TOML = """
[service]
port = {port}
catalog = "none"
[journal]
url = "{url}"
standby = true
lease_s = 1
[sink]
kind = "claim"
[[sources]]
kind = "kafka"
topics = ["{topic}"]
servers = "{servers}"
group = "beamline"
"""


class Serving:
    """One of the services."""

    def __init__(self, folder, **values):
        folder.mkdir()
        [port] = free_ports(1)
        (folder / "service.toml").write_text(TOML.format(port=port, **values))
        self.folder = folder
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Apikey {KEY}"}, timeout=60
        )
        self.child = None

    def start(self):
        path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
        with (self.folder / "log").open("a") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "agent_service", "serve", "service.toml"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": path, "AGENT_SERVICE_API_KEY": KEY},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def readyz(self):
        with contextlib.suppress(httpx.HTTPError):
            return self.http.get("/readyz")
        return None

    def until_ready(self):
        wait_until(
            lambda: (said := self.readyz()) is not None and said.status_code == 200,
            within_s=120,
            what=lambda: f"readiness: {(self.folder / 'log').read_text()[-2000:]}",
        )

    def until_standing_by(self):
        wait_until(lambda: (said := self.readyz()) is not None and "standing by" in said.text, within_s=120)

    def get(self, path):
        answer = self.http.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, body=None):
        answer = self.http.post(f"/api/v1/{path}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def close(self):
        self.http.close()
        if self.child is not None:
            self.child.kill()
            self.child.wait(60)


@pytest.fixture
def broker(tmp_path):
    with peers.kafka_broker(tmp_path) as one:
        yield one


def test_a_standby_goes_on_with_what_was_under_way_and_a_leader_that_wakes_ends(postgres, tmp_path, broker):
    about = {"url": postgres.database(), "topic": broker.topic, "servers": broker.servers}
    first, second = (Serving(tmp_path / name, **about) for name in ("first", "second"))
    with contextlib.closing(first), contextlib.closing(second):
        first.start().until_ready()
        second.start().until_standing_by()
        assert second.http.get("/api/v1/agents").status_code == 503
        walker = {"name": "walker", "type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"]}
        first.post("agents", {**walker, "outcome": "signal", "executor": "thread", "loop": {"max_runs": 3}})
        first.post("agents/walker/start")
        measured = _measured_across(first, second, broker)
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


def _measured_across(first, second, broker):
    """Measure a suggestion half before and half after the first was killed; return its id."""
    heard = "connected"  # a new consumer hears what comes from then on
    wait_until(lambda: first.get("service")["sources"][0]["state"] == heard, within_s=60)
    claimed = first.post("suggestions/claim", {"agent": "walker", "wait_s": 30})
    publish = peers.KafkaPublisher(broker.servers, broker.topic)
    documents = peers.run_documents(2, **claimed["md"])
    for pair in documents[:2]:
        publish(*pair)
    publish.flush()
    wait_until(lambda: first.get(f"suggestions/{claimed['id']}")["state"] == "running", within_s=60)
    first.child.kill()
    first.child.wait(60)
    second.until_ready()
    wait_until(lambda: second.get("agents/walker")["state"] == "running", within_s=60)
    for pair in documents[2:]:
        publish(*pair)
    publish.flush()
    wait_until(lambda: second.get(f"suggestions/{claimed['id']}")["state"] == "ingested", within_s=120)
    return claimed["id"]
