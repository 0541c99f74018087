"""Points that somebody sends: checked against an agent before anything is done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import Conflict, FieldError, InvalidPoint, NotFound
from agent_service.models import ID_KEY
from agent_service.models.objectives import Goals
from agent_service.models.own_names import to_own
from agent_service.models.real_numbers import as_before
from agent_service.models.spaces import fitted
from agent_service.models.standard_errors import estimate, with_sems
from agent_service.models.state_machines import OPEN, SuggestionState
from agent_service.models.values import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent_service.models import AgentSpec, Point, Suggestion

TAKES_OUTCOME: Final = OPEN | {SuggestionState.EXPIRED, SuggestionState.ABANDONED}
"""Fates of a suggestion in which an outcome given by hand is welcome."""


def fitting(point: Mapping[str, object], spec: AgentSpec) -> Point:
    """Return a point as the agent's space has it; raise `InvalidPoint` unless it is one, and holds nothing else."""
    position, wrong = fitted(point, spec.actuators, spec.space)
    errors = [FieldError(f"point.{name}", why) for name, why in wrong.items()]
    _raise_if_any(errors + _foreign("point", point, set(spec.actuators)), spec.actuators)
    return position


def edited(point: Mapping[str, Any], before: Mapping[str, object]) -> dict[str, Any]:
    """Return the point that a person made of another: what was a whole number stays one where it is one."""
    return {
        name: as_before(value, before.get(name)) if is_number(value) and is_number(before.get(name)) else value
        for name, value in point.items()
    }


def complete(
    points: Iterable[Mapping[str, Any]], spec: AgentSpec, suggestions: Mapping[str, Suggestion]
) -> list[dict[str, Any]]:
    """Return points with outcomes, complete and checked, as a brain may ingest them.

    They hold actuators and outcomes by name (any name is an outcome when a function evaluates), an outcome as a number
    or as ``{value, sem}``; with ``_id`` the actuators may be left out, for the suggestion of that id has them. Raises
    `InvalidPoint` for a foreign or missing actuator or outcome, or an outcome that is no finite number; `NotFound` or
    `Conflict` when ``_id`` is no suggestion of this agent, or its fate is final.
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
    known, actuators = {*spec.actuators, *spec.outcomes}, set(spec.actuators)
    position, unfit = fitted(edited(point, before), spec.actuators, spec.space, measured=True)
    needed = {*spec.outcomes, *Goals.of(spec).needed}
    wrong = [FieldError(f"{where}.{name}", "is missing") for name in sorted(needed - set(point))]
    wrong += [FieldError(f"{where}.{name}", why) for name, why in unfit.items()]
    outcome = {name: value for name, value in point.items() if name not in actuators}
    wrong += [] if not spec.outcomes else _foreign(where, outcome, known)
    estimates: dict[str, tuple[float, float | None]] = {}
    for name, value in sorted(outcome.items()):
        try:
            estimates[name] = estimate(value)
        except ValueError as error:
            wrong.append(FieldError(f"{where}.{name}", str(error)))
    if not outcome:
        wrong.append(FieldError(where, "has no outcome, by a name that is no actuator's"))
    _raise_if_any(wrong, sorted(known))
    values = {name: value for name, (value, _) in estimates.items()}
    complete = with_sems({**position, **values}, {name: sem for name, (_, sem) in estimates.items()})
    return complete if suggestion_id is None else {**complete, ID_KEY: str(suggestion_id)}


def _foreign(where: str, point: Mapping[str, Any], known: set[str]) -> list[FieldError]:
    return [FieldError(f"{where}.{name}", "does not belong to this agent") for name in sorted(set(point) - known)]


def _raise_if_any(wrong: list[FieldError], names: Iterable[str]) -> None:
    if wrong:
        listed = "; ".join(f"{error.field} {error.message}" for error in wrong)
        raise InvalidPoint(f"{listed}; a point here has {', '.join(names)}", errors=wrong)
