"""The files of a spool: the runs that have ended, for the catalogue and for a service that comes back."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING, Final

from agent_service.documents.json_lines import decode
from agent_service.documents.run_of_document import suggestion_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from agent_service.protocols import Document

_COMPLETE_NAME: Final = re.compile(r"(\d{12})-.+\.jsonl")

_log = logging.getLogger(__name__)


class SpoolFiles:
    """The runs in the folders of a spool, which are made when they are missing; for any process."""

    def __init__(self, directory: Path) -> None:
        self._open = directory / "open"
        self._elsewhere = directory / "elsewhere"
        self._complete = directory / "complete"
        self._refused = directory / "refused"
        self._kept = directory / "kept"
        self._ended_in = (self._complete, self._refused, self._kept)
        for folder in (directory.parent, directory, self._open, self._elsewhere, *self._ended_in):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

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

    def archived(self, path: Path, start: Document, name: str = "") -> None:
        """Give up a run that is in the catalogue; that of a suggestion is kept until `forget`.

        Parameters
        ----------
        path
            Its file; does nothing when it is already gone.
        start
            Its start document.
        name
            Another name for it.
        """
        with contextlib.suppress(FileNotFoundError):
            if suggestion_of(start):
                path.replace(self._kept / (name or path.name))
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
        by_suggestion: dict[str, list[list[tuple[str, Document]]]] = {}
        if not suggestion_ids:
            return by_suggestion
        # in the order in which a file moves, so that none is missed while an archive works
        for folder in (self._complete, self._refused, self._kept):
            for path in sorted(folder.glob("*.jsonl")):
                start = self._start_of(path)
                if start is None or (suggestion_id := suggestion_of(start)) not in suggestion_ids:
                    continue
                try:
                    by_suggestion.setdefault(suggestion_id, []).append(list(self.read(path)))
                except FileNotFoundError:
                    continue
                except ValueError as error:
                    _log.warning("a run in the spool cannot be read: %s", error)
        for runs in by_suggestion.values():
            runs.sort(key=lambda documents: _time_of(documents[0][1]))
        return by_suggestion

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


def _time_of(start: Document) -> float:
    seconds = start.get("time")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def completed_number(path: Path) -> int:
    """Return the number in the order of completion that a complete run's file has; 0 for another file."""
    match = _COMPLETE_NAME.fullmatch(path.name)
    return int(match[1]) if match else 0
