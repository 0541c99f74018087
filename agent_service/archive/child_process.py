"""The service's side of the archive: it starts, watches, restarts, asks and stops one child process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_service.archive import tiled_profiles
from agent_service.archive.backlog import counted, written_seq
from agent_service.archive.catalog import without_key
from agent_service.archive.messages import (
    CATALOG,
    Drain,
    Fetch,
    Forget,
    FromChild,
    Lag,
    Question,
    State,
    Stop,
    WaitFor,
    from_child,
)
from agent_service.documents.spool_files import SpoolFiles
from agent_service.errors import BackendUnavailable, DeadlineExceeded, ServiceError, UsageError
from agent_service.executors.pipe_end import PipeEnd
from agent_service.models import ArchiveStatus
from agent_service.state_dir import JOURNAL_URL, private_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.protocols import Document
    from agent_service.state_dir import StateDir

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_HEALTHY_S: Final = 60.0
_REAP_S: Final = 5.0
_POLL_S: Final = 0.02
_LOG_SIZE: Final = 5_000_000

_log = logging.getLogger(__name__)


class Archive:
    """The archive of a service: ``catalog`` is ``embedded``, ``none``, a Tiled server's URI, or ``profile:NAME``.

    ``last_seq`` returns the number of the newest acknowledged fact, else the child looks once a second; ``on_change``
    is called on the event loop whenever `status` changed. Belongs to the event loop it is started on. The child has a
    session of its own, so Ctrl-C does not reach it, and exits when this process does, for it watches the end of a pipe.

    Raises `UsageError` when the embedded catalogue cannot be in a directory of that name, or there is no such profile.
    """

    def __init__(  # noqa: PLR0913 - all but two by name, and optional
        self,
        state: StateDir,
        *,
        catalog: str,
        api_key: str | None = None,
        last_seq: Callable[[], int] | None = None,
        on_change: Callable[[], None] | None = None,
        journal_url: Callable[[], str] | None = None,
    ) -> None:
        if catalog == "embedded" and "?" in str(state.path):  # DuckDB puts its log beside what is before it
            raise UsageError(
                f"the embedded catalogue cannot be kept in {state.path}: no ? may stand in the path; give another "
                'folder with --state, or take catalog = "none" or a URI'
            )
        if (profile := tiled_profiles.named(catalog)) is not None:
            tiled_profiles.read(profile)
        self._state = state
        self._catalog = catalog
        self._api_key = api_key
        self._on_change = on_change
        shown = catalog if catalog in ("embedded", "none") else without_key(catalog)
        self._status = self._told = ArchiveStatus(catalog=shown, state="none")
        self._last_seq = last_seq
        self._journal_url = journal_url or (lambda: state.journal_url)
        self._written = 0
        self._tokens = itertools.count(1)
        self._asked: dict[int, tuple[Question, asyncio.Future[None]]] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: asyncio.WriteTransport | None = None
        self._stopping = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def status(self) -> ArchiveStatus:
        """The catalogue's state and how far it lags; with ``last_seq`` no fact acknowledged by now is missing in it."""
        if self._last_seq is None or self._catalog == "none":
            return self._status
        return self._status.model_copy(update={"facts_behind": max(0, self._last_seq() - self._written)})

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return self._child.pid if self._child is not None else None

    async def start(self) -> None:
        """Start the child; returns at once, as the child needs seconds before it is ready."""
        if self._catalog == "none" or self._watcher is not None:
            return
        self._change(state="starting")
        self._watcher = asyncio.create_task(self._watch(), name="archive")

    async def stop(self, timeout_s: float) -> None:
        """Let the child finish the run that it writes, else kill it; the rest waits in spool and journal."""
        self._stopping.set()
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        self._send(Stop())
        await asyncio.wait({watcher}, timeout=timeout_s)
        if not watcher.done() and self._child is not None:
            self._child.kill()
        await asyncio.wait({watcher}, timeout=_REAP_S)
        for _, answer in self._asked.values():
            if not answer.done():
                answer.set_exception(BackendUnavailable("the service is stopping"))
        self._change(state="unavailable", uri=None, reason="the service is stopping")

    async def wait_for(self, uid: str, timeout_s: float) -> None:
        """Return when the catalogue holds the run ``uid`` whole.

        Raises `DeadlineExceeded` after ``timeout_s`` seconds, `BackendUnavailable` when there is no catalogue, it
        refused the run, or it cannot be used.
        """
        await self._ask(WaitFor(token=next(self._tokens), uid=uid), timeout_s, f"the run {uid} is not in the catalogue")

    async def drained(self, last_seq: int, timeout_s: float) -> None:
        """Return when what is complete now and the facts up to ``last_seq`` are written or refused; see `wait_for`.

        Returns at once when there is no catalogue.
        """
        if self._catalog == "none":
            return
        await self._ask(
            Drain(token=next(self._tokens), seq=last_seq), timeout_s, "what was measured is not all in the catalogue"
        )

    async def documents(self, uid: str, timeout_s: float = 60.0) -> list[tuple[str, Document]]:
        """Return the documents of a complete run, an empty list when there are none; raises as `wait_for`."""
        handle, name = tempfile.mkstemp(prefix="fetched-", suffix=".jsonl", dir=self._state.path)
        os.close(handle)
        path = Path(name)
        try:
            fetch = Fetch(token=next(self._tokens), uid=uid, path=name)
            await self._ask(fetch, timeout_s, f"the run {uid} could not be read from the catalogue")
            return await asyncio.to_thread(lambda: list(SpoolFiles(self._state.spool).read(path)))
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _ask(self, question: Question, timeout_s: float, failed: str) -> None:
        if self._watcher is None:
            why = "this service has none (catalog = none)" if self._catalog == "none" else "the archive is not running"
            raise BackendUnavailable(f"{failed}: {why}")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[question.token] = (question, answer)
        self._send(question)
        try:
            async with asyncio.timeout(timeout_s):
                await answer
        except TimeoutError:
            failed = f"{failed} after {timeout_s:g} s"
            status = self.status
            if status.state == "unavailable":
                raise BackendUnavailable(f"{failed}: {status.reason}") from None
            behind = counted(status.runs_behind, status.facts_behind) or "nothing"
            raise DeadlineExceeded(
                f"{failed}; the catalogue is {status.state}, still to be written: {behind}; nothing is lost, try again "
                "later"
            ) from None
        finally:
            del self._asked[question.token]
            self._send(Forget(token=question.token))

    async def _watch(self) -> None:
        """Keep a child alive until `stop`; lets no exception out."""
        with contextlib.suppress(ServiceError):  # the child says it again
            self._written = await asyncio.to_thread(written_seq, self._state)
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                ended = await self._live()
            except Exception as error:  # noqa: BLE001 - the service must not end with its archive
                _log.exception("the archive cannot be run")
                ended = str(error)
            if self._stopping.is_set():
                return
            failures = 0 if time.monotonic() - began > _HEALTHY_S else failures + 1
            child_reason = self._status.reason if self._status.state == "unavailable" else None
            reason = child_reason or f"the archive {ended}; it is being started again"
            _log.warning("%s (%s)", reason, self._log_file)
            self._change(state="unavailable", uri=None, reason=reason)
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (failures - 1)) if failures else _FIRST_PAUSE_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):  # `asyncio.wait_for` may lose a cancellation
                    await self._stopping.wait()

    async def _live(self) -> str:
        """Run one child from its start to its end; return how it ended."""
        loop = asyncio.get_running_loop()
        child = self._child = self._spawn()
        assert child.stdin is not None  # noqa: S101 - PIPE was asked for
        assert child.stdout is not None  # noqa: S101
        reader = asyncio.StreamReader()
        hears, says = (PipeEnd(os.dup(pipe.fileno())) for pipe in (child.stdout, child.stdin))
        child.stdout.close()
        child.stdin.close()
        incoming, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), hears)
        outgoing, _ = await loop.connect_write_pipe(asyncio.Protocol, says)
        self._pipe = outgoing
        try:
            for question, _ in self._asked.values():
                self._send(question)
            if self._stopping.is_set():
                self._send(Stop())
            while line := await reader.readline():
                self._on_message(line)
        finally:
            self._pipe = None
            outgoing.close()  # the child exits, if it has not
            incoming.close()
            await self._reap(child)
            self._child = None
        code = child.returncode
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    @staticmethod
    async def _reap(child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _REAP_S
        try:
            while child.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(_POLL_S)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait(_REAP_S)

    @property
    def _log_file(self) -> Path:
        return self._state.path / "archive.log"

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self._catalog == "embedded":  # here, as it takes the child seconds, and serve_catalog goes by it
            for folder in (self._state.catalog, self._state.catalog_files):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # not on its command line, which everybody can read
        environment = {**os.environ, CATALOG: self._catalog, JOURNAL_URL: self._journal_url()}
        if self._api_key is not None:
            environment["TILED_API_KEY"] = self._api_key
        # -P: a file beside the user's notebook must not be taken for a library
        command = [sys.executable, "-P", "-m", "agent_service.archive", str(self._state.path)]
        with os.fdopen(private_files.open_to_append(self._log_file), "ab") as log:
            if os.fstat(log.fileno()).st_size > _LOG_SIZE:
                log.truncate(0)
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=environment,
                start_new_session=True,
            )

    def _send(self, message: Question | Forget | Stop) -> None:
        if self._pipe is not None and not self._pipe.is_closing():
            self._pipe.write(message.line())

    def _on_message(self, line: bytes) -> None:
        try:
            message: FromChild = from_child.validate_json(line)
        except ValidationError:
            _log.warning("the archive said something that was not understood: %r", line[:200])
            return
        if isinstance(message, State):
            state = "ready" if message.ready else "unavailable"
            self._change(state=state, uri=message.uri, reason=message.reason)
        elif isinstance(message, Lag):
            self._written = message.written
            self._change(
                runs_behind=message.runs,
                facts_behind=message.facts,
                runs_refused=message.refused,
                decisions_refused=message.decisions_refused,
            )
        else:
            asked = self._asked.get(message.token)
            if asked is None or asked[1].done():
                return
            if message.error is None:
                asked[1].set_result(None)
            else:
                asked[1].set_exception(BackendUnavailable(message.error))

    def _change(self, **changes: object) -> None:
        self._status = self._status.model_copy(update=changes)
        if (status := self.status) != self._told:
            self._told = status
            if self._on_change is not None:
                self._on_change()
