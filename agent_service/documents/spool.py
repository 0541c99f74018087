"""The spool: a run's documents on disk from its start until it is in the catalogue.

One file of JSON lines per run, ``[name, document]`` a line. It grows in ``open/``, and moves at the stop document to
``complete/``, under a name that sorts in the order of completion. The archive takes it from there, in another process,
and puts the run of a suggestion into ``kept/`` when it is in the catalogue: a service that comes back after a crash
finds here each run that it has not taken in yet, and waits for no catalogue. It forgets a run when it has an outcome.
A line is handed to the operating system before `Spool.write` returns, so a kill -9 loses nothing; a power cut may.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from typing import TYPE_CHECKING, Final

from agent_service.documents.lines import append, decode, encode
from agent_service.documents.routing import suggestion_of
from agent_service.documents.spool_repair import repair

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from agent_service.protocols import Document

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_COMPLETE_NAME: Final = re.compile(r"(\d{12})-.+\.jsonl")
_MAX_STRAYS: Final = 1000
_MAX_KNOWN: Final = 10_000

_log = logging.getLogger(__name__)


class Spool:
    """The spool in a directory.

    Parameters
    ----------
    directory
        Folder on a local disk; made when it is missing.

    Notes
    -----
    `write` and `close_interrupted` belong to one thread of one process, that of the `DocumentIntake`; the other methods
    may be called from any process.
    """

    def __init__(self, directory: Path) -> None:
        self._open = directory / "open"
        self._complete = directory / "complete"
        self._refused = directory / "refused"
        self._kept = directory / "kept"
        for folder in (directory.parent, directory, self._open, self._complete, self._refused, self._kept):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.complete()
        self._completed = _number(found[-1]) if found else 0
        self._known = dict.fromkeys(path.name.partition("-")[2] for path in found)
        self._runs: set[str] = set()
        self._strays: set[str] = set()
        self._ended: set[Path] = set()

    def write(self, name: str, doc: Document, run: str) -> None:
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
                if self._begin(run):
                    self._write(run, name, doc)
            elif run in self._runs:
                self._write(run, name, doc)
            else:
                self._stray(name, doc)
        except (TypeError, ValueError, RecursionError):
            _log.exception("a %s document could not be written to the spool; its run will be incomplete", name)

    def _write(self, run: str, name: str, doc: Document) -> None:
        path = self._path(run)
        try:
            if path not in self._ended:
                append(path, encode(name, doc))
        except OSError:
            if name == "start":
                self._runs.discard(run)
                self._known.pop(path.name, None)
                path.unlink(missing_ok=True)
            raise
        if name == "stop":
            self._ended.add(path)  # a second attempt, after the move failed, writes it no second time
            self._finish(path)
            self._ended.discard(path)
            self._runs.discard(run)

    def complete(self) -> list[Path]:
        """Return the files of complete runs, in the order of completion."""
        return sorted(path for path in self._complete.iterdir() if _COMPLETE_NAME.fullmatch(path.name))

    def refused(self) -> list[Path]:
        """Return the files of runs that the catalogue refused; beside each, ``NAME.reason`` says why."""
        return sorted(self._refused.glob("*.jsonl"))

    def read(self, path: Path) -> Iterator[tuple[str, Document]]:
        """Yield a run's documents in order.

        Raises
        ------
        ValueError
            When a line is no document; says which.
        FileNotFoundError
            When the file is gone.
        """
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                pair = decode(line)
                if pair is None:
                    msg = f"line {number} of {path.name} is no document"
                    raise ValueError(msg)
                yield pair

    def archived(self, path: Path, start: Document) -> None:
        """Give up a run that is in the catalogue; that of a suggestion is kept until `forget`.

        Parameters
        ----------
        path
            Its file; does nothing when it is already gone.
        start
            Its start document.
        """
        with contextlib.suppress(FileNotFoundError):
            if suggestion_of(start):
                path.replace(self._kept / path.name)
            else:
                path.unlink()

    def kept(self) -> dict[Path, str]:
        """Return the files of runs that are in the catalogue and not forgotten, each with its suggestion's id."""
        starts = {path: self._start_of(path) for path in self._kept.iterdir()}
        return {path: suggestion_of(start or {}) for path, start in starts.items()}

    def forget(self, paths: Iterable[Path]) -> None:
        """Forget runs that were kept."""
        for path in paths:
            path.unlink(missing_ok=True)

    def find(self, suggestion_ids: Collection[str]) -> dict[str, list[list[tuple[str, Document]]]]:
        """Return the documents of the complete runs of these suggestions, by suggestion, those that began first first.

        Runs that the catalogue refused are among them. A file that cannot be read is passed over and logged.
        """
        found: dict[str, list[list[tuple[str, Document]]]] = {}
        if not suggestion_ids:
            return found
        # in the order in which a file moves, so that none is missed while an archive works
        for folder in (self._complete, self._refused, self._kept):
            for path in sorted(folder.glob("*.jsonl")):
                start = self._start_of(path)
                if start is None or (suggestion_id := suggestion_of(start)) not in suggestion_ids:
                    continue
                try:
                    found.setdefault(suggestion_id, []).append(list(self.read(path)))
                except FileNotFoundError:
                    continue
                except ValueError as error:
                    _log.warning("a run in the spool cannot be read: %s", error)
        for runs in found.values():
            runs.sort(key=lambda documents: _time_of(documents[0][1]))
        return found

    def _start_of(self, path: Path) -> Document | None:
        try:
            name, doc = next(self.read(path))
        except (FileNotFoundError, ValueError, StopIteration):
            return None
        return doc if name == "start" else None

    def refuse(self, path: Path, reason: str) -> None:
        """Put a run aside that the catalogue will never take, with the reason in a file beside it."""
        kept = self._refused / path.name
        kept.with_suffix(".reason").write_text(reason + "\n", encoding="utf-8")
        path.replace(kept)

    def retry(self, path: Path) -> None:
        """Have a run written again that was put aside; from any process."""
        with contextlib.suppress(FileNotFoundError):
            path.replace(self._complete / path.name)
            path.with_suffix(".reason").unlink(missing_ok=True)

    def uid_of(self, path: Path) -> str:
        """Return the uid of the run in a file; that in the file's name where it has no start document."""
        start = self._start_of(path) or {}
        return str(start.get("uid") or path.stem.partition("-")[2])

    def close_interrupted(self) -> list[str]:
        """Complete the runs that a crash left open, with a stop document that says so; call it before any `write`.

        Returns
        -------
        list of str
            Uids of the runs that were given a stop document: ``exit_status`` "abort", `INTERRUPTED` as the reason.
        """
        closed: list[str] = []
        for path in sorted(self._open.glob("*.jsonl"), key=lambda found: found.stat().st_mtime_ns):
            repaired = repair(path)
            if repaired.run is None:
                path.unlink()
                continue
            if repaired.interrupted:
                closed.append(repaired.run)
            self._finish(path)
        return closed

    def _begin(self, run: str) -> bool:
        if not run:
            _log.warning("a start document without a uid was left out")
            return False
        path = self._path(run)
        if path.name in self._known or path.exists():
            _log.warning("run %.200r began a second time; the repetition was left out", run)
            return False
        self._known[path.name] = None
        while len(self._known) > _MAX_KNOWN:  # the catalogue tells of older ones
            del self._known[next(iter(self._known))]
        self._runs.add(run)
        return True

    def _path(self, run: str) -> Path:
        # a uid may come over HTTP: only a harmless one becomes a file name
        stem = run if _SAFE_NAME.fullmatch(run) else hashlib.sha256(run.encode("utf-8", "replace")).hexdigest()
        return self._open / f"{stem}.jsonl"

    def _finish(self, path: Path) -> None:
        path.replace(self._complete / f"{self._completed + 1:012d}-{path.name}")
        self._completed += 1

    def _stray(self, name: str, doc: Document) -> None:
        owner = str(doc.get("run_start") or doc.get("descriptor") or doc.get("resource") or "")
        if owner not in self._strays and len(self._strays) < _MAX_STRAYS:
            self._strays.add(owner)
            _log.warning("a %s document of %r belongs to no open run and was left out", name, owner)


def _time_of(start: Document) -> float:
    found = start.get("time")
    return float(found) if isinstance(found, int | float) else 0.0


def _number(path: Path) -> int:
    found = _COMPLETE_NAME.fullmatch(path.name)
    return int(found[1]) if found else 0
