"""Events and documents: what happened, as it streams."""

from __future__ import annotations

import functools
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field, JsonValue

from agent_service.models._base import Answer, Page, Request


class EventKind(StrEnum):
    """Kinds of events. The transient ones have no seq and are not in the journal."""

    SERVICE_STATE = "service.state"
    AGENT_STATE = "agent.state"
    SUGGESTION_STATE = "suggestion.state"
    INGEST = "ingest"
    REPORT = "report"
    CONFIG = "config"
    QUEUE_STATE = "queue.state"
    METHOD = "method"
    CONDITION_STATE = "condition.state"
    JOB = "job"
    PROGRESS = "progress"
    LOG = "log"
    HEARTBEAT = "heartbeat"
    RESET = "reset"


class Event(Answer):
    """A fact of the journal (with a seq), or a transient message (seq null)."""

    seq: int | None
    time: datetime
    agent: str | None
    kind: EventKind
    data: dict[str, JsonValue]

    @functools.cached_property
    def encoded(self) -> bytes:
        """The event as JSON, made once for all followers."""
        return self.model_dump_json().encode()


class EventList(Page[Event]):
    """A page of history."""


class DocumentBatch(Request):
    """Bluesky documents that come over HTTP: ``[name, document]`` pairs in the order of their emission."""

    documents: list[tuple[str, dict[str, Any]]] = Field(min_length=1, max_length=10_000)


class DocumentsAnswer(Answer):
    """How many documents were accepted."""

    accepted: int
