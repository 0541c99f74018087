"""Limits outside the agent, which no agent can bypass: checked before anything can move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.errors import FieldError, OutOfBounds

if TYPE_CHECKING:
    from agent_service.models import Guardrails, Point


def why_not(point: Point, guardrails: Guardrails) -> str:
    """Return each rule that forbids to measure ``point``, in one line; an empty text when none does."""
    return "; ".join(f"{one.field}: {one.message}" for one in _violated(point, guardrails))


def check(point: Point, guardrails: Guardrails) -> None:
    """Raise `OutOfBounds`, naming each rule that is violated, unless ``point`` may be measured.

    Parameters
    ----------
    point
        Actuator name to position, in the actuator's units.
    guardrails
        The limits; an actuator without bounds is free.
    """
    if violated := _violated(point, guardrails):
        raise OutOfBounds(why_not(point, guardrails), errors=violated)


def _violated(point: Point, guardrails: Guardrails) -> list[FieldError]:
    return [
        FieldError(f"guardrails.bounds.{name}", f"{name} = {point[name]:g} is outside [{low:g}, {high:g}]")
        for name, (low, high) in guardrails.bounds.items()
        if name in point and not low <= point[name] <= high
    ]
