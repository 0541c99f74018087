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
import json
import logging
import os
import re
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agent_service.protocols import Document

INTERRUPTED: Final = "the service was interrupted"
"""Reason in the stop document of a run that a crash left without one."""

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_COMPLETE_NAME: Final = re.compile(r"(\d{12})-.+\.jsonl")
_MAX_STRAYS: Final = 1000
_MAX_KNOWN: Final = 10_000

_log = logging.getLogger(__name__)


def encode(name: str, doc: Document) -> str:
    """Return a document as one line of JSON, without the newline.

    Numpy scalars and arrays become numbers and nested lists; NaN and infinities are kept, as Python's json spells them.
    What JSON cannot say at all becomes its text, so that one odd value never costs a run.
    """
    try:
        return json.dumps([name, doc], default=_plain, separators=(",", ":"))
    except (TypeError, ValueError):
        return json.dumps([name, _with_text_keys(doc)], default=_plain, separators=(",", ":"))


class Spool:
    """The spool in a directory.

    Parameters
    ----------
    directory
        Folder on a local disk; made when it is missing.

    Notes
    -----
    `write` and `close_interrupted` belong to one thread of one process, the service's document pump; the other methods
    may be called from any process.
    """

    def __init__(self, directory: Path) -> None:
        self._open = directory / "open"
        self._complete = directory / "complete"
        self._refused = directory / "refused"
        self._kept = directory / "kept"
        for folder in (directory.parent, directory, self._open, self._complete, self._refused, self._kept):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._routes = _Routes()
        found = self.complete()
        self._completed = _number(found[-1]) if found else 0
        self._known = dict.fromkeys(path.name.partition("-")[2] for path in found)
        self._strays: set[str] = set()
        self._ended: set[Path] = set()

    def write(self, name: str, doc: Document) -> None:
        """Write a document to its run's file; at the stop document the run becomes complete.

        Never raises for what a document is: one that belongs to no open run, or starts a run that is already there, is
        logged and left out.

        Raises
        ------
        OSError
            When the disk does not take it. Nothing of it is there then; write it again, before any other.
        """
        try:
            run = self._begin(doc) if name == "start" else self._routes.run_of(name, doc)
            if run is None:
                if name != "start":
                    self._stray(name, doc)
                return
            self._write(run, name, doc)
        except (TypeError, ValueError, RecursionError):
            _log.exception("a %s document could not be written to the spool; its run will be incomplete", name)

    def _write(self, run: str, name: str, doc: Document) -> None:
        path = self._path(run)
        try:
            if path not in self._ended:
                _append(path, encode(name, doc))
        except OSError:
            if name == "start":
                self._routes.close(run)
                self._known.pop(path.name, None)
                path.unlink(missing_ok=True)
            raise
        if name == "stop":
            self._ended.add(path)  # a second attempt, after the move failed, writes it no second time
            self._finish(path)
            self._ended.discard(path)
            self._routes.close(run)

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
                pair = _decode(line)
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
            if _suggestion_of(start):
                path.replace(self._kept / path.name)
            else:
                path.unlink()

    def kept(self) -> dict[Path, str]:
        """Return the files of runs that are in the catalogue and not forgotten, each with its suggestion's id."""
        starts = {path: self._start_of(path) for path in self._kept.iterdir()}
        return {path: _suggestion_of(start or {}) for path, start in starts.items()}

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
                if start is None or (suggestion_id := _suggestion_of(start)) not in suggestion_ids:
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
            survey = _survey(path)
            if survey.run is None:
                path.unlink()
                continue
            os.truncate(path, survey.size)
            if not survey.stopped:
                _append(path, encode("stop", survey.stop_document()))
                closed.append(survey.run)
            self._finish(path)
        return closed

    def _begin(self, doc: Document) -> str | None:
        run = doc.get("uid")
        if not isinstance(run, str) or not run:
            _log.warning("a start document without a uid was left out")
            return None
        path = self._path(run)
        if path.name in self._known or path.exists():
            _log.warning("run %.200r began a second time; the repetition was left out", run)
            return None
        self._known[path.name] = None
        while len(self._known) > _MAX_KNOWN:  # the catalogue tells of older ones
            del self._known[next(iter(self._known))]
        self._routes.open(run)
        return run

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


class _Routes:
    """Which run a document belongs to."""

    def __init__(self) -> None:
        self._members: dict[str, set[str]] = {}
        self._owners: dict[str, str] = {}

    def open(self, run: str) -> None:
        self._members[run] = set()

    def close(self, run: str) -> None:
        for uid in self._members.pop(run, ()):
            self._owners.pop(uid, None)

    def run_of(self, name: str, doc: Document) -> str | None:
        match name:
            case "stop":
                return self._open_run(doc.get("run_start"))
            case "descriptor" | "resource" | "stream_resource":
                run = self._open_run(doc.get("run_start"))
                if run is None and name == "resource" and "run_start" not in doc and len(self._members) == 1:
                    run = next(iter(self._members))  # old devices leave it out; with one run open there is no doubt
                if run is not None:
                    uid = str(doc.get("uid"))
                    self._members[run].add(uid)
                    self._owners[uid] = run
                return run
            case "event" | "event_page" | "stream_datum":
                return self._owners.get(str(doc.get("descriptor")))
            case "datum" | "datum_page":
                return self._owners.get(str(doc.get("resource")))
            case _:
                return None

    def _open_run(self, run: object) -> str | None:
        return run if isinstance(run, str) and run in self._members else None


@dataclass(slots=True)
class _Survey:
    """What is in the file of a run that a crash left open."""

    run: str | None = None
    size: int = 0
    stopped: bool = False
    time: float = 0.0
    streams: dict[str, str] = field(default_factory=dict[str, str])
    events: Counter[str] = field(default_factory=Counter[str])

    def add(self, name: str, doc: Document) -> None:
        if isinstance(time := doc.get("time"), int | float):
            self.time = max(self.time, time)
        stream = self.streams.get(str(doc.get("descriptor")), "")
        match name:
            case "start":
                self.run = str(doc["uid"])
            case "descriptor":
                stream = str(doc.get("name"))
                self.streams[str(doc.get("uid"))] = stream
                self.events[stream] += 0
            case "event":
                self.events[stream] += 1
            case "event_page":
                self.events[stream] += len(doc.get("seq_num", ()))
            case "stream_datum":
                last = int(doc.get("seq_nums", {}).get("stop", 1)) - 1
                self.events[stream] = max(self.events[stream], last)
            case "stop":
                self.stopped = True
            case _:
                pass

    def stop_document(self) -> Document:
        return {
            "uid": str(uuid.uuid4()),
            "run_start": self.run,
            "time": self.time,
            "exit_status": "abort",
            "reason": INTERRUPTED,
            "num_events": dict(self.events),
        }


def _survey(path: Path) -> _Survey:
    survey = _Survey()
    with path.open("rb") as lines:
        for line in lines:
            pair = _decode(line)
            if pair is None:
                break
            with contextlib.suppress(
                AttributeError, KeyError, TypeError, ValueError
            ):  # an odd document counts for nothing
                survey.add(*pair)
            survey.size += len(line)
    return survey


def _decode(line: bytes) -> tuple[str, Document] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        pair: Any = json.loads(line)
    except ValueError:
        return None
    match pair:
        case [str() as name, dict()]:
            return name, cast("Document", pair[1])
        case _:
            return None


def _suggestion_of(start: Document) -> str:
    found = start.get("agent_suggestion_uid")
    return found if isinstance(found, str) else ""


def _time_of(start: Document) -> float:
    found = start.get("time")
    return float(found) if isinstance(found, int | float) else 0.0


def _append(path: Path, line: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        rest = memoryview(f"{line}\n".encode())
        try:
            while rest:
                rest = rest[os.write(handle, rest) :]
        except OSError:
            os.ftruncate(handle, size)  # half a line would spoil the next one
            raise
    finally:
        os.close(handle)


def _number(path: Path) -> int:
    found = _COMPLETE_NAME.fullmatch(path.name)
    return int(found[1]) if found else 0


def _plain(value: object) -> object:
    """Make of ``value`` something JSON can say; json calls it for what it does not know."""
    to_list = getattr(value, "tolist", None)  # numpy's, for scalars too
    if callable(to_list):
        return to_list()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if isinstance(value, set | frozenset):
        return sorted(cast("set[object]", value), key=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _with_text_keys(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(one) for key, one in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_with_text_keys(one) for one in cast("list[object]", value)]
    return value
