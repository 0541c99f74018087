"""Decisions that the catalogue refused: kept on disk in full, a file for each stream of an agent's run.

The files are in ``STATE/spool/decisions/refused``, a row a line, with the reason in ``NAME.reason``. To have them tried
again, a file moves to ``again``, from any process; the archive takes it from there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agent_service.archive.decisions import AgentRun, Row, RunEnd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


_log = logging.getLogger(__name__)


class Aside:
    """The decisions put aside in a spool.

    Parameters
    ----------
    spool
        Folder of the spool; what is missing in it is made.

    Notes
    -----
    `put` and `done` belong to the archive; the rest may be called from any process.
    """

    def __init__(self, spool: Path) -> None:
        self._refused = spool / "decisions" / "refused"
        self._again = spool / "decisions" / "again"
        for folder in (spool, spool / "decisions", self._refused, self._again):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._counted: dict[tuple[str, int], int] = {}

    def put(self, steps: Sequence[Row | RunEnd], reason: str) -> None:
        """Put rows of one stream aside, or the end of a run; twice is as good as once."""
        first = steps[0]
        stream = first.stream if isinstance(first, Row) else "stop"
        path = self._refused / f"{first.run.uid}-{stream}.jsonl"
        path.with_suffix(".reason").write_text(f"{reason}\n", encoding="utf-8")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w", encoding="utf-8") as lines:
            lines.write("\n")  # a kill may have left half a line, whose row comes again
            lines.writelines(f"{_encode(step)}\n" for step in steps)
            lines.flush()
            os.fsync(lines.fileno())

    def count(self) -> int:
        """Return how many decisions are put aside, those among them that are to be tried again."""
        return sum(self._lines_in(path) for folder in (self._refused, self._again) for path in folder.glob("*.jsonl"))

    def refused(self) -> list[Path]:
        """Return the files of what is put aside."""
        return sorted(self._refused.glob("*.jsonl"))

    def agent_of(self, path: Path) -> str:
        """Return the agent whose decisions are in a file."""
        found = self.read(path)
        return found[0].run.agent if found else ""

    def lines_in(self, path: Path) -> int:
        """Return how many decisions are in a file."""
        return self._lines_in(path)

    def retry(self, path: Path) -> None:
        """Have a file tried again, the next time that the archive looks."""
        with contextlib.suppress(FileNotFoundError):
            path.replace(self._again / f"{path.stem}.{time.time_ns()}.jsonl")
            path.with_suffix(".reason").unlink(missing_ok=True)

    def again(self) -> list[Path]:
        """Return the files of what is to be tried again: rows first, then the ends of their runs."""
        return sorted(self._again.glob("*.jsonl"), key=lambda path: ("-stop." in path.name, path.name))

    def read(self, path: Path) -> list[Row | RunEnd]:
        """Return what is in a file, each decision once, in the order of the journal."""
        found: dict[str, Row | RunEnd] = {}
        with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                try:
                    found[line] = _decode(line)
                except (ValueError, TypeError, KeyError):
                    _log.warning("a line of %s is no decision: %.200s", path, line)
        return sorted(found.values(), key=lambda step: (step.number or 0) if isinstance(step, Row) else 0)

    def done(self, path: Path) -> None:
        """Forget a file: what was in it is written, or put aside anew."""
        path.unlink(missing_ok=True)

    def _lines_in(self, path: Path) -> int:
        try:
            key = (path.name, path.stat().st_size)
            if key not in self._counted:
                self._counted[key] = len(self.read(path))
        except FileNotFoundError:
            return 0
        return self._counted[key]


def _encode(step: Row | RunEnd) -> str:
    fields = {name: value for name, value in asdict(step).items() if name != "run"}
    kind = "row" if isinstance(step, Row) else "end"
    return json.dumps({"kind": kind, "run": step.run.model_dump(mode="json"), **fields})


def _decode(line: str) -> Row | RunEnd:
    fields: dict[str, Any] = json.loads(line)
    kind, run = fields.pop("kind"), AgentRun.model_validate(fields.pop("run"))
    return Row(run=run, **fields) if kind == "row" else RunEnd(run=run, **fields)
