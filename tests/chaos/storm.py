"""One storm: a service is killed at random points of its work, while a client goes on sending commands.

Its agents' processes, what starts them, and its archive are killed, too, while it lives.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any, Self

import archive_rig
import httpx
import pytest
from services import wait_until

from agent_service import Client
from agent_service.errors import Conflict, ServiceError
from agent_service.journal import reader

from .fates import Fates
from .zygote import Zygote

SUPPORT = Path(__file__).parents[1] / "support"
TOML = """
[service]
port = 0
catalog = "embedded"
[run_engine]
startup = "rig"
"""
RUNS_PER_KILL = 2
MAX_APPROVED = 8  # the catalogue takes seconds for as many runs
LONGEST_LIFE_S = 0.8
SPEC: dict[str, Any] = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal", "executor": "thread"}
BOX = {"bounds": {"x": [-5, 5], "y": [-5, 5]}}
APART: dict[str, Any] = {
    **SPEC,
    "executor": "process",
    "on_fault": "restart",
    "restarts": {"limit": 1000, "pause": 0.01},
    "plan": "brisk",
}
MAX_STRIKES = 3  # in one life
OF_THE_PARTS = ("cloudpickle", "agent_service.archive.catalog_writer", "agent_service.archive.tiled_server")
"""What an archive and agents' processes import."""

STREAMS = {"suggestion.state": "suggest", "ingest": "ingest", "report": "report"}


@dataclass
class Acknowledged:
    """What the service said was done."""

    created: list[str] = field(default_factory=list)
    configured: list[float] = field(default_factory=list)
    suggested: list[str] = field(default_factory=list)
    approved: list[str] = field(default_factory=list)
    ingested: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{len(found)} {name}" for name, found in vars(self).items())


class Customer:
    """Sends commands in a thread of its own, and remembers those that were acknowledged."""

    def __init__(self, state: Path, seed: int) -> None:
        self.done = Acknowledged()
        self._state = state
        self._random = random.Random(seed)
        self._number = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="customer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def _work(self) -> None:
        while not self._ended.is_set():
            with (
                contextlib.suppress(ServiceError, httpx.HTTPError),
                Client.from_state(self._state, timeout_s=5) as client,
            ):
                while not self._ended.wait(0.04):
                    command = self._random.choice(
                        [self._create, self._configure, self._suggest, self._approve, self._approve, self._ingest]
                    )
                    with contextlib.suppress(Conflict):  # it is starting: not now
                        command(client)
            self._ended.wait(0.05)

    def _create(self, client: Client) -> None:
        if self._number % 10 == 0:  # each costs every start a little
            name = f"agent-{self._number}"
            client.create(**SPEC, name=name, type="sobol", config=BOX)
            self.done.created.append(name)
        self._number += 1

    def _configure(self, client: Client) -> None:
        self._number += 1
        gain = float(self._number)
        client.update("asking", config={"gain": gain})
        self.done.configured.append(gain)

    def _suggest(self, client: Client) -> None:
        self.done.suggested += [one.id for one in client.suggest("asking", n_points=2)]

    def _approve(self, client: Client) -> None:
        if len(self.done.approved) == MAX_APPROVED:
            return
        proposed = client.suggestions("asking", state="proposed", limit=20)
        if proposed:
            one = self._random.choice(proposed)
            client.approve(one.id)
            self.done.approved.append(one.id)

    def _ingest(self, client: Client) -> None:
        self._number += 1
        signal = 1e6 + self._number
        client.ingest("asking", [{"x": 0.0, "y": 0.0, "signal": signal}])
        self.done.ingested.append(signal)


def storm(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Kill a service ``kills`` times, let it finish, and check what must be true then.

    Parameters
    ----------
    folder
        An empty folder; what is in it after a failure tells more.
    seed
        Decides when the service is killed and which commands are sent; the machine decides the rest.
    """
    say(f"chaos: seed {seed}, {kills} kills, in {folder}")
    state = folder / "service.state"
    (folder / "service.toml").write_text(TOML)
    chance = random.Random(seed)
    total = RUNS_PER_KILL * kills
    with Zygote(folder, SUPPORT, imports=OF_THE_PARTS) as zygote, contextlib.ExitStack() as stack:
        client = start(zygote, state)
        client.create(
            **SPEC, name="steady", type="sobol", config=BOX, plan="brisk", loop={"max_runs": total, "n_points": 2}
        )
        client.create(**SPEC, name="asking", type="brainbox:Walker", plan="brisk", loop={"approval": "required"})
        client.create(**APART, name="apart", type="sobol", config=BOX, loop={"max_runs": kills, "max_failures": 1000})
        for name in ("steady", "asking", "apart"):
            client.start(name)
        struck: Counter[str] = Counter()
        customer = stack.enter_context(Customer(state, seed))
        for number in range(kills):
            struck.update(_live(client, chance, number, zygote.service))
            zygote.tell("kill")
            client.close()
            client = start(zygote, state)
        say(f"chaos: {kills} kills, and it goes on")
        for name in ("steady", "apart"):
            wait_until(
                lambda name=name: client.agent(name).state == "stopped",
                within_s=120,
                what="the end of the loop",
                every_s=0.05,
            )
        stack.close()
        client.stop("asking")
        wait_until(lambda: _written(client), within_s=300, what="the catalogue", every_s=0.2)
        found = Findings(client, state)
        client.close()
        say(f"chaos: {customer.done} were acknowledged; {len(found.runs)} runs, {len(found.facts)} facts")
        say(f"chaos: killed beside it: {', '.join(f'{count} {name}' for name, count in sorted(struck.items()))}")
        assert zygote.tell("term") == 0, (folder / "service.log").read_text()
    found.check(customer.done, total, apart=kills)


def _live(client: Client, chance: random.Random, number: int, service: int) -> list[str]:
    """Let the service live for a while; now and then until the archive writes, which takes it seconds to begin.

    Returns what of it was killed meanwhile.
    """
    if number % 10 == 7:
        wait_until(lambda: client.service().archive.state == "ready", within_s=60, what="the archive")
    if number % 3 == 1:
        wait_until(lambda: client.agent("apart").state in ("running", "stopped"), within_s=60, what="its process")
    killed: list[str] = []
    for _ in range(chance.randint(0, MAX_STRIKES)):
        time.sleep(chance.uniform(0, LONGEST_LIFE_S / MAX_STRIKES))  # a part of its life, not a wait for anything
        killed += _strike(service, chance)
    time.sleep(chance.uniform(0, LONGEST_LIFE_S / 2))
    return killed


def _strike(service: int, chance: random.Random) -> list[str]:
    """Kill one of the processes that a service has, if it has any by now."""
    parts = parts_of(service)
    if not parts:
        return []
    pid, name = chance.choice(sorted(parts.items()))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, SIGKILL)
        return [name]
    return []


PARTS = {"rvice.archive": "archives", "process._child": "RunEngines", "fork_server": "fork servers"}
"""Parts of a service by a piece of their command, or of the name of what was forked."""


def parts_of(service: int) -> dict[int, str]:
    """Return the processes of a service by process id: archive, RunEngine, what forks agents, and the agents."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                said = (folder / "comm").read_text() + (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                names.update((int(folder.name), name) for piece, name in PARTS.items() if piece in said)
    found = {pid: names[pid] for pid, parent in parents.items() if parent == service and pid in names}
    servers = {pid for pid, name in found.items() if name == "fork servers"}
    return found | {pid: "agents' processes" for pid, parent in parents.items() if parent in servers}


def start(zygote: Zygote, state: Path) -> Client:
    """Start a service, and return a client of it when it is ready."""
    (state / "service.json").unlink(missing_ok=True)
    zygote.tell("start")
    wait_until((state / "service.json").exists, within_s=120, what="the service")
    client = Client.from_state(state, timeout_s=30)

    def ready() -> bool:
        try:
            return client.ready().ready
        except ServiceError:
            return False

    wait_until(ready, within_s=120, what="a ready service", every_s=0.05)
    return client


def _written(client: Client) -> bool:
    archive = client.service().archive
    return archive.state == "ready" and archive.runs_behind == 0 and archive.facts_behind == 0


@dataclass(frozen=True)
class _Measured:
    """A run of the catalogue."""

    uid: str
    suggestion: str
    agent: str
    status: str
    signal: float

    @classmethod
    def of(cls, documents: list[dict[str, Any]]) -> Self:
        start, *events, stop = documents
        signals = [one["data"]["signal"] for one in events]
        return cls(
            uid=start["uid"],
            suggestion=start["agent_suggestion_uid"],
            agent=start["agent_name"],
            status=stop["exit_status"],
            signal=sum(signals) / max(len(signals), 1),
        )


class Findings:
    """What the service, its journal and its catalogue say at the end."""

    def __init__(self, client: Client, state: Path) -> None:
        self.steady = client.agent("steady")
        self.names = {one.name for one in client.agents()}
        self.apart = client.agent("apart")
        self.suggestions = {name: client.suggestions(name) for name in ("steady", "asking", "apart")}
        self.known = {one.id: one for found in self.suggestions.values() for one in found}
        self.reports = {"steady": client.reports("steady")}
        self.facts = reader(f"sqlite:///{state}/journal.db").read(limit=1_000_000)
        # whole runs, a request each: there are many, and a table would take four
        rows = "[[d for n, d in run.documents() if n in ('start', 'event', 'stop')] for run in runs.values()[1:]]"
        decisions = (
            "[[names[d['descriptor']], d['data']['journal_seq'], run.start['agent_name']]"
            " for run in agents.values() for documents in [list(run.documents())]"
            " for names in [{d['uid']: d['name'] for n, d in documents if n == 'descriptor'}]"
            " for n, d in documents if n == 'event']"
        )
        found, self.decisions = archive_rig.ask(state, rows, decisions)
        self.archive = client.service().archive
        self.runs = [_Measured.of(documents) for documents in found]

    def check(self, acknowledged: Acknowledged, total: int, *, apart: int) -> None:
        """Fail unless everything is as it was promised."""
        self._check_journal()
        self._check_acknowledged(acknowledged)
        self._check_runs(total)
        assert (self.apart.progress.done, self.apart.state) == (apart, "stopped"), self.apart.reason
        self._check_decisions()

    def _check_journal(self) -> None:
        assert [one.seq for one in self.facts] == list(range(1, len(self.facts) + 1)), "the journal has a hole"

    def _check_acknowledged(self, acknowledged: Acknowledged) -> None:
        assert self.names >= {*acknowledged.created, "steady", "asking", "apart"}
        gains = [one.data["config"].get("gain") for one in self.facts if one.kind == "config" and one.agent == "asking"]
        assert set(gains) >= set(acknowledged.configured)
        assert set(self.known) >= set(acknowledged.suggested)
        approved = {one.data["id"] for one in self.facts if one.data.get("state") == "approved"}
        assert approved >= set(acknowledged.approved)
        told = Counter(
            point["signal"]
            for one in self.facts
            if one.kind == "ingest" and one.agent == "asking"
            for point in one.data["points"]
            if "_id" not in point
        )
        assert set(told) >= set(acknowledged.ingested)
        assert max(told.values(), default=1) == 1

    def _check_runs(self, total: int) -> None:
        states = {one.id: str(one.state) for one in self.known.values()}
        fates = Fates(states, {one.id: one.reason or "" for one in self.known.values()})
        fates.runs.update(one.suggestion for one in self.runs)
        fates.complete.update(one.suggestion for one in self.runs if one.status == "success")
        fates.check(self.facts, undecided=("running", "measured"))
        complete = {one.uid: one for one in self.runs if one.status == "success"}
        assert (self.steady.progress.done, self.steady.state) == (total, "stopped"), self.steady.reason
        assert sum(one.agent == "steady" for one in complete.values()) == total
        ingested = {
            one.data["run_uids"][0]: (point["_id"], one.agent, point["signal"])
            for one in self.facts
            if one.kind == "ingest" and one.data["run_uids"]
            for point in one.data["points"]
        }
        stopped_before_ingest = {one.run_uid for one in self.known.values() if one.state in ("running", "measured")}
        assert ingested.keys() | stopped_before_ingest == complete.keys(), "the agents and the catalogue differ"
        for uid, (suggestion, agent, signal) in ingested.items():
            assert (complete[uid].suggestion, complete[uid].agent) == (suggestion, agent)
            assert complete[uid].signal == pytest.approx(signal)
        unfinished = [one for one in self.suggestions["steady"] if one.state in ("submitted", "running", "measured")]
        assert not unfinished
        interrupted = [one for one in self.suggestions["steady"] if one.state == "abandoned"]
        again = {one.retry_of for one in self.suggestions["steady"] if one.retry_of}
        assert len(again) <= len(interrupted)

    def _check_decisions(self) -> None:
        """Each decision is in the catalogue, once, in the run of its agent and in the stream of its kind."""
        kept = Counter((STREAMS[one.kind], one.seq, one.agent) for one in self.facts if one.kind in STREAMS)
        written = Counter((stream, seq, agent) for stream, seq, agent in self.decisions)
        lost, strange = sorted((kept - written).elements()), sorted((written - kept).elements())
        assert (lost, strange) == ([], []), (
            f"not in the catalogue: {lost}; there twice, or no fact: {strange}; the archive says {self.archive}"
        )
