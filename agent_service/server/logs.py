"""Log lines, for people or for a log collector, and never a key in them."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Final

_TEXT: Final = "%(asctime)s %(name)s %(levelname)s %(message)s"
_OF_A_REQUEST: Final = ("request_id", "key")

_SECRETS: Final = re.compile(
    r"(?P<before>\b(?:apikey|bearer)\s+|\bapi_?key['\"]?\s*[=:]\s*['\"]?)[^\s&'\"]+|\b(?:bas_)?[0-9a-f]{48}\b",
    re.IGNORECASE,
)
"""Keys by the look of them: behind a name of theirs, or as this program makes them."""


def without_keys(text: str) -> str:
    """Return a text with each key in it hidden.

    Examples
    --------
    >>> without_keys("Authorization: Apikey 0123 from ...")
    'Authorization: Apikey *** from ...'
    """
    return _SECRETS.sub(lambda found: f"{found['before'] or ''}***", text)


class TextFormatter(logging.Formatter):
    """A line for people."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback below it if there is one."""
        return without_keys(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and, where there is one, request_id, key and error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {name: one for name in _OF_A_REQUEST if (one := getattr(record, name, None)) is not None}
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return without_keys(json.dumps(told, ensure_ascii=False, default=str))


def configure(*, format: str, level: str) -> None:  # noqa: A002 - the option's name
    """Let this process log to stderr; for the command line, which owns its process.

    Parameters
    ----------
    format
        ``text`` for people, ``json`` for a log collector.
    level
        Lowest level to log: ``debug``, ``info`` (a line for each request), ``warning`` or ``error``.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    handler.addFilter(_without_aborts)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("agent_service").setLevel(level.upper())


def _without_aborts(record: logging.LogRecord) -> bool:
    """Leave out Bluesky's traceback of a run that a person or the end of the service aborted: it is no error."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ not in ("RequestAbort", "RequestStop")
