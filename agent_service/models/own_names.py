"""One device, one name: its own, as in plans and documents. The brain may have another word for it.

A specification may name a device by the way to it, ``stage.x``, where its own name is ``stage_x``. From its creation
on, the service uses ``stage_x`` in points, guardrails, positions and facts. Only the brain gets ``stage.x``, as in
its configuration and code; `AgentSpec.names` maps the names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from agent_service.errors import FieldError, InvalidInput, InvalidPoint, UnknownDevice
from agent_service.models import AgentSpec, Guardrails, foreign_names
from agent_service.models.guardrail_rules import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models.spaces import Dimension

Rails = TypeVar("Rails", bound=Guardrails)

_NAME: Final = re.compile(r"`([^`]+)`|\b([^\W\d][\w.]*)")
"""A name in an expression of ``guardrails.rules``."""


def named(spec: AgentSpec, own_name: Callable[[str], str]) -> AgentSpec:
    """Return a specification that says the own names of its actuators and outcomes, and what the brain calls them.

    ``own_name`` returns the own name of a device, by its name or the way to it, or raises `UnknownDevice`. Raises
    `InvalidInput` when two of the actuators are one device, and when its guardrails name what is no actuator.
    """
    own = {written: own_name(written) for written in spec.actuators}
    own |= {written: name for written in spec.outcomes if (name := _outcome(written, own_name)) is not None}
    _refuse_twice(spec.actuators, own)
    changed = {written: name for written, name in own.items() if written != name}
    if not changed:
        refuse_foreign(spec.guardrails, spec.actuators)
        refuse_foreign_distance(spec.loop.approval_distance, spec.actuators)
        return spec
    names = {changed.get(name, name): word for name, word in spec.names.items()}
    fields: dict[str, Any] = {
        **spec.model_dump(exclude_unset=True),
        "actuators": [own[written] for written in spec.actuators],
        "guardrails": renamed_rules(spec.guardrails.model_dump(exclude_unset=True), changed),
        "names": {**{name: written for written, name in changed.items()}, **names},
    }
    if spec.loop.approval_distance:
        loop = own_distances(spec.loop.model_dump(exclude_unset=True), changed)
        refuse_foreign_distance(loop["approval_distance"], [own[written] for written in spec.actuators])
        fields["loop"] = loop
    if spec.space:
        fields["space"] = renamed_space(spec.space, changed)
    if spec.outcome is not None:
        fields |= {"outcome": _renamed_outcome(spec.outcome, own), **_renamed_goals(spec, own)}
    refuse_foreign(Guardrails.model_validate(fields["guardrails"]), [own[written] for written in spec.actuators])
    return AgentSpec.model_validate(fields)


def own_distances(loop: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a loop, as JSON has it, whose ``approval_distance`` has other names of actuators in it.

    Raises `InvalidInput` when one actuator stands there twice, under two of its names.
    """
    distances = loop.get("approval_distance")
    if not isinstance(distances, dict):
        return {**loop}
    _refuse_written_twice("loop.approval_distance", cast("dict[str, Any]", distances), names)
    return {**loop, "approval_distance": renamed(cast("dict[str, Any]", distances), names)}


def refuse_foreign_distance(distances: Mapping[str, float] | None, actuators: Sequence[str]) -> None:
    """Raise `InvalidInput` when ``loop.approval_distance`` names what is none of the actuators, by their own names."""
    if foreign := sorted({*(distances or {})} - {*actuators}):
        message = f"names {', '.join(foreign)}, which is no actuator of this agent; it has {', '.join(actuators)}"
        error = FieldError("loop.approval_distance", message)
        raise InvalidInput(f"{error.field} {error.message}", errors=[error])


def refuse_foreign(rails: Guardrails, actuators: Sequence[str]) -> None:
    """Raise `InvalidInput` when guardrails name what is none of the actuators; all of them by their own names."""
    if wrong := foreign_names(rails, actuators):
        errors = [FieldError(field, message) for field, message in wrong]
        raise InvalidInput("; ".join(f"{error.field} {error.message}" for error in errors), errors=errors)


def for_brain(spec: AgentSpec) -> AgentSpec:
    """Return a specification in the words of the brain, as it was written."""
    if not spec.names:
        return spec
    words = spec.names
    return spec.model_copy(
        update={
            "actuators": [words.get(name, name) for name in spec.actuators],
            "outcome": None if spec.outcome is None else _renamed_outcome(spec.outcome, words),
            **_renamed_goals(spec, words),
            "guardrails": Guardrails.model_validate(renamed_rules(spec.guardrails.model_dump(), words)),
            "space": renamed_space(spec.space, words),
            "names": {},
        }
    )


def to_own(values: Mapping[str, Any], spec: AgentSpec) -> dict[str, Any]:
    """Return a point with own names in it, whichever word it was written with.

    Raises `InvalidPoint` when it says one thing twice, under both its names: nobody knows which of them counts.
    """
    own = {word: name for name, word in spec.names.items()}
    result: dict[str, Any] = {}
    written: dict[str, str] = {}
    for word, value in values.items():
        name = own.get(word, word)
        if name in result:
            message = f"{written[name]} and {word} are one, {name!r}; give it once"
            raise InvalidPoint(message, errors=[FieldError(f"point.{word}", message)])
        result[name], written[name] = value, word
    return result


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a mapping with other keys; those that are not in ``names`` stay."""
    return {names.get(key, key): value for key, value in values.items()}


def renamed_space(space: Mapping[str, Dimension], names: Mapping[str, str]) -> dict[str, Dimension]:
    """Return a space with other names of actuators in it."""
    return {
        names.get(name, name): dimension.model_copy(update={"when": renamed(dimension.when, names)})
        for name, dimension in space.items()
    }


def renamed_rules(rules: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return guardrails, as JSON has them, with other names of actuators in them; names of plans stay.

    Raises `InvalidInput` when one limit is written twice for a device, under two of its names.
    """
    result: dict[str, Any] = {}
    for rule, value in rules.items():
        if isinstance(value, dict):
            _refuse_written_twice(f"guardrails.{rule}", cast("dict[str, Any]", value), names)
            result[rule] = renamed(cast("dict[str, Any]", value), names)
        elif isinstance(value, list) and rule == "rules":
            texts = cast("list[object]", value)  # what is none, or no list of them, is refused where it is validated
            result[rule] = [_in_expression(text, names) if isinstance(text, str) else text for text in texts]
        elif isinstance(value, list) and rule != "plans":
            written = cast("list[object]", value)
            result[rule] = [names.get(name, name) if isinstance(name, str) else name for name in written]
        else:
            result[rule] = value
    return result


def limits(rails: Rails, own_name: Callable[[str], str], *, known: bool = False) -> Rails:
    """Return the service's guardrails with devices' own names.

    What names no device here stays as it is written; where the devices are ``known``, it would be no limit at all, and
    `InvalidInput` says which.
    """
    rules = rails.model_dump(exclude_unset=True)
    own: dict[str, str] = {}
    wrong: list[FieldError] = []
    for rule, value in rules.items():
        for name in _named_by(rule, value):
            try:
                own[name] = own_name(name)
            except UnknownDevice as unknown:
                wrong.append(
                    FieldError(f"guardrails.{rule}", f"{name} would be no limit of anything: {unknown.detail}")
                )
    if wrong and known:
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in wrong), errors=wrong)
    changed = {name: own[name] for name in own if own[name] != name}
    return type(rails).model_validate(renamed_rules(rules, changed)) if changed else rails


def _named_by(rule: str, value: object) -> list[str]:
    """Return the devices that one of the guardrails names, as JSON has it."""
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value))
    if isinstance(value, list) and rule == "rules":
        return [name for text in cast("list[str]", value) for name in parse(text).names]
    return cast("list[str]", value) if isinstance(value, list) and rule == "unbounded" else []


def _refuse_written_twice(field: str, limits: Mapping[str, Any], names: Mapping[str, str]) -> None:
    written: dict[str, str] = {}
    for name in limits:
        own = names.get(name, name)
        if (other := written.setdefault(own, name)) != name:
            message = f"{other} and {name} are one device, {own!r}; write its limit once"
            raise InvalidInput(f"{field}: {message}", errors=[FieldError(field, message)])


def _renamed_outcome(outcome: str | list[str], names: Mapping[str, str]) -> str | list[str]:
    return names.get(outcome, outcome) if isinstance(outcome, str) else [names.get(name, name) for name in outcome]


def _renamed_goals(spec: AgentSpec, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "objectives": renamed(spec.objectives, names),
        "outcome_constraints": renamed(spec.outcome_constraints, names),
        "observables": [names.get(name, name) for name in spec.observables],
    }


def _outcome(written: str, own_name: Callable[[str], str]) -> str | None:
    """Return the own name of what an outcome is the way to; None when it is a field of documents as it stands."""
    if "." not in written:
        return None
    try:
        return own_name(written)
    except UnknownDevice:
        return None


def _refuse_twice(written: Sequence[str], own: Mapping[str, str]) -> None:
    for number, name in enumerate(written):
        for other in written[:number]:
            if own[name] == own[other]:
                message = f"{other} and {name} are one device, {own[name]!r}; name it once"
                raise InvalidInput(f"actuators: {message}", errors=[FieldError("actuators", message)])


def _in_expression(expression: str, names: Mapping[str, str]) -> str:
    """Return an expression with other names in it; one that is no identifier stands in backticks."""

    def other(match: re.Match[str]) -> str:
        name = names.get(match[1] or match[2])
        return match[0] if name is None else name if name.isidentifier() else f"`{name}`"

    return _NAME.sub(other, expression)
