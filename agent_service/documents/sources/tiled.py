"""Source ``tiled``: the runs that others write into a Tiled catalogue. It also completes what other sources lost.

It searches the catalogue every `LOOKS_EVERY_S`, and at once when the catalogue's websocket says that something was
written: that is only a hint, for it begins anew when the catalogue restarts. A run is taken whole, after its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final, cast

import httpx

from agent_service.documents.sources.connection import ConnectedSource
from agent_service.documents.sources.presence import Presence
from agent_service.errors import BackendUnavailable
from agent_service.errors.texts import without_keys
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection
    from pathlib import Path

    from agent_service.documents.sources.tiled_catalogue import CataloguedRun, TiledCatalogue
    from agent_service.protocols import Intake

LOOKS_EVERY_S: Final = 10.0
"""How often the catalogue is searched, said or not."""

_GATHERS_S: Final = 0.1
"""How long hints are gathered: several are written for one run."""

_MOST_OPEN: Final = 200
"""Most runs that are looked at again because they had not ended."""

_OVERLAP_S: Final = 3600.0
"""How much older than the newest run that was taken one may be that is written late."""

_STOPS_WITHIN_S: Final = 0.1

_REFUSED: Final = "All connection attempts failed"
"""What httpx says where nobody listens."""


class TiledSource(ConnectedSource):
    """Takes runs from a catalogue; a `Completer`.

    Parameters
    ----------
    open_catalogue
        Returns the catalogue, as a context, for each connection.
    where
        Its address, for the status.
    has_ended
        Whether the end of a run has passed; from any thread.
    cursor
        File that remembers up to when runs were taken, so that those of a time away are taken after it.
    """

    def __init__(
        self,
        open_catalogue: Callable[[], TiledCatalogue],
        *,
        where: str,
        has_ended: Callable[[str], bool],
        cursor: Path,
    ) -> None:
        self._open_catalogue = open_catalogue
        self._has_ended = has_ended
        self._cursor = _Cursor(cursor)
        super().__init__(Presence("tiled", without_keys(where)), lambda stopping: asyncio.run(self._hear(stopping)))
        self.answered = self._tickets = 0
        self._wanted: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._begun: set[str] = set()
        self._open: dict[str, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()

    def start(self, intake: Intake) -> None:
        """Begin to take runs."""
        self._cursor.read()
        super().start(intake)

    def look_for(self, runs: Collection[str], suggestions: Collection[str], *, at_once: bool = False) -> None:
        """Look for runs, and for those of suggestions; runs that are new are looked for at once."""
        before, self._wanted = self._wanted, (frozenset(runs), frozenset(suggestions))
        if at_once or self._wanted[0] - before[0]:
            self._wake()

    def look_now(self) -> int:
        """Look at once; see `Completer`."""
        self._tickets += 1
        self._wake()
        return self._tickets

    def _wake(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(self._news.set)

    # in the source's thread ---------------------------------------------------------------------------------------

    async def _hear(self, stopping: threading.Event) -> None:
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        async with self._open_catalogue() as catalogue:
            hints = asyncio.create_task(self._follow(catalogue))
            looking = asyncio.create_task(self._look_again_and_again(catalogue))
            try:
                while not stopping.is_set() and not looking.done():
                    await asyncio.wait({looking}, timeout=_STOPS_WITHIN_S)
                if looking.done():
                    await looking
            except httpx.TimeoutException:
                raise BackendUnavailable("it does not answer") from None
            except httpx.ConnectError as error:
                why = "" if str(error) == _REFUSED else f": {error}"  # as a certificate that is not good
                raise BackendUnavailable(f"nobody answers there{why}") from error
            finally:
                self._loop = None
                hints.cancel()
                looking.cancel()
                await asyncio.gather(hints, looking, return_exceptions=True)

    async def _follow(self, catalogue: TiledCatalogue) -> None:
        """Look at once when the catalogue says that something was written; one that says nothing is looked at too."""
        from websockets.asyncio.client import connect  # noqa: PLC0415 - only where there is such a source

        while True:
            with contextlib.suppress(Exception):
                about: dict[str, Any] = {"additional_headers": catalogue.headers, "ssl": catalogue.tls}
                async with connect(catalogue.stream, **about, max_size=None) as stream:
                    self._news.set()  # what was written before it listened
                    async for message in stream:
                        if _is_about_runs(message):
                            self._news.set()
            await asyncio.sleep(LOOKS_EVERY_S / 4)

    async def _look_again_and_again(self, catalogue: TiledCatalogue) -> None:
        while True:
            await catalogue.ask()
            self._news.clear()
            ticket = self._tickets
            await self._look(catalogue)
            self.answered = ticket
            self.presence.connected()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOKS_EVERY_S):  # `asyncio.wait_for` may lose a cancellation
                    await self._news.wait()
            await asyncio.sleep(_GATHERS_S)

    async def _look(self, catalogue: TiledCatalogue) -> None:
        runs, suggestions = self._wanted
        asked = {*runs, *self._open}
        catalogued = await catalogue.of_uids(asked) if asked else []
        if suggestions:
            catalogued += await catalogue.of_suggestions(suggestions)
        wanted = {run.uid for run in catalogued}
        async for page in catalogue.newest_first():
            new = [run for run in page if run.uid not in self._open and not self._is_done(run)]
            catalogued += new
            if not new:
                break
        for run in {run.uid: run for run in reversed(catalogued)}.values():
            if not self._has_ended(run.uid) and (run.uid in wanted or not self._is_done(run)):
                try:
                    await self._take(catalogue, run)
                except (BackendUnavailable, ValueError, KeyError, TypeError) as error:  # it holds up no other
                    why = error.detail if isinstance(error, BackendUnavailable) else type(error).__name__
                    self.presence.refuse(f"it does not give run {run.uid}, which is asked for again: {why}")

    def _is_done(self, run: CataloguedRun) -> bool:
        """Whether a run was taken, or ended before anybody asked for runs."""
        return self._has_ended(run.uid) or (run.ended_at is not None and run.ended_at < self._cursor.oldest)

    async def _take(self, catalogue: TiledCatalogue, run: CataloguedRun) -> None:
        if run.stop is None:
            self._open[run.uid] = None
            while len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
            if run.uid not in self._begun:  # so that one hears that it began
                self._begun.add(run.uid)
                self._put("start", run.start)
            return
        documents = await catalogue.documents(run.uid)
        if documents:
            self._open.pop(run.uid, None)
            *most, (_, stop) = documents
            for name, document in most:
                if name != "start" or run.uid not in self._begun:
                    self._put(name, document)
            self._begun.discard(run.uid)
            self._put("stop", stop, lambda: self._cursor.advance(run.ended_at))


class _Cursor:
    """Remembers when runs began to be taken, and when the newest of them ended, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = self._newest = 0.0

    @property
    def oldest(self) -> float:
        """Runs that ended before are not taken."""
        return max(self._begun, self._newest - _OVERLAP_S)

    def read(self) -> None:
        """Go on from the last time; the first time, from now."""
        now = self._begun = self._newest = time.time()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = cast("dict[str, Any]", json.loads(self._path.read_text(encoding="ascii")))
            self._begun, self._newest = min(float(kept["begun"]), now), min(float(kept["newest"]), now)
        self._write()

    def advance(self, ended_at: float | None) -> None:
        """Note that a run is on disk that ended then."""
        ended_at = min(ended_at or 0.0, time.time())  # a clock that was ahead would have all others left out
        if ended_at > self._newest:
            self._newest = ended_at
            self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: runs are looked through once more, and known again
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            private_files.write(self._path, json.dumps({"begun": self._begun, "newest": self._newest}))


def _is_about_runs(message: str | bytes) -> bool:
    return b"container-child" in (message.encode() if isinstance(message, str) else message)
