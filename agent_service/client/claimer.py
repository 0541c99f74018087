"""Claims of one agent's suggestions for a plan: asked for, renewed and released over HTTP, in a thread of its own.

The thread of the RunEngine only ever looks; nothing here blocks it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
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
"""How long one request waits for a suggestion: a thread that was told to end is gone after it."""

PATIENCE_S: Final = 30.0
"""How long a service that does not answer is asked again."""

_RETRY_S: Final = 0.5
_ENDED: Final = frozenset({AgentState.STOPPED, AgentState.FAILED})


class Claimer:
    """Claims an agent's suggestions one after the other, until the agent has ended or `end` is called.

    The agent is started, or resumed, if it does not run; ``devices`` are the names of those there are. A client that is
    ``owned`` is closed at the end. With ``idle_s`` it is a session of the service's: it starts nothing, and ends when
    there was nothing to claim for so many seconds, or the service answers so at once.
    """

    def __init__(
        self,
        client: Client,
        agent: str,
        *,
        devices: Collection[str],
        owned: bool = False,
        idle_s: float | None = None,
    ) -> None:
        self._client = client
        self._agent = agent
        self._devices = frozenset(devices)
        self._owned = owned
        self._idle_s = idle_s
        self._offer: Claim | None = None
        self._ended = threading.Event()
        self._words: queue.SimpleQueue[tuple[str, str | int]] = queue.SimpleQueue()
        self._error: ServiceError | None = None
        self._thread = threading.Thread(target=self._work, name=f"claims:{agent}", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    @property
    def waiting(self) -> bool:
        """Whether there is neither a suggestion nor an end yet."""
        return self._offer is None and self._thread.is_alive()

    def take(self) -> Claim | None:
        """Take the suggestion that was claimed, None when the agent has ended; raises why nothing can be claimed."""
        offer, self._offer = self._offer, None
        if offer is None and self._error is not None:
            raise self._error
        return offer

    def done(self, runs: int) -> None:
        """Say that the plan of the suggestion taken has ended, and how many runs it made; documents say the rest."""
        self._words.put(("done", runs))

    def release(self, how: str, reason: str) -> None:
        """Say that the suggestion taken was not measured, as `Client.release` does."""
        self._words.put((how, reason))

    def end(self) -> None:
        """Ask no more, and give back what was claimed and not begun. Returns at once."""
        self._ended.set()
        self._words.put(("unused", "the plan ended"))

    # --- in its thread

    def _work(self) -> None:
        try:
            self._begin()
            with contextlib.suppress(NotFound):  # the agent was removed
                while (claim := self._next()) is not None:
                    self._offer = claim
                    self._keep(claim)
        except ServiceError as error:
            self._error = error
        finally:
            if self._owned:
                self._client.close()

    def _begin(self) -> None:
        status = self._patiently(lambda: self._client.agent(self._agent))
        needed = [*status.spec.actuators, *status.spec.sensors]
        if missing := [name for name in dict.fromkeys(needed) if name not in self._devices]:
            given = ", ".join(sorted(self._devices)) or "none"
            raise UnknownDevice(
                f"agent {self._agent!r} needs {', '.join(missing)}; pass them in devices=[...] (there: {given})"
            )
        if self._idle_s is not None:
            return
        if status.state is AgentState.PAUSED:
            self._client.resume(self._agent)
        elif Command.START in legal_commands(status.state):
            self._client.start(self._agent)

    def _next(self) -> Claim | None:
        wait_s = WAIT_S if self._idle_s is None else self._idle_s
        while not self._ended.is_set():
            claim = self._patiently(
                lambda: self._client.claim(self._agent, lease_s=LEASE_S, wait_s=wait_s, says_done=True)
            )
            if claim is not None or self._idle_s is not None:
                return claim
            if self._patiently(lambda: self._client.agent(self._agent)).state in _ENDED:
                return None
        return None

    def _keep(self, claim: Claim) -> None:
        """Renew a claim until the plan has its word on it; what the service thinks by then does not matter."""
        while True:
            try:
                how, word = self._words.get(timeout=claim.lease_s / 3)
            except queue.Empty:
                with contextlib.suppress(ServiceError):
                    self._client.renew(claim.id)
                continue
            with contextlib.suppress(ServiceError):
                self._tell(claim, how, word)
            return

    def _tell(self, claim: Claim, how: str, word: str | int) -> None:
        if isinstance(word, int):
            self._patiently(
                lambda: self._client.release(claim.id, how=how, runs=word)
            )  # else its runs count for nothing
        else:
            self._client.release(claim.id, word, how=how)

    def _patiently(self, ask: Callable[[], T]) -> T:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask()
            except (BackendUnavailable, DeadlineExceeded):
                if time.monotonic() > deadline or self._ended.wait(_RETRY_S):
                    raise
