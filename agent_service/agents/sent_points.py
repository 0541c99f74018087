"""Points that somebody sends: checked against an agent before anything is done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import Conflict, FieldError, InvalidPoint, NotFound
from agent_service.models import ID_KEY
from agent_service.models.own_names import to_own
from agent_service.models.real_numbers import as_before, at_home, real
from agent_service.models.state_machines import OPEN, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent_service.models import AgentSpec, Suggestion

TAKES_OUTCOME: Final = OPEN | {SuggestionState.EXPIRED, SuggestionState.ABANDONED}
"""Fates of a suggestion in which an outcome given by hand is welcome."""


def check_position(point: Mapping[str, float], spec: AgentSpec) -> None:
    """Raise `InvalidPoint` unless ``point`` has each of the agent's actuators and nothing else."""
    known = set(spec.actuators)
    _raise_if_any(_wrong_names("point", point, known=known), spec.actuators)


def edited(point: Mapping[str, Any], suggestion: Suggestion) -> dict[str, Any]:
    """Return the point that a person made of a suggestion's: what was a whole number stays one where it is one."""
    return {name: as_before(value, suggestion.point.get(name)) for name, value in point.items()}


def complete(
    points: Iterable[Mapping[str, Any]], spec: AgentSpec, suggestions: Mapping[str, Suggestion]
) -> list[dict[str, Any]]:
    """Return points with outcomes, complete and checked, as a brain may ingest them.

    They hold actuators and outcomes by name (any name is an outcome when a function evaluates); with ``_id`` the
    actuators may be left out, for the suggestion of that id has them. Raises `InvalidPoint` for a foreign or missing
    actuator or outcome, or a value that is no finite number; `NotFound` or `Conflict` when ``_id`` is no suggestion of
    this agent, or its fate is final.
    """
    numbers = [_complete(f"points.{i}", to_own(point, spec), spec, suggestions) for i, point in enumerate(points)]
    ids = [point[ID_KEY] for point in numbers if ID_KEY in point]
    if len(set(ids)) < len(ids):
        raise InvalidPoint("two of the points have the same _id; a suggestion has one outcome")
    return numbers


def _complete(
    where: str, point: dict[str, Any], spec: AgentSpec, suggestions: Mapping[str, Suggestion]
) -> dict[str, Any]:
    suggestion_id = point.pop(ID_KEY, None)
    before: Mapping[str, Any] = {}
    if suggestion_id is not None:
        suggestion = suggestions.get(str(suggestion_id))
        if suggestion is None:
            raise NotFound(
                f"agent {spec.name!r} has no suggestion {suggestion_id}; leave _id out for a point of your own"
            )
        if suggestion.state not in TAKES_OUTCOME:
            raise Conflict(f"suggestion {suggestion.id} is {suggestion.state}; it takes no outcome any more")
        before = suggestion.point
        point = {**before, **point}
    known = {*spec.actuators, *spec.outcomes}
    wrong = _wrong_names(where, point, known=known, open_ended=not spec.outcomes)
    wrong += [
        FieldError(f"{where}.{name}", "is not a finite number")
        for name, value in sorted(point.items())
        if not _is_number(value)
    ]
    actuators = set(spec.actuators)
    if not set(point) - actuators:
        wrong.append(FieldError(where, "has no outcome, by a name that is no actuator's"))
    _raise_if_any(wrong, sorted(known))
    numbers: dict[str, Any] = {
        name: as_before(value, before.get(name)) if name in actuators else float(value) for name, value in point.items()
    }
    return numbers if suggestion_id is None else {**numbers, ID_KEY: str(suggestion_id)}


def _wrong_names(
    where: str, point: Mapping[str, Any], *, known: set[str], open_ended: bool = False
) -> list[FieldError]:
    missing = [FieldError(f"{where}.{name}", "is missing") for name in sorted(known - set(point))]
    if open_ended:
        return missing
    foreign = sorted(set(point) - known)
    return missing + [FieldError(f"{where}.{name}", "does not belong to this agent") for name in foreign]


def _raise_if_any(wrong: list[FieldError], names: Iterable[str]) -> None:
    if wrong:
        listed = "; ".join(f"{error.field} {error.message}" for error in wrong)
        raise InvalidPoint(f"{listed}; a point here has {', '.join(names)}", errors=wrong)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and (number := real(value)) is not None and at_home(number) is not None
