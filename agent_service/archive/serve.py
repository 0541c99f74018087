"""The catalogue of a state directory served again, without a service: ``agent-service catalog STATE``."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Final

from agent_service.archive.process import Archive
from agent_service.catalog import CatalogAddress
from agent_service.errors import BackendUnavailable, UsageError
from agent_service.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_STOP_TIMEOUT_S: Final = 4.0


def serve_catalog(path: Path, *, on_ready: Callable[[str], None], on_start: Callable[[], None] = lambda: None) -> None:
    """Serve the embedded catalogue of a state directory until SIGINT or SIGTERM; call it from the main thread.

    Runs and decisions that the service had not yet written are written now. The directory is held meanwhile, so that no
    service starts on it.

    Parameters
    ----------
    path
        The state directory.
    on_ready
        Called with the catalogue's URI when it answers.
    on_start
        Called before, once it is clear that there is a catalogue to serve: it takes seconds to start.

    Raises
    ------
    UsageError
        When there is no embedded catalogue in that directory, or a service runs on it; says where its catalogue is.
    BackendUnavailable
        When the catalogue cannot be served.
    """
    state = StateDir(path)
    if not (state.catalog / "catalog.db").exists():
        raise UsageError(
            f"there is no embedded catalogue in {state.path}; give the state directory of a service that had one"
        )
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
        asyncio.run(_serve(state, on_ready))
    finally:
        state.release()


async def _serve(state: StateDir, on_ready: Callable[[str], None]) -> None:
    changed, stop = asyncio.Event(), asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: (stop.set(), changed.set()))
    archive = Archive(state, catalog="embedded", on_change=changed.set)
    await archive.start()
    served: str | None = None
    try:
        while not stop.is_set():
            status = archive.status
            if status.state == "ready" and status.uri is not None and status.uri != served:
                served = status.uri
                on_ready(served)
            elif status.state == "unavailable" and served is None:
                raise BackendUnavailable(f"the catalogue in {state.path} cannot be served: {status.reason}")
            await changed.wait()
            changed.clear()
    finally:
        await archive.stop(_STOP_TIMEOUT_S)
