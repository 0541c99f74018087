"""Writes spool and journal into the catalogue, in order and exactly once."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from agent_service.archive.agent_streams import AgentStreams, ensure_agents
from agent_service.archive.attempts import Attempts, CatalogUnreachable, TryAgain, clear_probe, probe, reason_of
from agent_service.archive.backlog import lag_of
from agent_service.archive.decisions import load_fold
from agent_service.archive.messages import Done, Drain, Fetch, Forget, FromChild, Lag, Question, State, WaitFor
from agent_service.archive.refused import RefusedDecisions
from agent_service.archive.runs import NotOursError, documents_of, is_written, withdraw, write_run
from agent_service.documents.json_lines import encode
from agent_service.documents.spool_files import SpoolFiles
from agent_service.errors import ServiceError
from agent_service.journal import reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.archive.inbox import Inbox
    from agent_service.state_dir import StateDir

_IDLE_S: Final = 1.0
_FACTS_EVERY_S: Final = 2.0
_LOOK_AGAIN_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_TRY_AGAIN_S: Final = 2.0
_THEIRS_AGAIN_S: Final = 10.0
"""How often a run is looked for again that somebody else writes into the catalogue."""

_log = logging.getLogger(__name__)


class CatalogWriter:
    """Writes runs and decisions into the catalogue until it is told to stop.

    ``connect`` returns Tiled's client or raises a `ServiceError`; ``files`` is where the catalogue keeps arrays, if it
    is on this machine. One thread calls `run` and does everything, so a catalogue on SQLite or DuckDB has one writer.
    """

    def __init__(
        self,
        state: StateDir,
        *,
        connect: Callable[[], Any],
        send: Callable[[FromChild], None],
        inbox: Inbox,
        files: Path | None = None,
    ) -> None:
        self._files = files
        self._spool = SpoolFiles(state.spool)
        self._refused_decisions = RefusedDecisions(state.spool)
        self._attempts = Attempts(state.spool / "trying.json", probe=self._probe)
        self._journal = reader(state.journal_url)
        self._cursor = state.catalog_cursor
        self._connect = connect
        self._send = send
        self._inbox = inbox
        self._root: Any = None
        self._agents: Any = None
        self._streams: AgentStreams | None = None
        self._newest_fact = load_fold(state.catalog_cursor, snapshot=self._journal.snapshot()).seq
        self._written_before = self._newest_fact
        self._facts_due = 0.0
        self._look_due = 0.0
        self._later: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._questions: dict[int, tuple[Question, set[str]]] = {}  # with the runs that were complete when it came
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
            except CatalogUnreachable as error:
                failures += 1
                pause_s = min(_LONGEST_WAIT_S, 0.5 * 2**failures)
                self._root = self._streams = None
                self._send(State(ready=False, reason=str(error)))
            self.report_lag()
            self._listen(pause_s)
        if self._streams is not None:
            with contextlib.suppress(CatalogUnreachable):
                self._write_facts()  # the end of the service's session, most likely

    def report_lag(self) -> None:
        """Tell how much is still to be written, if that changed."""
        written = self._streams.seq if self._streams else self._written_before
        try:
            self._newest_fact = max(self._newest_fact, self._journal.last_seq())
        except ServiceError as error:
            _log.warning("%s", error)
        refused = self._refused_decisions.count()
        lag = lag_of(self._spool, newest=self._newest_fact, written=written, decisions_refused=refused)
        if lag != self._lag:
            self._lag = lag
            self._send(lag)

    def _ready(self) -> None:
        if self._root is not None:
            return
        try:
            root = self._connect()
            agents = ensure_agents(root)
            clear_probe(agents, self._files)
            streams = AgentStreams(
                agents,
                journal=self._journal,
                cursor=self._cursor,
                refused=self._refused_decisions,
                attempts=self._attempts,
            )
        except Exception as error:  # a proxy's page of HTML in the place of an answer may raise anything
            raise CatalogUnreachable(reason_of(error)) from error
        self._root, self._agents, self._streams = root, agents, streams
        self._send(State(ready=True))

    def _step(self) -> bool:
        """Write one run, and now and then a batch of facts; return whether there was anything to write."""
        files = self._spool.complete()
        now = time.monotonic()
        due = next((path for path in files if self._later.get(path.name, 0.0) <= now), None)
        if due is not None:
            self._write_run(due)
        wrote_facts = False
        if now >= self._facts_due and (len(files) <= 1 or now >= self._facts_due + _FACTS_EVERY_S):
            wrote_facts = self._write_facts()
        self._answer()
        return due is not None or wrote_facts

    def _probe(self) -> None:
        probe(self._agents, self._files)

    def _write_run(self, path: Path) -> None:
        uid, start = "", {}
        mark = None if self._files is not None else _mark_of(path)  # only we write the embedded catalogue
        try:
            self._attempts.begin(path.name)
        except OSError as error:  # a full disk is no fault of the run
            raise CatalogUnreachable(reason_of(error)) from error
        except ValueError as error:
            self._failed(path, uid, error)
            return
        try:
            name, start = next(self._spool.read(path))
            uid = str(start["uid"]) if name == "start" else ""
            write_run(self._root, uid, lambda: self._spool.read(path), files=self._files, mark=mark)
        except NotOursError as error:
            if path.name not in self._later:
                _log.warning("%s; it is looked for again every %.0f s", error, _THEIRS_AGAIN_S)
            self._attempts.done(path.name)
            self._later[path.name] = time.monotonic() + _THEIRS_AGAIN_S
            return
        except Exception as error:  # noqa: BLE001 - the writer may raise anything at a document it does not expect
            if path.exists():
                self._failed(path, uid, error)
            return
        self._attempts.done(path.name)
        self._later.pop(path.name, None)
        self._refused.pop(uid, None)
        _mark_of(path).unlink(missing_ok=True)
        self._spool.archived(path, start)
        self._settle(uid, None)

    def _failed(self, path: Path, uid: str, error: Exception) -> None:
        """Put a run aside, unless the catalogue is away, or it is to be tried again; others go on meanwhile."""
        try:
            self._attempts.judge(path.name, error)
        except TryAgain:
            _log.warning("run %s was not taken, and is tried again: %s", uid or path.name, error)
            self._later[path.name] = time.monotonic() + _TRY_AGAIN_S
            return
        reason = reason_of(error)
        _log.error("run %s is refused by the catalogue and kept: %s", uid or path.name, reason, exc_info=error)
        try:
            if self._files is not None or _mark_of(path).exists():
                withdraw(self._root, uid)
                _mark_of(path).unlink(missing_ok=True)
        except Exception as second:  # noqa: BLE001 - the run is refused all the same
            with contextlib.suppress(TryAgain):
                self._attempts.judge(f"withdraw {path.name}", second)
            reason = f"{reason}; a part of it is in the catalogue and cannot be deleted: {reason_of(second)}"
        self._attempts.done(path.name)
        self._later.pop(path.name, None)
        self._spool.refuse(path, reason)
        self._refused[uid] = reason
        self._settle(uid, f"the catalogue refused the run {uid}: {reason}")

    def _write_facts(self) -> bool:
        assert self._streams is not None  # noqa: S101 - _ready made it
        self._facts_due = time.monotonic()
        try:
            again = self._streams.try_again()
            return self._streams.advance() or again
        except TryAgain as error:
            _log.warning("decisions were not taken, and are tried again: %s", error)
        except ServiceError as error:  # the journal cannot be read now
            _log.warning("%s", error)
        self._facts_due = time.monotonic() + _TRY_AGAIN_S
        return False

    def _listen(self, pause_s: float) -> None:
        for command in self._inbox.commands(timeout_s=pause_s):
            if isinstance(command, Forget):
                self._questions.pop(command.token, None)
            else:
                self._questions[command.token] = command, {path.name for path in self._spool.complete()}
                self._look_due = 0.0

    def _answer(self) -> None:
        assert self._streams is not None  # noqa: S101 - _ready made it
        questions = list(self._questions.values())
        if time.monotonic() >= self._look_due:
            # the run may be there since long ago, or be written by somebody else
            self._look_due = time.monotonic() + _LOOK_AGAIN_S
            for uid in {question.uid for question, _ in questions if isinstance(question, WaitFor)}:
                self._look_for(uid)
        for question, runs in questions:
            if isinstance(question, Fetch):
                self._fetch(question)
            elif isinstance(question, Drain) and question.seq <= self._streams.seq:
                runs.intersection_update(path.name for path in self._spool.complete())
                if not runs:
                    self.report_lag()  # whoever asked hears first what was refused
                    self._send_answer(question.token)

    def _send_answer(self, token: int, error: str | None = None) -> None:
        del self._questions[token]
        self._send(Done(token=token, error=error))

    def _fetch(self, fetch: Fetch) -> None:
        waiting = [path for path in self._spool.complete() if path.name.endswith(f"-{fetch.uid}.jsonl")]
        try:
            documents = self._spool.read(waiting[0]) if waiting else documents_of(self._root, fetch.uid)
            with Path(fetch.path).open("w", encoding="utf-8") as lines:
                lines.writelines(f"{encode(name, doc)}\n" for name, doc in documents)
        except httpx.TransportError as error:
            raise CatalogUnreachable(reason_of(error)) from error
        except Exception as error:  # noqa: BLE001 - whatever a run is, asking for it must not hold up the others
            self._send_answer(fetch.token, f"the run {fetch.uid} cannot be read: {reason_of(error)}")
        else:
            self._send_answer(fetch.token)

    def _look_for(self, uid: str) -> None:
        try:
            written = is_written(self._root, uid)
        except httpx.TransportError as error:
            raise CatalogUnreachable(reason_of(error)) from error
        except Exception as error:  # noqa: BLE001 - asking for one run must not hold up the others
            _log.warning("run %s cannot be looked for: %s", uid, error)
            return
        if written:
            self._settle(uid, None)
        elif uid in self._refused:
            self._settle(uid, f"the catalogue refused the run {uid}: {self._refused[uid]}")

    def _settle(self, uid: str, error: str | None) -> None:
        for question, _ in list(self._questions.values()):
            if isinstance(question, WaitFor) and question.uid == uid:
                self._send_answer(question.token, error)


def _mark_of(path: Path) -> Path:
    """Return the file that says that this service has begun to write a run."""
    return path.with_suffix(".begun")
