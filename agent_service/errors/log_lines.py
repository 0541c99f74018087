"""Logs, for people or for a log collector: no line holds a key, controls a terminal or fakes another line."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from agent_service.errors.texts import MAX_TRACE, cut_middle, printable, without_keys

_TEXT: Final = "%(asctime)s %(name)s %(levelname)s %(message)s"
_OF_A_REQUEST: Final = ("request_id", "key")
_INDENT: Final = "    "


class Trouble:
    """Logs what is wrong when that changes, and when it is over, and not each time that it is found again."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._known: str | None = None

    def found(self, what: str) -> None:
        """Log what is wrong, unless that is known."""
        if what != self._known:
            self._known = what
            self._log.warning("%s", what)

    def over(self, what: str) -> None:
        """Log that it is over, if anything was wrong."""
        if self._known is not None:
            self._known = None
            self._log.warning("%s", what)


class TextFormatter(logging.Formatter):
    """A line for people; a traceback, and further lines of a message, are indented below it."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback below it if there is one."""
        return _tidy(super().format(record)).replace("\n", f"\n{_INDENT}")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and, where there is one, request_id, key and error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _tidy(record.getMessage()),
        }
        line |= {name: value for name in _OF_A_REQUEST if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["error"] = _tidy(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def _tidy(text: str) -> str:
    return without_keys(printable(cut_middle(text, most=2 * MAX_TRACE)))


def configure(*, format: str, level: str) -> None:  # noqa: A002 - the option's name
    """Let this process log to stderr, for people (``text``) or a log collector (``json``).

    ``level`` is the lowest to log: ``debug``, ``info`` (a line for each request), ``warning`` or ``error``.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    handler.addFilter(_without_aborts)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("agent_service").setLevel(level.upper())


def _without_aborts(record: logging.LogRecord) -> bool:
    """Remove Bluesky's traceback of a run that a person or the service's end aborted: it is no error."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ not in ("RequestAbort", "RequestStop")
