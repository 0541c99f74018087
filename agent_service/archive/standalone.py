"""The catalogue of a state directory served again, without a service: ``agent-service catalog STATE``."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from agent_service.archive.backlog import Backlog, counted
from agent_service.archive.catalog import CatalogAddress
from agent_service.archive.child_process import Archive
from agent_service.archive.refused import refusal
from agent_service.documents.spool import Spool
from agent_service.errors import BackendUnavailable, UsageError
from agent_service.state_dir import StateDir, engine_socket

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_STOP_TIMEOUT_S: Final = 4.0
_TELLS_EVERY_S: Final = 1.0
_MEASURES_STILL: Final = (
    "the RunEngine's process of this service has not ended: runs that are open are left open, and written when the "
    "service is started again, which takes them over"
)


def serve_catalog(
    path: Path,
    *,
    on_ready: Callable[[str], None],
    on_start: Callable[[], None] = lambda: None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the embedded catalogue of a state directory until SIGINT or SIGTERM; call it from the main thread.

    Runs and decisions that the service had not yet written are written first, those that it did not end among them,
    unless its RunEngine's process may still measure them. A catalogue that it had not yet made is made. The directory
    is held meanwhile, so that no service starts on it.

    ``on_start`` is called once it is clear that there is one to serve, ``on_progress`` with lines about what is written
    first or was refused, ``on_ready`` with the URI when it holds everything. Raises `UsageError` or
    `BackendUnavailable`.
    """
    state = StateDir(path)
    _require_embedded(state)
    try:
        state.lock()
    except UsageError as error:
        try:
            address = CatalogAddress.load(state)
        except UsageError:
            raise error from None
        raise UsageError(
            f"a service runs on {state.path} and serves its catalogue at {address.uri}; read it with "
            f"agent_service.open_catalog({str(state.path)!r})"
        ) from None
    try:
        on_start()
        if engine_socket.lives(state.path):
            on_progress(_MEASURES_STILL)
        else:
            Spool(state.spool).close_interrupted()
        asyncio.run(_serve(state, on_ready, on_progress))
    finally:
        state.release()


def _require_embedded(state: StateDir) -> None:
    """Raise `UsageError` for a directory whose service had no embedded catalogue and was not to make one."""
    if state.catalog_files.exists() or (state.catalog / "catalog.db").exists():
        return
    waiting = Backlog.of(state)
    hint = "give the state directory of a service that had one"
    if waiting.runs:  # for whose catalogue, only its service.toml says
        hint = f"still to be written: {waiting}; start a service with a catalogue on it"
    raise UsageError(f"there is no embedded catalogue in {state.path}; {hint}")


async def _serve(state: StateDir, on_ready: Callable[[str], None], on_progress: Callable[[str], None]) -> None:
    changed, stop = asyncio.Event(), asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: (stop.set(), changed.set()))
    archive = Archive(state, catalog="embedded", on_change=changed.set)
    progress = _Progress(on_progress)
    await archive.start()
    served: str | None = None
    try:
        while not stop.is_set():
            status = archive.status
            if status.state == "unavailable" and served is None:
                raise BackendUnavailable(f"the catalogue in {state.path} cannot be served: {status.reason}")
            if status.state == "ready" and status.uri is not None and status.uri != served:
                left = counted(status.runs_behind, status.facts_behind)
                progress.tell(left)
                if not left:
                    refused = refusal(status.runs_refused, status.decisions_refused, state.path)
                    if refused is not None:
                        on_progress(refused)
                    served = status.uri
                    on_ready(served)
            await changed.wait()
            changed.clear()
    finally:
        await archive.stop(_STOP_TIMEOUT_S)


class _Progress:
    """Tells what is left, now and then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._due = 0.0

    def tell(self, left: str) -> None:
        now = time.monotonic()
        if left and now >= self._due:
            self._due = now + _TELLS_EVERY_S
            self._say(f"to be written into the catalogue first: {left}")
