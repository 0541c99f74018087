"""The spool: a run's documents on disk from its start until it is in the catalogue.

One file of JSON lines per run, ``[name, document]`` a line. It grows in ``open/``, and moves at the stop document to
``complete/``, under a name that sorts in the order of completion. The archive takes it from there, in another process,
and puts the run of a suggestion into ``kept/`` when it is in the catalogue: a service that comes back after a crash
finds here each run that it has not taken in yet, and waits for no catalogue. It forgets a run when it has an outcome.
A run from elsewhere grows in ``elsewhere/`` instead: it goes on while the service is away, and is gone on with.
A line is handed to the operating system before `Spool.write` returns, so a kill -9 loses nothing; a power cut may.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from typing import TYPE_CHECKING, Final

from agent_service.documents.json_lines import append, encode, sync
from agent_service.documents.run_of_document import suggestion_of
from agent_service.documents.spool_files import SpoolFiles, completed_number
from agent_service.documents.spool_repair import cut_half_line, is_stopped, repair

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from agent_service.documents.ended_runs import EndedRuns
    from agent_service.documents.spool_repair import Repaired
    from agent_service.protocols import Document

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_MAX_STRAYS: Final = 1000
_MAX_KNOWN: Final = 10_000

_log = logging.getLogger(__name__)


class Spool(SpoolFiles):
    """Writes documents into the spool in a directory, in one thread: that of the `DocumentIntake`.

    Parameters
    ----------
    directory
        Folder on a local disk; made when it is missing.
    catalogued
        Whether somebody else writes the runs from elsewhere into the catalogue; those are not for the archive then.
    ended_runs
        Where to write which runs ended, where a source may give them again; None: none does.
    """

    def __init__(self, directory: Path, *, catalogued: bool = False, ended_runs: EndedRuns | None = None) -> None:
        super().__init__(directory)
        self._catalogued = catalogued
        self._ended_runs = ended_runs
        files = self.complete()
        self._completed = completed_number(files[-1]) if files else 0
        self._known = dict.fromkeys(path.name.partition("-")[2] for path in files)
        self._runs: dict[str, Path] = {}
        self._strays: set[str] = set()
        self._ended: set[Path] = set()
        self._unsafe: set[Path] = set()

    def write(self, name: str, doc: Document, run: str, *, elsewhere: bool = False) -> None:
        """Write a document to the file of ``run``; at the stop document the run becomes complete.

        Never raises for what a document is: one that belongs to no open run, or starts a run that is already there, is
        logged and left out.

        Raises
        ------
        OSError
            When the disk does not take it. Nothing of it is there then; write it again, before any other.
        """
        try:
            if name == "start":
                if self._begin(run, self._elsewhere if elsewhere else self._open):
                    self._write(run, name, doc)
            elif run in self._runs:
                self._write(run, name, doc)
            else:
                self._stray(name, doc)
        except (TypeError, ValueError, RecursionError):
            _log.exception("a %s document could not be written to the spool; its run will be incomplete", name)

    def _write(self, run: str, name: str, doc: Document) -> None:
        path = self._runs[run]
        try:
            if path not in self._ended:
                append(path, encode(name, doc))
                self._unsafe.add(path)
        except OSError:
            if name == "start":
                self._runs.pop(run)
                self._known.pop(path.name, None)
                path.unlink(missing_ok=True)
            raise
        if name == "stop":
            self._ended.add(path)  # a second attempt, after the move failed, writes it no second time
            if self._ended_runs is not None:
                self._ended_runs.add(run)  # first: a run that is gone from here is known all the same
            self._finish(path)
            self._ended.discard(path)
            self._runs.pop(run)

    def sync(self) -> None:
        """Make what was written since safe from a power cut. Belongs to the thread of `write`.

        Raises
        ------
        OSError
            When the disk does not take it; all of it is tried again the next time.
        """
        folders = {path.parent for path in self._unsafe}
        for path in (*self._unsafe, *folders):
            with contextlib.suppress(FileNotFoundError):  # the archive was quicker: the catalogue has it
                sync(path)
        self._unsafe.clear()

    def close_interrupted(self, *, but: Collection[str] = ()) -> list[str]:
        """Complete the runs that a crash left open, with a stop document that says so; call it before any `write`.

        Parameters
        ----------
        but
            Runs that are left open, or suggestions whose runs are: somebody else may measure them still.

        Returns
        -------
        list of str
            Uids of the runs that were given a stop document: ``exit_status`` "abort", `INTERRUPTED` as the reason.
        """
        closed = self._close(self._open, but=but)
        return [repaired.run for repaired in closed if repaired.run and repaired.interrupted]

    def close_elsewhere(self) -> None:
        """Complete the runs from elsewhere that are open: no source is there any more that could bring their ends."""
        for _ in self._close(self._elsewhere):
            pass

    def open_elsewhere(self) -> list[list[tuple[str, Document]]]:
        """Return the documents of the runs from elsewhere that are open, to go on with; call it before any `write`."""
        return self._go_on(self._elsewhere.glob("*.jsonl"))

    def open_here(self) -> list[list[tuple[str, Document]]]:
        """Do what `open_elsewhere` does with the runs from here, as those that `close_interrupted` left open."""
        return self._go_on(self._open.glob("*.jsonl"))

    def _go_on(self, paths: Iterable[Path]) -> list[list[tuple[str, Document]]]:
        runs: list[list[tuple[str, Document]]] = []
        for path in sorted(paths):
            if (run := cut_half_line(path)) is None:
                path.unlink()
                continue
            documents = list(self.read(path))
            if documents[-1][0] == "stop":  # a kill came before it was moved
                self._finish(path)
                continue
            self._runs[run] = path
            runs.append(documents)
        return runs

    def _close(self, folder: Path, *, but: Collection[str] = ()) -> Iterator[Repaired]:
        for path in sorted(folder.glob("*.jsonl"), key=lambda file: file.stat().st_mtime_ns):
            start = self._start_of(path) or {}
            if {str(start.get("uid")), suggestion_of(start)}.intersection(but) and not is_stopped(path):
                continue
            repaired = repair(path)
            if repaired.run is None:
                path.unlink()
            else:
                self._finish(path)
                self._runs.pop(repaired.run, None)
            yield repaired

    def ended(self) -> set[str]:
        """Return the uids of the runs that are complete, as far as they are known still; call it before any `write`."""
        there = {self.uid_of(path) for folder in self._ended_in for path in folder.glob("*.jsonl")}
        return there if self._ended_runs is None else there | {*self._ended_runs.read()}

    def _begin(self, run: str, folder: Path) -> bool:
        if not run:
            _log.warning("a start document without a uid was left out")
            return False
        path = self._path(run, folder)
        if path.name in self._known or path.exists():
            _log.warning("run %.200r began a second time; the repetition was left out", run)
            return False
        self._known[path.name] = None
        while len(self._known) > _MAX_KNOWN:  # the catalogue tells of older ones
            del self._known[next(iter(self._known))]
        self._runs[run] = path
        return True

    def _path(self, run: str, folder: Path) -> Path:
        # a uid may come over HTTP: only a harmless one becomes a file name
        stem = run if _SAFE_NAME.fullmatch(run) else hashlib.sha256(run.encode("utf-8", "replace")).hexdigest()
        return folder / f"{stem}.jsonl"

    def _finish(self, path: Path) -> None:
        into = self._complete / f"{self._completed + 1:012d}-{path.name}"
        if self._catalogued and path.parent == self._elsewhere:
            self.archived(path, self._start_of(path) or {}, into.name)
            into = self._kept / into.name
        else:
            path.replace(into)
        self._completed += 1
        if path in self._unsafe:
            self._unsafe.remove(path)
            self._unsafe.add(into)

    def _stray(self, name: str, doc: Document) -> None:
        owner = str(doc.get("run_start") or doc.get("descriptor") or doc.get("resource") or "")
        if owner not in self._strays and len(self._strays) < _MAX_STRAYS:
            self._strays.add(owner)
            _log.warning("a %s document of %r belongs to no open run and was left out", name, owner)
