"""A service that measures at a blueapi is killed, and blueapi with it, while connections break and a person scans.

What ran is told by blueapi's own documents, which its profile writes to a file; whoever has the file posts them.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import httpx
from blueapi_peer import SESSION, Blueapi, needs_blueapi
from cut_connections import CuttingProxy
from services import wait_until

from agent_service import Client
from agent_service.errors import ServiceError

from .fates import Fates
from .storm import SUPPORT, start
from .zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOML = """
[service]
port = 0
catalog = "none"
[sink]
kind = "blueapi"
url = "http://127.0.0.1:{port}"
instrument_session = "{session}"
[[sources]]
kind = "posted"
"""
RUNS_PER_KILL = 1
LONGEST_LIFE_S = 0.6
BLUEAPI_EVERY = 10
"""Of so many kills one is blueapi's: it takes long to start."""

POSTED_AGAIN = 3
"""So many runs are posted again to each life of the service."""

CUT = 0.04
"""Of so many pieces of a request or an answer one is lost with its connection."""


class Poster:
    """Posts what is in the file of documents, in a thread of its own; the last runs again to each life of the service.

    A service that keeps no documents loses what it took and had not ingested when it is killed.
    """

    def __init__(self, documents: Path, state: Path) -> None:
        self._documents = documents
        self._state = state
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="poster")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def _work(self) -> None:
        posted = 0
        while not self._ended.wait(0.02):
            with contextlib.suppress(ServiceError, httpx.HTTPError, OSError):
                with Client.from_state(self._state, timeout_s=5) as client:
                    starts = [
                        at for at, (name, _) in enumerate(documents_in(self._documents)[:posted]) if name == "start"
                    ]
                    posted = starts[-POSTED_AGAIN] if len(starts) >= POSTED_AGAIN else 0
                    while not self._ended.wait(0.02):
                        new = documents_in(self._documents)[posted:]
                        if new:
                            client.post_documents(new)
                            posted += len(new)


class Person:
    """Scans now and then, where nothing runs, and leaves tasks that nobody is to begin."""

    def __init__(self, peer: Blueapi, seed: int) -> None:
        self._peer = peer
        self._random = random.Random(seed)
        self.begun: list[str] = []
        self.left: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="person")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def _work(self) -> None:
        while not self._ended.wait(self._random.uniform(0.1, 0.6)):
            with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
                request = {"name": "persons_scan", "params": {"seconds": 0.1}, "instrument_session": SESSION}
                task_id = self._peer.ask("POST", "/tasks", **request)["task_id"]
                answer = self._peer.ask("PUT", "/worker/task", task_id=task_id)
                (self.begun if answer == {"task_id": task_id} else self.left).append(task_id)


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Kill the service, and now and then blueapi, ``kills`` times, let all end, and check what must be true then."""
    needs_blueapi()
    say(f"chaos blueapi: seed {seed}, {kills} kills, in {folder}")
    peer = Blueapi(folder)
    cuts = random.Random(seed + 1)
    way = CuttingProxy(peer.port, lambda: cuts.random() < CUT)
    (folder / "service.toml").write_text(TOML.format(port=way.port, session=SESSION))
    try:
        with Zygote(folder, SUPPORT) as zygote:
            _storm(zygote, folder / "service.state", peer, kills=kills, seed=seed, say=say)
        say(f"chaos blueapi: {way.cuts} connections cut")
    finally:
        way.close()
        peer.kill()


def _storm(zygote: Zygote, state: Path, peer: Blueapi, *, kills: int, seed: int, say: Any) -> None:  # noqa: PLR0913
    chance, struck, total = random.Random(seed), Counter[str](), RUNS_PER_KILL * kills
    client = start(zygote, state)
    for name in ("one", "two"):
        loop = {"max_runs": total, "max_failures": 1000}
        config = {"bounds": {"motor": [-5, 5]}}
        given = {"actuators": ["motor"], "sensors": ["det"], "outcome": "det", "executor": "thread"}
        client.create(name=name, type="sobol", config=config, plan="recorded", loop=loop, **given)
        client.start(name)
    with Poster(peer.documents, state), Person(peer, seed) as person:
        for number in range(kills):
            _until_it_measures(client, peer)
            time.sleep(chance.uniform(0, LONGEST_LIFE_S))  # a part of its life, not a wait for anything
            if number % BLUEAPI_EVERY == BLUEAPI_EVERY // 2:
                struck["blueapi"] += 1
                peer.kill()
                peer.start()
                continue
            struck["service"] += 1
            client.close()
            zygote.tell("kill")
            client = start(zygote, state)
        say(f"chaos blueapi: {dict(struck)} killed, and it goes on")
        _let_end(client, peer, total)
    suggestions = [found for name in ("one", "two") for found in client.suggestions(name)]
    client.close()
    zygote.tell("term")
    check(Fates.of(suggestions, documents_in(peer.documents)), person=person, peer=peer, total=total, say=say)


def _until_it_measures(client: Client, peer: Blueapi) -> None:
    """Wait for another run: what was under way at the last kill is looked for first."""
    before = _runs(peer)
    resumed = _resumer(client)
    wait_until(
        lambda: resumed() or _runs(peer) > before, within_s=120, every_s=0.05, what=lambda: f"a run; {client.queue()}"
    )


def _let_end(client: Client, peer: Blueapi, total: int) -> None:
    """Wait until all was measured, which takes as long as it does while there are further runs."""
    resumed = _resumer(client)

    def ended() -> bool:
        agents = [client.agent(name) for name in ("one", "two")]
        return all(agent.state == "stopped" and agent.progress.done == total for agent in agents)

    while not ended():
        before = _runs(peer)
        wait_until(
            lambda before=before: resumed() or _runs(peer) > before or ended(),
            within_s=120,
            every_s=0.5,
            what=lambda: f"a run, or the end of both agents; {client.queue()}",
        )


def _resumer(client: Client) -> Callable[[], None]:
    """Return what a person does who sees that the queue is held, after plans that were nowhere: they resume it."""

    def resume() -> None:
        with contextlib.suppress(ServiceError):
            if client.queue().state == "held":
                client.resume_queue()

    return resume


def _runs(peer: Blueapi) -> int:
    return sum(
        name == "start" and "agent_suggestion_uid" in document for name, document in documents_in(peer.documents)
    )


def documents_in(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the documents that are written by now, but for half a line."""
    if not file.exists():
        return []
    lines = file.read_text().splitlines(keepends=True)
    return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]


def check(fates: Fates, *, person: Person, peer: Blueapi, total: int, say: Any) -> None:
    """Fail unless each suggestion has one fate and at most one run, and what is the person's was left alone."""
    say(f"chaos blueapi: {fates}")
    say(f"chaos blueapi: {len(person.begun)} scans of a person, {len(person.left)} that waited")
    fates.check()
    assert list(fates.states.values()).count("ingested") == 2 * total
    complete = {one["task_id"]: one for one in peer.tasks()}
    for task_id in person.begun:
        if (task := complete.get(task_id)) is not None:  # blueapi forgets all when it is killed
            assert task["outcome"]["outcome"] == "success", task
    begun_by_us = [task_id for task_id in person.left if not complete.get(task_id, {"is_pending": True})["is_pending"]]
    assert not begun_by_us, f"a person's task was begun: {begun_by_us}"
