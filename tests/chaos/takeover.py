"""Two services on a queue server, a broker and one journal: leaders and the database are killed and paused."""

from __future__ import annotations

import contextlib
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import peers
from postgres_server import PostgresServer
from services import wait_until

from agent_service import Client
from agent_service.errors import ServiceError
from agent_service.service.leader import LOST_THE_LEAD

from . import queueserver
from .zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOURNAL = """
[journal]
url = "{url}"
standby = true
lease_s = 1
"""

STRUCK = {"leader killed": 45, "leader paused": 20, "database killed": 10, "database paused": 10, "person": 15}
"""What is struck, and how often: the manager and the worker are in the arrangement ``queueserver``."""
LONGEST_OUTAGE_S = 4.0
KAFKA = """kind = "kafka"
topics = ["{topic}"]
servers = "{servers}"
group = "beamline"
options = {{ "session.timeout.ms" = 1000, "heartbeat.interval.ms" = 300 }}"""
NATS = """kind = "nats"
servers = "{servers}"
durable = "{durable}\""""


@contextlib.contextmanager
def kafka(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Make a broker; the source that hears it, and what the worker is told to publish to it."""
    with peers.kafka_broker(folder) as broker:
        worker = {"PUBLISHES_KAFKA": f"{broker.servers} {broker.topic}"}
        yield KAFKA.format(topic=broker.topic, servers=broker.servers), worker


@contextlib.contextmanager
def nats(folder: Path, *, durable: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Do what `kafka` does with NATS: each service has a consumer of its own, or both have the one of that name."""
    with peers.nats_server(folder) as server:
        yield NATS.format(servers=server.servers, durable=durable), {"PUBLISHES_NATS": server.servers}


class Pair:
    """Two services, one of which leads; in the place of one."""

    def __init__(self, services: list[queueserver.Service], server: PostgresServer, url: str, seed: int) -> None:
        self.journal = url
        self._server = server
        self._chance = random.Random(seed)
        self._services = services
        self._down = list(services)

    def start(self) -> None:
        """Start those that are down."""
        while self._down:
            self._down.pop().start()

    def kill(self, how: str = "kill") -> None:
        """End both, the standby first."""
        leader = self._leader()
        for one in self._services:
            if one is not leader:
                one.kill()
        leader.kill(how)

    def strike(self, kind: str) -> None:
        """Let the leader or the database die, or say nothing for a while, and go on."""
        match kind:
            case "leader killed":
                leader = self._leader()
                leader.kill()
                self._down.append(leader)
            case "leader paused":
                leader = self._leader()
                leader.pause()
                self._leader(but=leader)
                assert leader.wake_to_its_end() == LOST_THE_LEAD
                self._down.append(leader)
            case "database killed":
                self._server.kill()
                self._outage()
                self._server.start()
            case _:
                with self._server.paused():
                    self._outage()
        self.start()

    def _outage(self) -> None:
        time.sleep(self._chance.uniform(0, LONGEST_OUTAGE_S))  # how long it lasts, not a wait for anything

    def _leader(self, but: queueserver.Service | None = None) -> queueserver.Service:
        asked = [one for one in self._services if one is not but]

        def leads() -> queueserver.Service | None:
            self._start_ended()
            return next((one for one in asked if _is_ready(one)), None)

        return wait_until(leads, within_s=60)

    def _start_ended(self) -> None:
        """Do what systemd does with a leader that ended: one that came while the database was down may have led."""
        for one in self._services:
            if one not in self._down and one.has_ended:
                assert one.exit_code() == LOST_THE_LEAD
                one.start()

    def where(self) -> tuple[str, str]:
        for one in self._services:
            if _is_ready(one):
                return one.where()
        raise OSError("nobody leads")

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        with self._leader().client() as client:
            yield client


def _is_ready(service: queueserver.Service) -> bool:
    with contextlib.suppress(ServiceError, httpx.HTTPError), Client.from_state(service.state) as client:
        return client.ready().ready
    return False


@contextlib.contextmanager
def _two(text: str, *, folder: Path, server: PostgresServer, seed: int) -> Iterator[Any]:
    url = server.database()
    text = text.replace(f"port = {queueserver.PORT}", "port = 0") + JOURNAL.format(url=url)
    with contextlib.ExitStack() as stack:
        services: list[queueserver.Service] = []
        for name in "ab":
            (folder / name).mkdir()
            (folder / name / "service.toml").write_text(text)
            zygote = stack.enter_context(Zygote(folder / name, queueserver.SUPPORT))
            services.append(queueserver.Service(folder / name, zygote))
        yield Pair(services, server, url, seed)


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print, bus: Any = kafka) -> None:
    """Strike leaders and their database, between what people do; no point is lost, and none measured twice."""
    with contextlib.closing(PostgresServer()) as server, bus(folder) as (source, worker):
        queueserver.chaos(
            folder,
            kills=kills,
            seed=seed,
            say=say,
            serve=partial(_two, folder=folder, server=server, seed=seed),
            struck=STRUCK,
            source=source,
            worker=worker,
        )
