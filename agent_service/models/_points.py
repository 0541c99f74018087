"""The points of an agent as a table."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, JsonValue

from agent_service.models._base import Answer, Page


class PointColumn(Answer):
    """A column of the table of points."""

    name: str
    kind: Literal["fact", "actuator", "outcome", "sem"] = "fact"
    type: Literal["text", "time", "number", "whole", "truth"] = "text"
    of: str | None = Field(
        default=None,
        description="the actuator or outcome, also of a sem; the column's name, unless another column has that already",
    )


class PointPage(Page[dict[str, JsonValue]]):
    """A page of the table of points: each row has every column, null where there is nothing."""

    columns: list[PointColumn]


POINT_COLUMNS: Final = (
    PointColumn(name="run_uid"),
    PointColumn(name="time", type="time"),
    PointColumn(name="suggestion"),
    PointColumn(name="fate"),
    PointColumn(name="by"),
    PointColumn(name="approved_by"),
    PointColumn(name="reason"),
)
"""The columns before those of actuators and outcomes.

``time`` is when the point was told to the brain, or its suggestion got its fate; ``by`` who it is from: ``loop``,
``filler``, the name of a key, or ``run`` for a run that was nobody's suggestion.
"""
