"""What the child has to say: documents and results, kept until the service has them for good, and news."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agent_service.documents.document_copies import deep_copy

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agent_service.plans.sinks.engine_process._frames import FrameProtocol, Message
    from agent_service.protocols import Document

_COLLECTED_S: Final = 0.02
"""How long documents are collected, unless a plan ends: each hand-over costs the RunEngine the interpreter."""


class _Kept(NamedTuple):
    seq: int
    number: int
    name: str
    document: Document

    @property
    def message(self) -> Message:
        return ("document", self.seq, self.name, self.document)


class KeptMessages:
    """Keeps and sends; the intake of the child's `RunEngineDriver`, too. From any thread, but for what says otherwise.

    ``news`` returns what is to be said before all else, such as a status that has changed; it is called on the event
    loop. ``number`` is the plan that runs, whose the documents are; ``attached`` says
    whether there is a service that takes documents and results.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, news: Callable[[], list[Message]]) -> None:
        self.number = 0
        self._loop = loop
        self._news = news
        self._lock = threading.Lock()
        self._seq = 0
        self._documents: deque[_Kept] = deque()
        self._open: dict[str, int] = {}
        self._results: dict[int, Message] = {}
        self._unsent: list[Message] = []
        self._connection: FrameProtocol | None = None
        self.attached = False  # whether the service that is there takes documents and results already
        self._waking = False
        self._later: asyncio.TimerHandle | None = None

    # what the driver asks of an intake -----------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Never: the service says whether it has room when it is asked whether a plan may begin."""
        return False

    @property
    def backlog(self) -> int:
        """How many documents the service does not have for good."""
        return len(self._documents)

    def barrier(self, passed: Callable[[], None]) -> None:
        """Call ``passed`` at once: a result is sent behind the documents."""
        passed()

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` at once: see `full`."""
        callback()

    def on_document(self, name: str, document: Document) -> None:
        """Take a document, in the RunEngine's thread."""
        kept = deep_copy(document)
        with self._lock:
            self._seq += 1
            if name == "start":
                self._open[str(kept.get("uid"))] = self._seq
            elif name == "stop":
                self._open[str(kept.get("run_start"))] = self._seq
            entry = _Kept(self._seq, self.number, name, kept)
            self._documents.append(entry)
            if not self.attached:
                return
            self._unsent.append(entry.message)
        self.wake_later()

    # on the event loop --------------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[str]:
        """The runs whose ends the service does not have for good yet."""
        with self._lock:
            return list(self._open)

    @property
    def empty(self) -> bool:
        """Whether the service has every document."""
        return not self._documents

    def finish(self, number: int, result: Any) -> None:
        """Keep how a plan ended, and say it."""
        self._results[number] = message = ("ended", number, result)
        if self.attached:
            self.say(message)

    def say(self, *messages: Message) -> None:
        """Say something to the service that is there; nobody else needs to hear it. From any thread."""
        with self._lock:
            if self._connection is not None:
                self._unsent += messages
        self.wake()

    def stored(self, seq: int) -> None:
        """Forget documents that the service has on disk, up to a number."""
        with self._lock:
            while self._documents and self._documents[0].seq <= seq:
                kept = self._documents.popleft()
                if kept.name == "stop":
                    self._open.pop(str(kept.document.get("run_start")), None)

    def forget(self, number: int, *, documents: bool) -> None:
        """Forget how a plan ended, and its documents where the service keeps none on disk."""
        self._results.pop(number, None)
        if documents:
            with self._lock:
                forgotten = [kept for kept in self._documents if kept.number == number]
                for kept in forgotten:
                    self._open.pop(str(kept.document.get("uid" if kept.name == "start" else "run_start")), None)
                if forgotten:
                    self._documents = deque(kept for kept in self._documents if kept.number != number)

    def connect(self, connection: FrameProtocol | None) -> None:
        """Answer a service that is there from here on, and keep the rest until `attach`; None: there is none."""
        with self._lock:
            self._connection, self.attached, self._unsent = connection, False, []

    def hand_over(self) -> None:
        """Send the documents that are kept to the service that is there, and say which runs more may come of."""
        with self._lock:
            if self._connection is not None:
                self._unsent += [kept.message for kept in self._documents]
                self._unsent.append(("handed over", tuple(self._open)))
        self.wake()

    def attach(self) -> None:
        """Send everything that is kept to the service that is there, and what comes from here on."""
        with self._lock:
            self.attached = self._connection is not None
            if self.attached:
                self._unsent += [kept.message for kept in self._documents]
                self._unsent += self._results.values()
        self.wake()

    def wake(self) -> None:
        """Have everything sent at once; from any thread."""
        if not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self.send)

    def wake_later(self) -> None:
        """Have everything sent soon, with what comes until then; from any thread."""
        if self._later is None and not self._waking:
            self._loop.call_soon_threadsafe(self._send_later)

    def _send_later(self) -> None:
        if self._later is None:
            self._later = self._loop.call_later(_COLLECTED_S, self.send)

    def send(self) -> None:
        """Send what there is, unless the service does not keep up: then when it does again.

        Soon after it sent something it looks again by itself, so that a thread that has more need not wake it: each
        waking costs the RunEngine the interpreter.
        """
        self._waking = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        connection = self._connection
        if connection is None or connection.full:
            return
        with self._lock:
            messages, self._unsent = self._unsent, []
        messages = [*self._news(), *messages]
        if messages:
            connection.send(messages)
            self._later = self._loop.call_later(_COLLECTED_S, self.send)
