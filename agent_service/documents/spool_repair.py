"""Runs that a crash left open: what is in their files, and the stop document that completes them."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_service.documents.json_lines import append, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.protocols import Document

INTERRUPTED: Final = "the service was interrupted"
"""Reason in the stop document of a run that a crash left without one."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A run that is whole again.

    Parameters
    ----------
    run
        Its uid, None when there is nothing in the file that could be kept.
    interrupted
        Whether it was given a stop document.
    """

    run: str | None
    interrupted: bool = False


def repair(path: Path) -> Repaired:
    """Drop half a line from the end of a run's file, and give the run a stop document if it has none."""
    survey = _survey(path)
    if survey.run is None:
        return Repaired(None)
    os.truncate(path, survey.size)
    if not survey.stopped:
        append(path, encode("stop", survey.stop_document()))
    return Repaired(survey.run, interrupted=not survey.stopped)


def is_stopped(path: Path) -> bool:
    """Return whether there is a stop document in a run's file."""
    return _survey(path).stopped


def cut_half_line(path: Path) -> str | None:
    """Drop half a line from the end of a run's file, and return the run's uid; None when there is none."""
    survey = _survey(path)
    if survey.run is not None:
        os.truncate(path, survey.size)
    return survey.run


@dataclass(slots=True)
class RunSurvey:
    """What has come of a run whose end may not come, for the stop document that it is given then."""

    run: str | None = None
    size: int = 0
    stopped: bool = False
    time: float = 0.0
    streams: dict[str, str] = field(default_factory=dict[str, str])
    events: Counter[str] = field(default_factory=Counter[str])

    def look_at(self, name: str, doc: Document) -> None:
        """Take a document of the run into account; an odd one counts for nothing."""
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
            self._add(name, doc)

    def _add(self, name: str, doc: Document) -> None:
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
            case "event" | "event_page":  # by their numbers: one may come twice
                numbers = doc["seq_num"] if name == "event_page" else (doc["seq_num"],)
                self.events[stream] = max(self.events[stream], *map(int, numbers))
            case "stream_datum":
                last = int(doc.get("seq_nums", {}).get("stop", 1)) - 1
                self.events[stream] = max(self.events[stream], last)
            case "stop":
                self.stopped = True
            case _:
                pass

    def stop_document(self, *, exit_status: str = "abort", reason: str = INTERRUPTED) -> Document:
        """Return the stop document of a run that was interrupted."""
        return {
            "uid": str(uuid.uuid4()),
            "run_start": self.run,
            "time": self.time,
            "exit_status": exit_status,
            "reason": reason,
            "num_events": dict(self.events),
        }


def _survey(path: Path) -> RunSurvey:
    survey = RunSurvey()
    with path.open("rb") as lines:
        for line in lines:
            pair = decode(line)
            if pair is None:
                break
            survey.look_at(*pair)
            survey.size += len(line)
    return survey
