"""Takes every document from its source to the event loop: routed, then on disk, then there in order and in batches."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from agent_service.documents.gate import DocumentGate, Passed
from agent_service.documents.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_service.documents.run_of_document import Routed
    from agent_service.protocols import Document

    Barrier = Callable[[], None]
    Takes = Callable[[DocumentGate], Iterable[Passed]]

HIGH_WATER: Final = 1000
"""Documents received and not yet delivered above which no further plan begins."""

_BATCH_S: Final = 0.01
"""How long documents are collected: each hand-over costs the RunEngine's thread the interpreter's lock."""

_SLICE_S: Final = 0.005
"""How long the event loop is kept at a time with documents that wait."""

_END_S: Final = 10.0
"""How long `DocumentIntake.stop` waits for the documents received to be written."""

_SPOOL_AGAIN_S: Final = 0.5
"""How often the spool is tried again."""

_log = logging.getLogger(__name__)


class DocumentIntake:
    """Takes documents from sources in any thread; one thread of its own writes them to the spool.

    None is ever dropped, and whoever measures never waits for it. Above the high-water mark it is `full`: the sinks
    begin no further plan until `when_room`.

    Parameters
    ----------
    spool
        ``write(name, document, run)``, called before anybody else sees the document; None to keep nothing. The start
        document of a run from elsewhere is written with ``elsewhere=True``, for that run goes on without this service.
        When it
        raises `OSError`, the disk is full for example, it is called again until it does not, and the documents wait:
        nobody learns of a run that could be lost. At the end of the service they are given up.
    on_error
        Told, in the intake's thread, what ``spool`` raised, and None when it went on.
    sync
        Called before it is said that documents are stored, once for many: what was spooled survives a power cut then.
        None: it is said of each at once, and a power cut may take it.
    high_water
        Documents received and not yet delivered from which on it is full.

    Attributes
    ----------
    gate
        What the documents pass, in the intake's thread; see `in_turn`.
    """

    def __init__(
        self,
        spool: Callable[..., None] | None,
        *,
        on_error: Callable[[Exception | None], None] = lambda _: None,
        sync: Callable[[], None] | None = None,
        high_water: int = HIGH_WATER,
    ) -> None:
        self._spool = spool
        self._on_error = on_error
        self._sync = sync
        self._high_water = high_water
        self.gate = DocumentGate()
        self._received: deque[Takes | _Barrier | _Resumed] = deque()
        self._stored: list[Callable[[], None]] = []
        self._ready: deque[Routed | Barrier] = deque()
        self._waiting_for_room: deque[Callable[[], None]] = deque()
        self._thread = threading.Thread(target=self._write_all, name="document-intake", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_document: Callable[[str, Document, str], None] = lambda name, document, run: None
        self._wake = threading.Event()
        self._idle = True
        self._given_up = False
        self._handing_over = False
        self._ending = threading.Lock()
        self._ended = threading.Event()

    @property
    def keeps(self) -> bool:
        """Whether documents are kept in a spool."""
        return self._spool is not None

    @property
    def backlog(self) -> int:
        """How many documents were received and not yet delivered."""
        return len(self._received) + len(self._ready)

    @property
    def full(self) -> bool:
        """Whether the backlog is at the high-water mark."""
        return self.backlog >= self._high_water

    def start(self, on_document: Callable[[str, Document, str], None]) -> None:
        """Begin: ``on_document(name, document, run)`` is called in order, on this event loop, after the spool.

        ``run`` is the uid of the document's run, empty for none that is open. What it raises is logged.
        """
        self._loop, self._on_document = asyncio.get_running_loop(), on_document
        self._thread.start()

    def put(
        self,
        name: str,
        document: Document,
        stored: Callable[[], None] | None = None,
        origin: Origin = Origin.HERE,
    ) -> None:
        """Take a document. See `protocols.Intake`."""
        self._received.append(partial(DocumentGate.put, name=name, document=document, origin=origin, stored=stored))
        if self._idle or name == "stop":  # somebody waits for the end of a run
            self._wake.set()

    def in_turn(self, takes: Takes) -> None:
        """Have ``takes(gate)`` called in the intake's thread, and deliver what it lets pass; from any thread."""
        self._received.append(takes)
        self._wake.set()

    def resume(self, documents: list[tuple[str, Document]], origin: Origin = Origin.ELSEWHERE) -> None:
        """Go on with a run that was open when the service ended, and goes on, with its documents from the spool.

        They are delivered again, and not written again.
        """
        self._received.append(_Resumed(documents, origin))
        self._wake.set()

    def barrier(self, passed: Callable[[], None]) -> None:
        """Call ``passed`` on the event loop when all documents so far were delivered; from any thread.

        Nobody hears of a plan's end before its documents. Before `start` and after `stop` nobody hears of any,
        and it is called at once, in this thread.
        """
        with self._ending:
            if self._loop is not None and not self._ended.is_set():
                self._received.append(_Barrier(passed))
                self._wake.set()
                return
        passed()

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once it is not `full`: now, in this thread, or later, on the event loop."""
        self._waiting_for_room.append(callback)
        self._tell_of_room()

    async def stop(self) -> None:
        """End, when the documents received were delivered. Stop the sources first, and the sink: they have the last."""
        with self._ending:
            self._ended.set()
        self._wake.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, _END_S)
        if self._thread.is_alive():
            _log.error("%d documents were not delivered within %.0f s", self.backlog, _END_S)
        while self._ready:
            self._hand_over()

    # in the intake's thread ---------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while self._received or not self._ended.is_set():
            self._wake.wait(None if self._idle else _BATCH_S)
            self._wake.clear()
            self._idle = not self._received  # before they are taken out: whoever puts one later wakes this thread
            while self._received:
                received = self._received.popleft()
                if isinstance(received, _Barrier):
                    self._ready.append(received.passed)
                elif isinstance(received, _Resumed):
                    passed = [passed_on.routed for passed_on in self.gate.resume(received.documents, received.origin)]
                    self._ready.extend(routed for routed in passed if routed is not None and routed.run)
                else:
                    self._write(received)
            self._wake_loop()
            self._tell_stored()

    def _write(self, takes: Takes) -> None:
        if self._given_up:  # what comes behind it would make a run that is short
            return
        try:
            for routed, stored in takes(self.gate):
                on_disk = routed is None or self._keep(routed)
                if routed is not None:
                    self._ready.append(routed)
                if on_disk and stored is not None:
                    self._stored.append(stored)
                    if self._sync is None:
                        self._tell_stored()
        except _GivenUpError:
            self._given_up = True
        except Exception:  # noqa: BLE001 - one bad document must not end the intake
            _log.exception("a document was not delivered")

    def _tell_stored(self) -> None:
        """Say which documents are on disk, when they are: once for a batch, for each costs the disk milliseconds."""
        if not self._stored:
            return
        try:
            if self._sync is not None:
                self._sync()
        except OSError as error:
            _log.error("documents cannot be kept safe from a power cut: %s; it is tried again with the next", error)
            return
        callbacks, self._stored = self._stored, []
        for stored in callbacks:
            stored()

    def _keep(self, routed: Routed) -> bool:
        """Put a document into the spool, however long that takes, and return whether it is there."""
        if self._spool is None:
            return True
        failed = False
        while True:
            try:
                if routed.name == "start" and self.gate.is_elsewhere(routed.run):
                    self._spool(*routed, elsewhere=True)
                else:
                    self._spool(*routed)
            except OSError as error:
                if not failed:
                    _log.error("documents cannot be spooled: %s; they wait until they can be", error)
                    self._on_error(error)
                    self._wake_loop()
                failed = True
                if self._ended.wait(_SPOOL_AGAIN_S):
                    raise _GivenUpError from error
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end the intake
                _log.exception("a %s document was not spooled", routed.name)
                self._on_error(error)
                return False
            else:
                if failed:
                    self._on_error(None)
                return True

    def _wake_loop(self) -> None:
        if not self._ready or self._handing_over or self._loop is None:
            return
        self._handing_over = True
        try:
            self._loop.call_soon_threadsafe(self._hand_over)
        except RuntimeError:
            _log.debug("the event loop is closed, nobody waits for documents any more")

    # on the event loop --------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Deliver what is on disk, for a while; then let the event loop do other things first."""
        self._handing_over = False
        ends_at = time.perf_counter() + _SLICE_S
        while self._ready and time.perf_counter() < ends_at:
            ready = self._ready.popleft()
            try:
                if callable(ready):
                    ready()
                else:
                    self._on_document(*ready)
            except Exception:  # noqa: BLE001 - one bad document must not end the others
                _log.exception("a %s document was not delivered", "plan's last" if callable(ready) else ready.name)
        self._wake_loop()
        self._tell_of_room()

    def _tell_of_room(self) -> None:
        while self._waiting_for_room and not self.full:
            try:
                callback = self._waiting_for_room.popleft()
            except IndexError:  # another thread was quicker
                return
            callback()


class _Barrier(NamedTuple):
    """What is called when all documents before it were delivered."""

    passed: Callable[[], None]


class _Resumed(NamedTuple):
    """The documents of a run that are in the spool already."""

    documents: list[tuple[str, Document]]
    origin: Origin


class _GivenUpError(Exception):
    """The service ended before the disk took a document."""
