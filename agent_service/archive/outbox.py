"""The outbox: what is in the spool and in the journal goes into the catalogue, in order and exactly once."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from agent_service.archive.agent_streams import AgentStreams, ensure_agents
from agent_service.archive.decisions import load_fold
from agent_service.archive.nodes import is_server_fault, is_transient
from agent_service.archive.runs import documents_of, is_written, withdraw, write_run
from agent_service.archive.wire import Done, Drain, Fetch, Forget, FromChild, Lag, State, WaitFor
from agent_service.errors import ServiceError
from agent_service.journal import read_facts, read_snapshot
from agent_service.spool import Spool, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.archive.inbox import Inbox
    from agent_service.state_dir import StateDir

_IDLE_S: Final = 1.0
_FACTS_EVERY_S: Final = 2.0
_FACTS_RETRY_S: Final = 30.0
_LOOK_AGAIN_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_ATTEMPTS: Final = 5
"""Times a run is sent to a server that answers and fails on it, before it is taken for refused."""

_log = logging.getLogger(__name__)


class _Unreachable(Exception):
    """The catalogue cannot be written now; nothing is known against what was sent."""


class Outbox:
    """Writes runs and decisions into the catalogue until it is told to stop.

    Parameters
    ----------
    state
        The state directory: the spool, the journal, and the cursor into it.
    connect
        Returns Tiled's client of the catalogue, or raises a `ServiceError`.
    send
        Tells the service something.
    inbox
        What the service says.

    Notes
    -----
    One thread calls `run` and does everything, so that a catalogue on SQLite or DuckDB has one writer.
    """

    def __init__(
        self,
        state: StateDir,
        *,
        connect: Callable[[], Any],
        send: Callable[[FromChild], None],
        inbox: Inbox,
    ) -> None:
        self._spool = Spool(state.spool)
        self._journal = state.journal
        self._cursor = state.outbox
        self._connect = connect
        self._send = send
        self._inbox = inbox
        self._root: Any = None
        self._streams: AgentStreams | None = None
        self._newest_fact = load_fold(state.outbox, snapshot=read_snapshot(state.journal)).seq
        self._written_before = self._newest_fact
        self._facts_due = 0.0
        self._look_due = 0.0
        self._attempts: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        self._waits: dict[int, WaitFor] = {}
        self._drains: dict[int, Drain] = {}
        self._fetches: dict[int, Fetch] = {}
        self._lag: Lag | None = None

    def run(self) -> None:
        """Write until told to stop; errors of the catalogue are told, and tried again with growing pauses."""
        failures = 0
        while not self._inbox.stopping.is_set():
            pause_s = 0.0
            try:
                self._ready()
                if not self._step():
                    pause_s = _IDLE_S
                failures = 0
            except _Unreachable as error:
                failures += 1
                pause_s = min(_LONGEST_WAIT_S, 0.5 * 2**failures)
                self._root = self._streams = None
                self._send(State(ready=False, reason=str(error)))
            self.report_lag()
            self._listen(pause_s)
        if self._streams is not None:
            with contextlib.suppress(_Unreachable):
                self._write_facts()  # the end of the service's session, most likely

    def report_lag(self) -> None:
        """Tell how much is still to be written, if that changed."""
        written = self._streams.seq if self._streams else self._written_before
        try:
            while facts := read_facts(self._journal, after=self._newest_fact, limit=1000):
                self._newest_fact = facts[-1].seq or self._newest_fact
        except ServiceError as error:
            _log.warning("%s", error)
        lag = Lag(
            runs=len(self._spool.complete()),
            facts=max(0, self._newest_fact - written),
            refused=len(self._spool.refused()),
        )
        if lag != self._lag:
            self._lag = lag
            self._send(lag)

    def _ready(self) -> None:
        if self._root is not None:
            return
        try:
            root = self._connect()
            streams = AgentStreams(ensure_agents(root), journal=self._journal, cursor=self._cursor)
        except (ServiceError, httpx.HTTPError) as error:
            raise _Unreachable(_said(error)) from error
        self._root, self._streams = root, streams
        self._send(State(ready=True))

    def _step(self) -> bool:
        """Write one run, and now and then a batch of facts; return whether there was anything to write."""
        files = self._spool.complete()
        if files:
            self._write_run(files[0])
        now = time.monotonic()
        wrote_facts = False
        if now >= self._facts_due and (len(files) <= 1 or now >= self._facts_due + _FACTS_EVERY_S):
            wrote_facts = self._write_facts()
        self._answer()
        return bool(files) or wrote_facts

    def _write_run(self, path: Path) -> None:
        uid, start = "", {}
        try:
            name, start = next(self._spool.read(path))
            uid = str(start["uid"]) if name == "start" else ""
            self._check(path)
            write_run(self._root, uid, lambda: self._spool.read(path))
        except FileNotFoundError:
            return
        except Exception as error:  # the writer may raise anything at a document it does not expect
            if is_transient(error):
                raise _Unreachable(_said(error)) from error
            tried = self._attempts[path.name] = self._attempts.get(path.name, 0) + 1
            if is_server_fault(error) and tried < _ATTEMPTS:
                raise _Unreachable(_said(error)) from error
            self._refuse(path, uid, error)
            return
        self._attempts.pop(path.name, None)
        self._spool.archived(path, start)
        self._settle(uid, None)

    def _check(self, path: Path) -> None:
        """Read a run through before its first document goes out: what is not whole would leave a half behind."""
        name = ""
        for name, _ in self._spool.read(path):  # noqa: B007 - the last one counts
            pass
        if name != "stop":
            msg = "it has no stop document"
            raise ValueError(msg)

    def _refuse(self, path: Path, uid: str, error: Exception) -> None:
        reason = _said(error)
        _log.error(
            "run %s is refused by the catalogue and kept in the spool: %s", uid or path.name, reason, exc_info=error
        )
        if uid:
            try:
                withdraw(self._root, uid)
            except httpx.HTTPError as second:
                raise _Unreachable(_said(second)) from second
        self._attempts.pop(path.name, None)
        self._spool.refuse(path, reason)
        self._refused[uid] = reason
        self._settle(uid, f"the catalogue refused the run {uid}: {reason}")

    def _write_facts(self) -> bool:
        assert self._streams is not None  # noqa: S101 - _ready made it
        self._facts_due = time.monotonic()
        try:
            return self._streams.advance()
        except (httpx.HTTPError, ServiceError) as error:
            if is_transient(error):
                raise _Unreachable(_said(error)) from error
            _log.exception("decisions cannot be written; tried again in %s s", _FACTS_RETRY_S)
            self._facts_due = time.monotonic() + _FACTS_RETRY_S
            self._send(State(ready=True, reason=f"the agents' decisions cannot be written: {_said(error)}"))
            return False

    def _listen(self, pause_s: float) -> None:
        for command in self._inbox.take(timeout_s=pause_s):
            match command:
                case WaitFor():
                    self._waits[command.token] = command
                    self._look_due = 0.0
                case Drain():
                    self._drains[command.token] = command
                case Fetch():
                    self._fetches[command.token] = command
                case Forget():
                    self._waits.pop(command.token, None)
                    self._drains.pop(command.token, None)
                    self._fetches.pop(command.token, None)

    def _answer(self) -> None:
        assert self._streams is not None  # noqa: S101 - _ready made it
        if self._waits and time.monotonic() >= self._look_due:
            # the run may be there since long ago, or be written by somebody else
            self._look_due = time.monotonic() + _LOOK_AGAIN_S
            for uid in {wait.uid for wait in self._waits.values()}:
                self._look_for(uid)
        reached = [drain for drain in self._drains.values() if drain.seq <= self._streams.seq]
        if reached and not self._spool.complete():
            for drain in reached:
                del self._drains[drain.token]
                self._send(Done(token=drain.token))
        for fetch in list(self._fetches.values()):
            self._fetch(fetch)
            del self._fetches[fetch.token]

    def _fetch(self, fetch: Fetch) -> None:
        waiting = [path for path in self._spool.complete() if path.name.endswith(f"-{fetch.uid}.jsonl")]
        try:
            documents = self._spool.read(waiting[0]) if waiting else documents_of(self._root, fetch.uid)
            with Path(fetch.path).open("w", encoding="utf-8") as lines:
                lines.writelines(f"{encode(name, doc)}\n" for name, doc in documents)
        except httpx.TransportError as error:
            raise _Unreachable(_said(error)) from error
        except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
            self._send(Done(token=fetch.token, error=f"the run {fetch.uid} cannot be read: {_said(error)}"))
        else:
            self._send(Done(token=fetch.token))

    def _look_for(self, uid: str) -> None:
        try:
            found = is_written(self._root, uid)
        except httpx.HTTPError as error:
            raise _Unreachable(_said(error)) from error
        if found:
            self._settle(uid, None)
        elif uid in self._refused:
            self._settle(uid, f"the catalogue refused the run {uid}: {self._refused[uid]}")

    def _settle(self, uid: str, error: str | None) -> None:
        for wait in [wait for wait in self._waits.values() if wait.uid == uid]:
            del self._waits[wait.token]
            self._send(Done(token=wait.token, error=error))


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    if isinstance(error, ServiceError | httpx.HTTPError) and lines:
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
