"""What all wire models share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

AgentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Name of an agent: it stands in URLs, file names and start documents."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Point = dict[str, float]
"""A point: actuator name to position, in the actuator's own units."""

ID_KEY = "_id"
"""Key under which a point on the wire carries the id of its suggestion."""

MAX_POINTS = 1000
"""Most points that one suggest or ingest request may carry."""


def utcnow() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


class Request(BaseModel):
    """Base of what a client sends: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(BaseModel):
    """Base of what the service answers: frozen, unknown fields ignored by the reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")
