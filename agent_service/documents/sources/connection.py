"""A thread of a source's own that keeps a connection, whatever happens at the other end."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import ServiceError
from agent_service.errors.texts import describe, without_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.documents.sources.presence import Presence
    from agent_service.models import SourceStatus
    from agent_service.protocols import Document, Intake

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
_STOPS_WITHIN_S: Final = 2.0
_CLOCKS_DIFFER_S: Final = 1.0
"""How far the clock of a publisher, or of its broker, may be behind this one."""

_log = logging.getLogger(__name__)


def hand_over(intake: Intake, name: str, document: Document, stored: Callable[[], None] | None = None) -> None:
    """Put a document into an intake; what that raises must not end the source."""
    try:
        intake.put(name, document, stored)
    except Exception:  # noqa: BLE001 - a bug of ours
        _log.exception("a %s document was not taken", name)


class Connection:
    """Works in a thread until it is stopped; after a failure it tries again, with growing pauses.

    Parameters
    ----------
    presence
        Told when the other end is away; ``work`` says when it is there.
    work
        ``work(stopping)`` connects, hears, and returns soon after ``stopping`` is set. What it raises is why the other
        end is away.
    """

    def __init__(self, presence: Presence, work: Callable[[threading.Event], None]) -> None:
        self._presence = presence
        self._work = work
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._stopping = threading.Event()
        self._presence.starting()
        name = f"source-{self._presence.kind}"
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; harmless the second time. Takes a moment, so not for an event loop."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOPS_WITHIN_S)
            if self._thread.is_alive():
                _log.warning("source %s did not end within %g s", self._presence.kind, _STOPS_WITHIN_S)
        self._presence.stopped()

    def _run(self, stopping: threading.Event) -> None:
        pause_s = FIRST_PAUSE_S
        while not stopping.is_set():
            try:
                self._work(stopping)
            except:  # noqa: E722 - a library's, of a peer that does anything; confluent_kafka raises what is no exception
                error: Any = sys.exception()
                if self._presence.is_connected:
                    pause_s = FIRST_PAUSE_S
                reason = error.detail if isinstance(error, ServiceError) else describe(error)
                _log.debug("source %s", self._presence.kind, exc_info=error)
                self._presence.away(without_keys(reason))
            stopping.wait(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


class ConnectedSource:
    """What sources have in common that keep a `Connection`: their presence, and the intake while they run.

    ``hear`` is the ``work`` of the connection. ``needed_since`` returns the time (s) from which on documents are needed
    where the broker knows no place to go on from, or None: from the start on; ``again`` says whether they are needed
    even where it knows that this service, or another, has them.
    """

    def __init__(
        self,
        presence: Presence,
        hear: Callable[[threading.Event], None],
        needed_since: Callable[[], float | None] = lambda: None,
        *,
        again: bool = False,
    ) -> None:
        self.presence = presence
        self._needed_since = needed_since
        self._again = again
        self._again_since: float | None = None  # from when on documents are needed again
        self._intake: Intake | None = None
        self._wants_since = 0.0
        self._connection = Connection(presence, hear)

    @property
    def status(self) -> SourceStatus:
        """How it is at present."""
        return self.presence.status

    def start(self, intake: Intake) -> None:
        """Begin to hear; what is published from now on counts, though it takes seconds until there is a connection."""
        self._intake = intake
        needed, now = self._needed_since(), time.time() - _CLOCKS_DIFFER_S
        self._wants_since = now if needed is None else min(now, needed)
        self._again_since = needed if self._again else None
        self._connection.start()

    def stop(self) -> None:
        """Hear no more."""
        self._intake = None
        self._connection.stop()

    def _put(self, name: str, document: Document, stored: Callable[[], None] | None = None) -> None:
        """Hand a document over, unless nothing is heard any more."""
        if (intake := self._intake) is not None:
            hand_over(intake, name, document, stored)
