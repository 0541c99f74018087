"""A plan that somebody chooses anew for each suggestion, by the name it has where the RunEngine is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from agent_service import references

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.plans.namespace import Namespace
    from agent_service.protocols import PlanOrder


def is_named(plan: str) -> bool:
    """Return whether a specification's plan is such a choice: a live object with ``named(suggestion_id, point)``."""
    return references.is_live(plan) and hasattr(references.get(plan), "named")


class Choice(NamedTuple):
    """Name, arguments and keyword arguments of a plan."""

    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


def named(order: PlanOrder) -> Choice | None:
    """Return the choice of an order's plan; None where its specification names it.

    Raises `UnknownPlan` when nobody chose one for this point of its suggestion.
    """
    if not is_named(order.plan):
        return None
    return Choice(*references.find(order.plan).named(order.suggestion_id, order.point))  # pyright: ignore[reportFunctionMemberAccess]


def messages_of(choice: Choice, namespace: Namespace) -> Any:
    """Return the messages of a chosen plan of a namespace; a text that names a device there stands for it."""
    name, args, kwargs = choice

    def given(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [given(item) for item in cast("Sequence[Any]", value)]
        return namespace.names.get(value, value) if isinstance(value, str) else value

    return namespace.plan(name)(*map(given, args), **{key: given(value) for key, value in kwargs.items()})
