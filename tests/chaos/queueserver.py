"""A service on a queue server: service, manager and worker are killed, and people put items of theirs in between."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from queue_service import Forwarder, QueueService
from services import wait_until

from agent_service import Client
from agent_service.errors import ServiceError
from agent_service.journal import reader

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPPORT = Path(__file__).parents[1] / "support"
TOML = """
[service]
port = 0
catalog = "none"
[sink]
kind = "queueserver"
control = "{control}"
poll_s = 0.1
[[sources]]
kind = "posted"
"""
SPEC: dict[str, Any] = {
    "type": "sobol",
    "config": {"bounds": {"motor": [-5, 5]}},
    "actuators": ["motor"],
    "sensors": ["det"],
    "outcome": "det",
    "executor": "thread",
    "guardrails": {"bounds": {"motor": [-5, 5]}},
    "loop": {"max_failures": 10_000},
}
FATES = ("ingested", "failed", "expired", "abandoned", "rejected")


class Service:
    """The service in a process of its own, and what people do with it."""

    def __init__(self, folder: Path, control: str) -> None:
        self.folder = folder
        self.state = folder / "service.state"
        self.child: subprocess.Popen[bytes] | None = None
        (folder / "service.toml").write_text(TOML.format(control=control))

    def start(self) -> None:
        (self.state / "service.json").unlink(missing_ok=True)
        path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
        with (self.folder / "service.log").open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "agent_service", "serve", "service.toml"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.child is not None
        self.child.send_signal(number)
        self.child.wait(60)

    def where(self) -> tuple[str, str]:
        try:
            with Client.from_state(self.state) as client:
                return client.url, client.api_key or ""
        except ServiceError as error:
            raise OSError(str(error)) from error

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Return a client of the service that is ready."""

        def ready() -> bool:
            with contextlib.suppress(ServiceError, httpx.HTTPError), Client.from_state(self.state) as one:
                return one.ready().ready
            return False

        wait_until(ready, within_s=60, what="a ready service")
        with Client.from_state(self.state, timeout_s=30) as one:
            yield one


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Kill parts ``kills`` times, let the service finish, and check what must be true then."""
    say(f"chaos queueserver: seed {seed}, {kills} kills, in {folder}")
    chance = random.Random(seed)
    queue = QueueService(folder / "queue")
    service = Service(folder, queue.control)
    killed: Counter[str] = Counter()
    theirs = 0
    try:
        queue.open()
        service.start()
        with Forwarder(queue, service.where):
            with service.client() as client:
                client.create(**SPEC, name="aligner")
                client.start("aligner")
            while killed.total() < kills:
                with service.client():
                    _until_it_measures(queue, sum(queue.heard.values()))
                time.sleep(chance.uniform(0, 1.5))  # a part of its life, not a wait for anything
                kind = chance.choices(["service", "manager", "worker", "person"], [50, 15, 10, 25])[0]
                if kind == "person":
                    theirs += bool((queue.person() or {}).get("success"))
                elif _strike(kind, queue, service):
                    killed[kind] += 1
            queue.answers()
            _mended_by_a_person(queue, anyhow=False)
            with service.client() as client:
                with contextlib.suppress(ServiceError):  # it may be held, after plans that were nowhere
                    client.resume_queue()
                wait_until(lambda: client.agent("aligner").state == "running", within_s=60, what="the agent")
                client.stop("aligner")
                wait_until(lambda: _all_decided(client), within_s=120, what="a fate for each suggestion")
                suggestions = {one.id: one for one in client.suggestions("aligner")}
            service.kill(signal.SIGTERM)
        left = (queue.ask("queue_get") or {}).get("items", [])
        _check(queue, service, suggestions, left=left, theirs=theirs, killed=killed, say=say)
    finally:
        if service.child is not None and service.child.poll() is None:
            service.kill()
        queue.close()


def _strike(kind: str, queue: QueueService, service: Service) -> bool:
    """Kill a part; return whether it was there."""
    if kind == "service":
        service.kill()
        service.start()
        return True
    pid = queue.manager_pid if kind == "manager" else queue.worker
    if pid is None:
        return False
    queue.kill(pid)
    if kind == "worker":
        _mended_by_a_person(queue)
    return True


def _until_it_measures(queue: QueueService, before: int) -> None:
    """Wait for another run: what was under way at the last kill is looked for first."""
    wait_until(lambda: sum(queue.heard.values()) > before, within_s=60, what="another run")


def _mended_by_a_person(queue: QueueService, *, anyhow: bool = True) -> None:
    """Do what a person does who notices that the worker died: destroy the environment, and open another one."""
    queue.answers()
    if anyhow:
        queue.destroy()
    for _ in range(3):  # the manager may be away as it is to open one
        with contextlib.suppress(AssertionError):
            queue.open()
            return
        queue.destroy()


def _all_decided(client: Client) -> bool:
    return all(one.state not in ("submitted", "running", "measured") for one in client.suggestions("aligner"))


def _check(  # noqa: PLR0913 - what there is to compare
    queue: QueueService,
    service: Service,
    suggestions: dict[str, Any],
    *,
    left: list[dict[str, Any]],
    theirs: int,
    killed: Counter[str],
    say: Any,
) -> None:
    facts = reader(f"sqlite:///{service.state}/journal.db").read(limit=1_000_000)
    ends = Counter(
        str(one.data["id"]) for one in facts if one.kind == "suggestion.state" and one.data["state"] in FATES
    )
    late = {
        str(one.data["id"]) for one in facts if one.kind == "suggestion.state" and one.data["state"] in FATES[2:4]
    }  # an outcome may follow these
    measured = {
        queue_run["uid"]: queue_run["agent_suggestion_uid"]
        for name, queue_run in queue.documents
        if name == "start" and "agent_suggestion_uid" in queue_run
    }
    complete = {
        measured[doc["run_start"]]
        for name, doc in queue.documents
        if name == "stop" and doc["run_start"] in measured and doc["exit_status"] == "success"
    }
    fates = Counter(str(one.state) for one in suggestions.values())
    say(
        f"chaos queueserver: killed {dict(killed)}; {len(measured)} runs; fates {dict(fates)}; {theirs} items of people"
    )
    assert len(measured) >= killed.total(), "it hardly measured"
    doubled = [uid for uid, count in queue.heard.items() if count > 1]
    contradictory = [uid for uid, count in ends.items() if count > 1 and uid not in late]
    contradictory += [uid for uid, one in suggestions.items() if one.state == "ingested" and uid not in complete]
    contradictory += [uid for uid, one in suggestions.items() if one.state == "rejected" and uid in queue.heard]
    lost = [uid for uid, one in suggestions.items() if uid in complete and one.state not in ("ingested", "proposed")]
    assert not doubled, f"measured twice: {doubled}"
    assert not contradictory, f"two fates: {contradictory}"
    assert not lost, (
        f"measured, and no outcome: {[(uid, suggestions[uid].state, suggestions[uid].reason) for uid in lost]}"
    )
    assert set(measured.values()) <= set(suggestions), "a run of no suggestion"
    started = [doc for name, doc in queue.documents if name == "start" and doc.get("by") == "hand"]
    assert not started, "an item of a person was started"
    assert len(left) == theirs, f"{theirs} items of people, and {len(left)} are left"
