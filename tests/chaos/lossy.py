"""Buses that lose documents, beside a catalogue: service, bus and catalogue are killed and stopped while runs go on.

Somebody measures what agents suggest, and more of his own, and says it on the bus; a writer of the facility puts it
into the facility's Tiled, late. What the bus loses is in the catalogue only.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

import httpx
import peers
from comparison import differences
from services import wait_until

from agent_service.journal import reader
from agent_service.state_dir import StateDir, announced

from .zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Callable

SUPPORT = Path(peers.__file__).parent
AGENTS = ("one", "two")
LONGEST_LIFE_S = 0.6
LONGEST_AWAY_S = 0.6
CATALOGUE_EVERY = 8
"""Of so many kills one is the catalogue's: it takes a second to be back."""

FIRST_OF_THE_CATALOGUE = 3
CATALOGUE_KILLED = "catalogue killed"
MOST_BEHIND = 3
"""Most runs that the writer is behind: a run that the bus lost, whose agent waits for it, comes after them."""

TOML = """
[service]
port = 0
catalog = "none"
[run_engine]
startup = "rig"
[sink]
kind = "claim"
"""


class Service:
    """A service that is killed and started again, and a way to ask it that outlives it."""

    def __init__(self, folder: Path, sections: list[dict[str, Any]]) -> None:
        lines = [f"{key} = {json.dumps(value)}" for one in sections for key, value in (("", ""), *one.items())]
        sources = "\n".join("[[sources]]" if line.startswith(" =") else line for line in lines)
        (folder / "service.toml").write_text(TOML + sources + "\n")
        self.state = folder / "service.state"
        self._paths = StateDir(self.state)
        self._log = folder / "service.log"
        self._zygote = Zygote(folder, SUPPORT)

    def __enter__(self) -> Self:
        self._zygote.__enter__()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._zygote.__exit__()

    def start(self) -> None:
        self._zygote.tell("start")

    def kill(self) -> None:
        self._zygote.tell("kill")
        (self.state / "service.json").unlink(missing_ok=True)

    def end(self) -> None:
        assert self._zygote.tell("term") == 0, self._log.read_text()[-4000:]

    def signal(self, number: int) -> None:
        os.kill(self._zygote.service, number)

    def ask(self, method: str, path: str, *, within_s: float = 180.0, key: str = "", **body: Any) -> Any:
        """Ask until it answers, which it does not while it is dead: with a key, so that it is done once."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        deadline = time.monotonic() + within_s
        while True:
            with contextlib.suppress(httpx.TransportError, OSError, AttributeError):
                headers["Authorization"] = f"Apikey {self._paths.read_key(own=False)}"
                url = f"{announced(self._paths).url}/api/v1/{path}"
                answer = httpx.request(method, url, json=body or None, headers=headers, timeout=30)
                if answer.status_code < 300:
                    return answer.json() if answer.content else None
                assert answer.status_code in (409, 425, 429, 502, 503), answer.text
            assert time.monotonic() < deadline, f"{method} {path} was not answered; {self._log.read_text()[-4000:]}"
            time.sleep(0.05)


class Facility:
    """Measures what is suggested, and what nobody asked for; its writer takes its time, and its bus loses documents."""

    def __init__(self, service: Service, server: Any, publish: Callable[..., None] | None, seed: int) -> None:
        self.runs: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.made_for: dict[str, str] = {}
        self.written: set[str] = set()
        self._service = service
        self._server = server
        self._publish = publish
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._to_write: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._ended = threading.Event()
        self.wrong: list[BaseException] = []
        works = [self._write, self._scan, *(lambda name=name: self._measure(name) for name in AGENTS)]
        self._threads = [threading.Thread(target=self._work, args=(work,), name="facility") for work in works]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Measure no more, and let the writer come to its end."""
        self._ended.set()
        for thread in self._threads[1:]:
            thread.join(120)
        self._to_write.put(None)
        self._threads[0].join(300)
        assert self.wrong == [], self.wrong
        assert self.written == self.runs.keys()

    def wait_for_more(self) -> None:
        """Wait for another run in the catalogue, and another of a suggestion.

        Killed faster than all have started, as on a busy machine, nobody would measure anything.
        """
        written, suggested = len(self.written), len(self.made_for)
        wait_until(
            lambda: len(self.written) > written and len(self.made_for) > suggested,
            within_s=180,
            what="another run, and another suggestion",
        )

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told at the end
            self.wrong.append(error)

    def _measure(self, agent: str) -> None:
        while not self._ended.is_set():
            if self._to_write.qsize() > MOST_BEHIND:
                self._ended.wait(0.05)
                continue
            key = uuid.uuid4().hex
            body = {"agent": agent, "wait_s": 2, "lease_s": 3600}
            found = self._service.ask("POST", "suggestions/claim", key=key, **body)
            if found is None:
                continue
            run = self._make(**found["md"])
            assert found["id"] not in self.made_for, f"{found['id']} was handed out twice"
            self.made_for[found["id"]] = run[0][1]["uid"]

    def _scan(self) -> None:
        """Measure what nobody suggested."""
        while not self._ended.wait(self._random.uniform(0.5, 2.0)):
            if self._to_write.empty():  # else what is suggested waits for what nobody asked for
                self._make()

    def _make(self, **md: Any) -> list[tuple[str, dict[str, Any]]]:
        with self._lock:
            run = peers.run_documents(self._random.randint(1, 6), pages=self._random.random() < 0.3, **md)
            self.runs[run[0][1]["uid"]] = run
        for pair in run:
            if self._publish is not None:
                with self._lock:
                    self._publish(*pair)
            self._ended.wait(self._random.uniform(0, 0.02))
        self._to_write.put(run)
        return run

    def _write(self) -> None:
        """Write into the catalogue as a facility's writer does: each run, however often its server goes away."""
        while (run := self._to_write.get()) is not None:
            uid = run[0][1]["uid"]
            deadline = time.monotonic() + 240
            while uid not in self.written:
                assert time.monotonic() < deadline, "nothing can be written into the catalogue"
                try:
                    with contextlib.closing(peers.Catalogue(self._server)) as catalogue:
                        if uid in catalogue.root:
                            catalogue.root.delete_contents([uid], recursive=True, external_only=False)
                        catalogue.write(run)
                except Exception:  # noqa: BLE001 - whatever its client says of a server that is away
                    time.sleep(0.2)
                else:
                    self.written.add(uid)


def storm(folder: Path, *, kills: int, seed: int, server: Any, bus: Any, publish: Any, sections: Any) -> None:  # noqa: PLR0913
    """Kill and stop the service, the bus if there is one, and the catalogue ``kills`` times, then check everything."""
    chance = random.Random(seed)
    struck: Counter[str] = Counter()
    with mock.patch.dict(os.environ, {"TILED_API_KEY": peers.KEY}), Service(folder, sections) as service:
        _begin(service, len(sections))
        with Facility(service, server, publish, seed) as facility:
            for number in range(kills):
                time.sleep(chance.uniform(0, LONGEST_LIFE_S))  # a part of its life, not a wait for anything
                struck[kind := _strike(number, chance, service, server, bus)] += 1
                if kind == CATALOGUE_KILLED:
                    facility.wait_for_more()
        print(f"chaos: {dict(struck)}, and it ends")

        def fates() -> dict[str, Any]:
            found = [service.ask("GET", f"agents/{name}/suggestions?limit=1000")["items"] for name in AGENTS]
            return {one["id"]: one for items in found for one in items}

        wait_until(
            lambda: all(fates()[one]["state"] == "ingested" for one in facility.made_for),
            within_s=180,
            what="all fates",
            every_s=0.2,
        )
        wait_until(
            lambda: told(service.state, "listener").keys() >= facility.runs.keys(),
            within_s=180,
            what="all runs",
            every_s=0.2,
        )
        suggestions, suspects = fates(), service.ask("GET", "service")["suspects"]
        service.end()
    assert suspects == []
    check(facility, suggestions, service.state)
    with contextlib.closing(peers.Catalogue(server)) as catalogue:
        check_catalogue(facility.runs, catalogue.runs())
    print(f"chaos: {kills} kills, {len(facility.runs)} runs, {len(facility.made_for)} of them suggested")


def _begin(service: Service, sources: int) -> None:
    """Start one who hears every run, and those who suggest."""
    agent = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal", "executor": "thread"}
    service.ask("POST", "agents", name="listener", type="brainbox:Walker", listen="all", **agent)
    service.ask("POST", "agents/listener/start")
    for number in range(sources):
        wait_until(
            lambda number=number: service.ask("GET", "service")["sources"][number]["state"] == "connected",
            within_s=120,
            what=f"source {number}",
        )
    for name in AGENTS:
        service.ask("POST", "agents", name=name, type="brainbox:Walker", **agent)
        service.ask("POST", f"agents/{name}/start")


def _strike(number: int, chance: random.Random, service: Service, server: Any, bus: Any) -> str:
    """Kill or stop a part for a while; the others go on."""
    if number % CATALOGUE_EVERY == FIRST_OF_THE_CATALOGUE:
        server.kill()
        server.start()
        return CATALOGUE_KILLED
    parts = {"service": service, "catalogue": server, **({} if bus is None else {"bus": bus})}
    name, away_s = chance.choice(sorted(parts)), chance.uniform(0, LONGEST_AWAY_S)
    part = parts[name]
    if name == "catalogue" or chance.random() < 0.3:
        part.signal(signal.SIGSTOP)
        time.sleep(away_s)  # how long it hangs, not a wait for anything
        part.signal(signal.SIGCONT)
        return f"{name} stopped"
    part.kill()
    time.sleep(away_s)  # how long it is away
    part.start()
    return f"{name} killed"


def told(state: Path, agent: str) -> dict[str, list[dict[str, Any]]]:
    """Return the points that an agent was told of each run, by its journal."""
    found: dict[str, list[dict[str, Any]]] = {}
    for fact in reader(f"sqlite:///{state}/journal.db").read(agent=agent, limit=1_000_000):
        if fact.kind == "ingest":
            for uid, point in zip(fact.data["run_uids"], fact.data["points"], strict=True):
                found.setdefault(uid, []).append(point)
    return found


def check(facility: Facility, suggestions: Any, state: Path) -> None:
    """Fail unless each run was told once, and each suggestion has the fate and the outcome of its run."""
    heard = told(state, "listener")
    assert heard.keys() == facility.runs.keys(), "a run was lost, or is of nobody"
    fates = {one["id"]: one["run_uid"] for one in suggestions.values() if one["run_uid"]}
    assert fates == facility.made_for, "a run without a fate, or a fate without its run"
    suggested = {uid: point for name in AGENTS for uid, point in told(state, name).items()}
    assert suggested.keys() == set(facility.made_for.values())
    for points, runs in ((heard, facility.runs), (suggested, suggested)):
        for uid in runs:
            signals = [event["data"]["signal"] for event in peers.events_of(facility.runs[uid])]
            assert [point["signal"] for point in points[uid]] == [sum(signals) / len(signals)], "told twice, or wrongly"


def check_catalogue(runs: Any, found: Any) -> None:
    """Fail unless the catalogue holds what its own writer wrote, and nothing else."""
    assert found.keys() == runs.keys()
    wrong = {uid: differences(peers.unpacked(run), found[uid]) for uid, run in runs.items()}
    assert {uid: lines for uid, lines in wrong.items() if lines} == {}
