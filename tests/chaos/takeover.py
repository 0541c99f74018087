"""Two services on a queue server and one journal: leaders are killed as often as you like, the other takes over."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
from postgres_server import PostgresServer
from services import wait_until

from agent_service import Client
from agent_service.errors import ServiceError

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

STRUCK = {"service": 85, "person": 15}
"""What is struck, and how often: the manager and the worker are in the arrangement ``queueserver``."""


class Pair:
    """Two services, one of which leads; in the place of one."""

    def __init__(self, services: list[queueserver.Service], journal: str) -> None:
        self.journal = journal
        self._services = services
        self._down = list(services)

    def start(self) -> None:
        """Start those that are down."""
        while self._down:
            self._down.pop().start()

    def kill(self, how: str = "kill") -> None:
        """Kill the leader; or end both, the standby first."""
        leader = self._leader()
        for one in self._services:
            if one is not leader and how != "kill":
                one.kill()
        leader.kill(how)
        self._down.append(leader)

    def _leader(self) -> queueserver.Service:
        return wait_until(lambda: next((one for one in self._services if _is_ready(one)), None), within_s=60)

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
def _two(text: str, *, folder: Path, server: PostgresServer) -> Iterator[Any]:
    url = server.database()
    text = text.replace(f"port = {queueserver.PORT}", "port = 0") + JOURNAL.format(url=url)
    with contextlib.ExitStack() as stack:
        services: list[queueserver.Service] = []
        for name in "ab":
            (folder / name).mkdir()
            (folder / name / "service.toml").write_text(text)
            zygote = stack.enter_context(Zygote(folder / name, queueserver.SUPPORT))
            services.append(queueserver.Service(folder / name, zygote))
        yield Pair(services, url)


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Kill leaders, between what people do; no point is lost, and none measured twice."""
    with contextlib.closing(PostgresServer()) as server:
        serve = partial(_two, folder=folder, server=server)
        queueserver.chaos(folder, kills=kills, seed=seed, say=say, serve=serve, struck=STRUCK)
