"""A service on a queue server: service, manager and worker are killed, and people put items of theirs in between."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx
import pytest
from queue_rig import KEY, PORT, WORKER
from queue_service import Forwarder, QueueService
from services import wait_until

from agent_service import Client
from agent_service.errors import ServiceError
from agent_service.journal import reader

from .fates import Fates
from .zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

SUPPORT = Path(__file__).parents[1] / "support"
TOML = """
[service]
port = {port}
catalog = "none"
[sink]
kind = "queueserver"
control = "{control}"
poll_s = 0.05
per_item = "{per_item}"
[[sources]]
{source}
"""
POSTED = 'kind = "posted"'
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


LONGEST_LIFE_S = 0.6
STRUCK = {"service": 60, "manager": 10, "worker": 10, "session": 5, "person": 15}
"""What is struck, and how often: the manager and the worker take seconds to be back."""
PARTS = ("manager", "worker", "session")
"""What is struck at the queue server; all else is the service's."""


class Service:
    """The service in a process that is forked for each of its lives, and what people do with it."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.folder = folder
        self.state = folder / "service.state"
        self.journal = f"sqlite:///{self.state}/journal.db"
        self._zygote = zygote

    def start(self) -> None:
        (self.state / "service.json").unlink(missing_ok=True)
        self._zygote.tell("start")

    def kill(self, how: str = "kill") -> None:
        self._zygote.tell(how)

    def pause(self) -> None:
        os.kill(self._zygote.service, signal.SIGSTOP)

    def wake_to_its_end(self) -> int:
        """Let it go on after a pause, and return the exit code that it ends with by itself."""
        os.kill(self._zygote.service, signal.SIGCONT)
        return self.exit_code()

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self._zygote.service}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0] == "Z"
        return False

    def exit_code(self) -> int:
        """Return the exit code that it ended with by itself."""
        return self._zygote.tell("wait")

    def strike(self, kind: str) -> None:
        """Kill it, and start it again."""
        assert kind == "service"
        self.kill()
        self.start()

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


def chaos(  # noqa: PLR0913 - all by name
    folder: Path,
    *,
    kills: int,
    seed: int,
    say: Any = print,
    per_item: str = "run",
    serve: Callable[[str], AbstractContextManager[Service]] | None = None,
    struck: Mapping[str, int] = STRUCK,
    source: str = POSTED,
    worker: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Kill parts ``kills`` times, let the service finish, and check what must be true then.

    ``serve`` makes the service of a service.toml; left out: one, on a journal of its own. It hears documents by
    ``source``, which the environment ``worker`` lets the worker publish to; left out: they are posted to it.
    """

    @contextlib.contextmanager
    def alone(text: str) -> Iterator[Service]:
        (folder / "service.toml").write_text(text)
        with Zygote(folder, SUPPORT) as zygote:
            yield Service(folder, zygote)

    serve = serve or alone
    say(f"chaos queueserver: seed {seed}, {kills} kills, a {per_item} an item, in {folder}")
    with mock.patch.dict(os.environ, {"AGENT_SERVICE_API_KEY": KEY}):
        queue = QueueService(folder / "queue", env={**WORKER, **worker})
        try:
            text = TOML.format(port=PORT, control=queue.control, per_item=per_item, source=source)
            with serve(text) as service:
                _storm(queue, service, kills, random.Random(seed), say, struck, posts=source == POSTED)
        finally:
            queue.close()


def _storm(  # noqa: PLR0913, PLR0917 - what it is about
    queue: QueueService,
    service: Service,
    kills: int,
    chance: random.Random,
    say: Any,
    struck: Mapping[str, int],
    *,
    posts: bool,
) -> None:
    killed: Counter[str] = Counter()
    theirs = unanswered = 0
    queue.open()
    service.start()
    with Forwarder(queue, service.where) if posts else contextlib.nullcontext() as forwarder:
        with service.client() as client:
            client.create(**SPEC, name="aligner")
            client.start("aligner")
        while killed.total() < kills:
            _until_it_measures(queue, service, sum(queue.heard.values()))
            time.sleep(chance.uniform(0, LONGEST_LIFE_S))  # a part of its life, not a wait for anything
            kind = chance.choices(list(struck), list(struck.values()))[0]
            if kind == "person":
                answer = queue.person()
                theirs += bool(answer and answer["success"])
                unanswered += answer is None  # it may be there: the manager was killed as it took it
            elif _strike(kind, queue, service):
                killed[kind] += 1
                if kind not in PARTS and forwarder is not None:
                    with service.client():
                        forwarder.again(3)
        queue.answers()
        _mended_by_a_person(queue, anyhow=False)
        with service.client() as client:
            with contextlib.suppress(ServiceError):  # it may be held, after plans that were nowhere
                client.resume_queue()
            wait_until(lambda: client.agent("aligner").state == "running", within_s=60, what="the agent")
            client.stop("aligner")
            wait_until(lambda: not _undecided(client), within_s=120, what=lambda: _told_of(client))
            suggestions = client.suggestions("aligner")
        service.kill("term")
    left = (queue.ask("queue_get") or {}).get("items", [])
    _check(
        queue, service, suggestions, left=left, theirs=range(theirs, theirs + unanswered + 1), killed=killed, say=say
    )


def _strike(kind: str, queue: QueueService, service: Service) -> bool:
    """Kill a part; return whether it was there."""
    if kind not in PARTS:
        service.strike(kind)
        return True
    if kind == "session":  # a person ends what runs
        return _ended_by_a_person(queue)
    pid = queue.manager_pid if kind == "manager" else queue.worker
    if pid is None:
        return False
    queue.kill(pid)
    if kind == "worker":
        _mended_by_a_person(queue)
    return True


def _ended_by_a_person(queue: QueueService) -> bool:
    """Abort what runs, as a person may; return whether anything ran."""
    state = queue.status().get("manager_state")
    while state == "executing_queue":
        queue.ask("re_pause", option="immediate")
        time.sleep(0.2)
        state = queue.status().get("manager_state")
    return state == "paused" and bool(queue.ask("re_abort"))


def _until_it_measures(queue: QueueService, service: Service, before: int) -> None:
    """Wait for another run: what was under way at the last kill is looked for first."""
    deadline = time.monotonic() + 120
    while sum(queue.heard.values()) <= before:
        _pressed_by_a_person(queue, service)
        if time.monotonic() > deadline:
            with service.client() as client:
                found = [(one.id, one.state, one.reason) for one in client.suggestions("aligner")][:3]
                pytest.fail(f"no further run: {client.queue()}, {client.agent('aligner').reason}, {found}")
        time.sleep(0.02)


def _pressed_by_a_person(queue: QueueService, service: Service) -> None:
    """Do what the service asks for: resume the queue that a person's abort holds, destroy what does not answer.

    A manager that is killed while it reads what its worker says leaves half a message behind, and no manager after it
    can read anything further.
    """
    with contextlib.suppress(ServiceError, OSError):
        url, key = service.where()
        with Client(url, api_key=key) as client:
            if client.queue().state == "held":
                client.resume_queue()
            if client.queue().can_destroy:
                client.destroy_environment()
                _mended_by_a_person(queue, anyhow=False)


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


def _undecided(client: Client) -> list[Any]:
    return [one for one in client.suggestions("aligner") if one.state in ("submitted", "running", "measured")]


def _told_of(client: Client) -> str:
    """Say what the service waits for."""
    waiting = [(one.id, str(one.state), one.run_uid) for one in _undecided(client)]
    return f"a fate for {waiting} with {client.service().sources}, {client.queue()}"


def _check(  # noqa: PLR0913 - what there is to compare
    queue: QueueService,
    service: Service,
    suggestions: list[Any],
    *,
    left: list[dict[str, Any]],
    theirs: range,
    killed: Counter[str],
    say: Any,
) -> None:
    facts = reader(service.journal).read(limit=1_000_000)
    fates = Fates.of(suggestions, queue.documents)
    say(f"chaos queueserver: killed {dict(killed)}; {fates}; {len(left)} items of people")
    assert fates.runs.total() >= killed.total(), "it hardly measured"
    fates.check(facts, undecided=("proposed",))
    started = [doc for name, doc in queue.documents if name == "start" and doc.get("by") == "hand"]
    assert not started, "an item of a person was started"
    assert len(left) in theirs, f"{theirs.start} items of people, and {len(left)} are left"
    assert {one["user"] for one in left} <= {"a person"}, "an item of ours was left in the queue"
