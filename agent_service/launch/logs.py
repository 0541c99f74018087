"""Logging of a service that owns its process."""

from __future__ import annotations

import logging

from agent_service.errors.log_lines import JsonFormatter, TextFormatter


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
    """Leave out Bluesky's traceback of a run that a person or the end of the service aborted: it is no error."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ not in ("RequestAbort", "RequestStop")
