"""What a brain says of its agent where the specification says nothing: its space, and what counts as good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from agent_service.brains.coroutines import called
from agent_service.models import own_names
from agent_service.models.objectives import NO_GOALS, GoalFields
from agent_service.models.spaces import check_guardrails, check_space, read_space
from agent_service.models.validation_messages import sentence, validation_errors

if TYPE_CHECKING:
    from pydantic import JsonValue

    from agent_service.models import AgentSpec
    from agent_service.models.spaces import Dimension


def offered_space(brain: object, spec: AgentSpec) -> dict[str, Dimension]:
    """Return the dimensions that a brain offers beside those of its specification, by own names.

    They are its attribute ``space``, or what its method of that name returns: a mapping of actuator to dimension, as in
    a specification. What is no mapping of actuators of the agent is something else of the brain's own. Raises
    `ValueError` when a dimension cannot be read, or does not fit the agent.
    """
    space: Any = getattr(brain, "space", None)
    if callable(space) and not isinstance(space, type):
        try:
            space = called(space, of="space")
        except TypeError:  # it takes arguments: a method for something else
            return {}
    words = {spec.names.get(name, name): name for name in spec.actuators}
    if not isinstance(space, Mapping) or not space or not set(cast("Mapping[Any, Any]", space)) <= set(words):
        return {}
    try:
        read = read_space(cast("Mapping[str, object]", space))
    except ValidationError as error:
        raise ValueError(
            f"the space that the brain offers cannot be read: {sentence(validation_errors(error))}"
        ) from None
    offered = {name: dim for name, dim in own_names.renamed_space(read, words).items() if name not in spec.space}
    whole = {**offered, **spec.space}
    check_space(whole, spec.actuators)
    check_guardrails(spec.guardrails, whole)
    return offered


def offered_goals(brain: object, spec: AgentSpec) -> dict[str, JsonValue]:
    """Return the objectives, outcome constraints and observables that a brain offers, as JSON and by own names.

    They are its attributes of these names, each as in a specification, and count where that has none. What cannot be
    read, or names what is no outcome of the agent, is something else of the brain's own.
    """
    own = {spec.names.get(name, name): name for name in spec.outcomes}
    goals: dict[str, JsonValue] = {}
    for field, nothing in NO_GOALS.items():
        offered: Any = getattr(brain, field, None)
        if getattr(spec, field) or not offered or not _is_alike(offered, nothing):
            continue
        names = [own.get(name, name) for name in cast("list[str]", list(offered)) if not own or name in own]
        if field == "observables":  # which are not to be optimized
            names = [
                name
                for name in names
                if name not in {**spec.objectives, **cast("dict[str, Any]", goals.get("objectives", {}))}
            ]
        if not names or (nothing == {} and len(names) < len(offered)):
            continue
        named: Any = dict(zip(names, offered.values(), strict=True)) if nothing == {} else names
        try:
            read = GoalFields.model_validate({field: named})
        except ValidationError:
            continue
        goals[field] = read.model_dump(mode="json", include={field}, exclude_none=True)[field]
    return goals


def _is_alike(offered: object, nothing: object) -> bool:
    return isinstance(offered, Mapping if isinstance(nothing, dict) else list)
