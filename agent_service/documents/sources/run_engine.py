"""The documents of a RunEngine, and a RunEngine that a notebook replaces."""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from agent_service.documents.document_copies import deep_copy
from agent_service.documents.sources.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent_service.models import SourceStatus
    from agent_service.protocols import Document, Intake

_log = logging.getLogger(__name__)


class RunEngineSource:
    """Source ``run_engine``: the service's own RunEngine, or a user's, which is subscribed and never called.

    In the RunEngine's thread a document is copied (see `deep_copy`), for whoever emitted it may change it afterwards,
    and put into the intake: the run never waits.

    Parameters
    ----------
    engine
        Has ``subscribe(callback) -> token`` and ``unsubscribe(token)``, as bluesky's RunEngine.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._token: Any = None
        self.presence = Presence("run_engine")

    @property
    def status(self) -> SourceStatus:
        """How it is at present."""
        return self.presence.status

    def start(self, intake: Intake) -> None:
        """Subscribe to the RunEngine."""

        def put(name: str, document: Document) -> None:
            try:
                intake.put(name, deep_copy(document))
            except Exception:  # noqa: BLE001 - an exception in a subscriber would abort the user's run
                _log.exception("a %s document was not taken", name)

        self._token = self._engine.subscribe(put)
        self.presence.connected()

    def stop(self) -> None:
        """Unsubscribe; harmless the second time."""
        token, self._token = self._token, None
        if token is not None:
            self._engine.unsubscribe(token)
        self.presence.stopped()


def asks(engine: Any) -> Callable[[Coroutine[Any, Any, Any], float], Any]:
    """Return ``ask(coroutine, timeout_s)``, which awaits for a device in the event loop of a user's RunEngine."""

    def ask(answer: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
        present = engine.engine if isinstance(engine, ReplaceableEngine) else engine
        asked = asyncio.run_coroutine_threadsafe(answer, present.loop)
        try:
            return asked.result(timeout_s)
        except TimeoutError:
            asked.cancel()
            raise

    return ask


class ReplaceableEngine:
    """Whichever RunEngine a notebook has at present, as an engine for `RunEngineSource`. From any thread.

    A cell that makes the RunEngine is run again and again; the service goes on with the new one.

    Parameters
    ----------
    engine
        The first RunEngine.
    """

    def __init__(self, engine: Any) -> None:
        self._lock = threading.Lock()
        self._engine = engine
        self._callback: Callable[..., None] | None = None
        self._token: Any = None

    @property
    def engine(self) -> Any:
        """The present RunEngine."""
        return self._engine

    def replace(self, engine: Any) -> bool:
        """Let the present RunEngine go and listen to another; return whether it is another."""
        with self._lock:
            if engine is self._engine:
                return False
            if self._callback is not None:
                self._engine.unsubscribe(self._token)
                self._token = engine.subscribe(self._callback)
            self._engine = engine
        return True

    def subscribe(self, callback: Callable[..., None]) -> int:
        """Subscribe the one callback to the present RunEngine and those to come; return a token."""
        with self._lock:
            self._callback, self._token = callback, self._engine.subscribe(callback)
        return 0

    def unsubscribe(self, token: int) -> None:
        """Let the present RunEngine go."""
        with self._lock:
            self._callback = None
            self._engine.unsubscribe(self._token)
