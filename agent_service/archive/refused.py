"""What the catalogue refused: kept on disk in full, listed for a person, and tried again when asked to.

Runs are kept by the spool, and decisions in ``STATE/spool/decisions/refused``: a file for each stream of an agent's
run, a row a line, with the reason in ``NAME.reason``. To have them tried again, a file moves to ``again``, from any
process; the archive takes it from there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agent_service.archive.backlog import counted
from agent_service.archive.decisions import AgentRun, Row, RunEnd
from agent_service.documents.spool_files import SpoolFiles
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from agent_service.state_dir import StateDir

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """What the catalogue refused: a run, ``name`` is its uid, or the decisions of one stream of the agent ``name``."""

    name: str
    title: str
    reason: str
    retry: Callable[[], None]


def refused_in(state: StateDir) -> Iterator[Refused]:
    """Yield what the catalogue of a state directory refused; from any process."""
    spool, decisions = SpoolFiles(state.spool), RefusedDecisions(state.spool)
    for path in spool.refused():
        uid = spool.uid_of(path)
        yield Refused(uid, f"run {uid}", _reason(path), lambda path=path: spool.retry(path))
    for path in decisions.refused():
        steps = decisions.read(path)
        agent = steps[0].run.agent if steps else ""
        title = f"{counted(0, len(steps)) or '0 decisions'} of {agent}"
        yield Refused(agent, title, _reason(path), lambda path=path: decisions.retry(path))


def _reason(path: Path) -> str:
    try:
        return " ".join(path.with_suffix(".reason").read_text(encoding="utf-8").split())
    except OSError:
        return "no reason was kept"


def refusal(runs: int, decisions: int, state: object) -> str | None:
    """Say what the catalogue refused and what to do; None when it refused nothing."""
    what = counted(runs, decisions)
    if not what:
        return None
    are = "is" if runs + decisions == 1 else "are"
    return (
        f"the catalogue refused {what}, which {are} kept: `agent-service archive list {state}` says why, "
        f"`agent-service archive retry {state}` has them tried again"
    )


def refusal_in(state: StateDir) -> str | None:
    """Say what the catalogue refused of a state directory, as `refusal`; changes nothing there."""
    decisions = RefusedDecisions(state.spool)
    runs = len(list(state.spool.glob("refused/*.jsonl")))
    return refusal(runs, sum(len(decisions.read(path)) for path in decisions.refused()), state.path)


class RefusedDecisions:
    """The decisions in a spool that the catalogue refused; `put` and `done` are the archive's, the rest anybody's."""

    def __init__(self, spool: Path) -> None:
        self._refused = spool / "decisions" / "refused"
        self._again = spool / "decisions" / "again"
        self._counted: dict[tuple[str, int], int] = {}

    def put(self, steps: Sequence[Row | RunEnd], reason: str) -> None:
        """Keep rows of one stream, or the end of a run; twice is as good as once."""
        self._refused.mkdir(mode=0o700, parents=True, exist_ok=True)
        first = steps[0]
        stream = first.stream if isinstance(first, Row) else "stop"
        path = self._refused / f"{first.run.uid}-{stream}.jsonl"
        path.with_suffix(".reason").write_text(f"{reason}\n", encoding="utf-8")
        with os.fdopen(private_files.open_to_append(path), "a", encoding="utf-8") as lines:
            lines.write("\n")  # a kill may have left half a line, whose row comes again
            lines.writelines(f"{_encode(step)}\n" for step in steps)
            lines.flush()
            os.fsync(lines.fileno())

    def count(self) -> int:
        """Return how many decisions are refused, those among them that are to be tried again."""
        return sum(self._lines_in(path) for folder in (self._refused, self._again) for path in folder.glob("*.jsonl"))

    def refused(self) -> list[Path]:
        """Return the files of what is refused."""
        return sorted(self._refused.glob("*.jsonl"))

    def retry(self, path: Path) -> None:
        """Have a file tried again, the next time that the archive looks."""
        self._again.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.replace(self._again / f"{path.stem}.{time.time_ns()}.jsonl")
            path.with_suffix(".reason").unlink(missing_ok=True)

    def again(self) -> list[Path]:
        """Return the files of what is to be tried again: rows first, then the ends of their runs."""
        return sorted(self._again.glob("*.jsonl"), key=lambda path: ("-stop." in path.name, path.name))

    def read(self, path: Path) -> list[Row | RunEnd]:
        """Return what is in a file, each decision once, in the order of the journal."""
        steps: dict[str, Row | RunEnd] = {}
        with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                try:
                    steps[line] = _decode(line)
                except (ValueError, TypeError, KeyError):
                    _log.warning("a line of %s is no decision: %.200s", path, line)
        return sorted(steps.values(), key=lambda step: (step.number or 0) if isinstance(step, Row) else 0)

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
