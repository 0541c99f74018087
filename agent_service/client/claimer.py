"""Claims suggestions for a plan, and renews and releases the claims over HTTP, in a thread of its own.

The RunEngine's thread only waits for news; nothing here blocks it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from agent_service.errors import BackendUnavailable, DeadlineExceeded, NotFound, ServiceError, UnknownDevice
from agent_service.models.state_machines import AgentState, Command, legal_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agent_service.client._clients import Client
    from agent_service.models import Claim

T = TypeVar("T")

LEASE_S: Final = 60.0
WAIT_S: Final = 2.0
"""How long one request waits for a suggestion, and so how long the thread takes to end."""

PATIENCE_S: Final = 30.0
"""How long to keep asking a service that does not answer."""

_RETRY_S: Final = 0.5
_log = logging.getLogger(__name__)
_ENDED: Final = frozenset({AgentState.STOPPED, AgentState.FAILED})


class Claimer:
    """Claims an agent's suggestions one after the other, until the agent has ended or `end` is called.

    It starts or resumes the agent if that does not run; ``devices`` are the names of the devices here. Without an
    agent, it starts none, and claims suggestions that move only these devices, of agents with ``tag`` if given. It
    closes an ``owned`` client at the end. With ``session``, an id, it is a session of the service's: it starts nothing,
    and ends when there was nothing to claim for ``idle_s`` seconds, or when the service says so at once.
    """

    def __init__(  # noqa: PLR0913 - what it is told, by name
        self,
        client: Client,
        agent: str | None,
        *,
        devices: Collection[str],
        tag: str | None = None,
        lease_s: float = LEASE_S,
        owned: bool = False,
        session: str | None = None,
        idle_s: float = WAIT_S,
    ) -> None:
        self._client = client
        self._agent = agent
        self._devices = frozenset(devices)
        self._tag = tag
        self._lease_s = lease_s
        self._owned = owned
        self._session = session
        self._idle_s = idle_s
        self._refuses: Callable[[Claim], str] = lambda claim: ""
        self._on_news: Callable[[], None] = lambda: None
        self._offer: Claim | None = None
        self._over = False
        self._ended = threading.Event()
        self._words: queue.SimpleQueue[tuple[str, str | int]] = queue.SimpleQueue()
        self._error: ServiceError | None = None
        self._thread = threading.Thread(target=self._work, name=f"claims:{agent or tag or 'any'}", daemon=True)

    def start(self, refuses: Callable[[Claim], str]) -> None:
        """Begin to claim; call it on the event loop that waits for `news`.

        ``refuses(claim)``, called in the claimer's thread, returns why devices cannot go to its point; empty: they can.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(news.set)

        self._refuses, self._on_news, self._news = refuses, tell, news
        self._thread.start()

    @property
    def waiting(self) -> bool:
        """Whether there is neither a suggestion nor an end yet."""
        return self._offer is None and not self._over

    async def news(self, within_s: float) -> None:
        """Return when it no longer waits, or after ``within_s`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()

    def take(self) -> Claim | None:
        """Take the claimed suggestion, None when the agent has ended; raise the error that prevents claims."""
        offer, self._offer = self._offer, None
        if offer is None and self._error is not None:
            raise self._error
        return offer

    def done(self, runs: int) -> None:
        """Say that the plan of the taken suggestion has ended, and how many runs it made; documents say the rest."""
        self._words.put(("done", runs))

    def release(self, how: str, reason: str) -> None:
        """Say that the taken suggestion was not measured, as `Client.release` does."""
        self._words.put((how, reason))

    def end(self) -> None:
        """Claim no more, and give back a claim that was not begun. Returns at once."""
        self._ended.set()
        self._words.put(("unused", "the plan ended"))

    # --- in its thread

    def _work(self) -> None:
        try:
            self._begin()
            done: tuple[str, int] | None = None
            with contextlib.suppress(NotFound):  # the agent was removed
                while (claim := self._next(done)) is not None:
                    done = self._measured(claim)
        except ServiceError as error:
            self._error = error
        finally:
            self._over = True
            self._on_news()
            if self._owned:
                self._client.close()

    def _begin(self) -> None:
        if (name := self._agent) is None:
            self._warn_of_a_slip()
            return
        status = self._patiently(lambda: self._client.agent(name))
        needed = [*status.spec.actuators, *status.spec.sensors]
        if missing := [name for name in dict.fromkeys(needed) if name not in self._devices]:
            given = ", ".join(sorted(self._devices)) or "none"
            raise UnknownDevice(
                f"agent {name!r} needs {', '.join(missing)}; pass them in devices=[...] (there: {given})"
            )
        if self._session is not None:
            return
        if status.state is AgentState.PAUSED:
            self._client.resume(name)
        elif Command.START in legal_commands(status.state):
            self._client.start(name)

    def _warn_of_a_slip(self) -> None:
        """Say when no agent has the tag; it may come later, so this is no error."""
        if self._tag is None:
            return
        tags = {agent.spec.tag for agent in self._patiently(self._client.agents)}
        if self._tag not in tags:
            there = ", ".join(sorted(filter(None, tags))) or "none"
            _log.warning("no agent has the tag %r (there: %s); its suggestions are waited for", self._tag, there)

    def _next(self, done: tuple[str, int] | None) -> Claim | None:
        """Claim the next suggestion; the same request says that the plan of the last one is ``done``."""
        while not self._ended.is_set():
            claim = self._patiently(partial(self._claim, done))
            done = None
            if claim is not None or self._session is not None:
                return claim
            name = self._agent
            if name is not None and self._patiently(lambda name=name: self._client.agent(name)).state in _ENDED:
                return None
        if done is not None:
            self._tell(*done)
        return None

    def _claim(self, done: tuple[str, int] | None) -> Claim | None:
        wait_s = WAIT_S if self._session is None else self._idle_s
        mine = sorted(self._devices) if self._agent is None else None
        return self._client.claim(
            self._agent,
            actuators=mine,
            tag=self._tag,
            lease_s=self._lease_s,
            wait_s=wait_s,
            says_done=True,
            done=done,
            session=self._session,
        )

    def _measured(self, claim: Claim) -> tuple[str, int] | None:
        """Offer a claim, and keep it until the plan has decided; return it if the service does not know that yet."""
        missing = [name for name in claim.sensors if name not in self._devices]
        refused = f"who claimed it has no {', '.join(missing)}" if missing else self._refuses(claim)
        if refused:
            self._release(claim, "fail", refused)
            return None
        self._offer = claim
        self._on_news()
        how, word = self._word_on(claim)
        if isinstance(word, int):
            return claim.id, word
        self._release(claim, how, word)
        return None

    def _word_on(self, claim: Claim) -> tuple[str, str | int]:
        """Renew a claim until the plan has decided, whatever the service answers meanwhile."""
        while True:
            try:
                return self._words.get(timeout=claim.lease_s / 3)
            except queue.Empty:
                with contextlib.suppress(ServiceError):
                    self._client.renew(claim.id)

    def _release(self, claim: Claim, how: str, reason: str) -> None:
        with contextlib.suppress(ServiceError):
            self._client.release(claim.id, reason, how=how)

    def _tell(self, claim_id: str, runs: int) -> None:
        """Say that a plan is done; otherwise its runs do not count."""
        with contextlib.suppress(ServiceError):
            self._patiently(lambda: self._client.release(claim_id, how="done", runs=runs))

    def _patiently(self, ask: Callable[[], T]) -> T:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask()
            except (BackendUnavailable, DeadlineExceeded):
                if time.monotonic() > deadline or self._ended.wait(_RETRY_S):
                    raise
