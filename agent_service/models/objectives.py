"""Objectives: which outcomes to make high, low, or close to a number, and the limits of others.

Each objective counts by itself, so several have a Pareto front. If any has a weight, they are one objective: their
weighted sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from agent_service.models._base import FewNames, Finite, Name, Request
from agent_service.models.values import is_number

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    class HasGoals(Protocol):
        """A specification of an agent, as far as its goals go."""

        @property
        def objectives(self) -> Mapping[str, Objective]:
            """Which way each outcome is better."""
            ...

        @property
        def outcome_constraints(self) -> Mapping[str, Limit]:
            """What other outcomes have to be."""
            ...


Direction = Literal["maximize", "minimize"]

WEIGHTED: Final = "weighted_objective"
"""Column of the weighted sum, for a library that maximizes one number."""

_OFF: Final = "{}_off_target"
"""Column of an outcome's distance from its target, for a library without targets."""


class Objective(Request):
    """Which values of an outcome are better; ``"maximize"`` or ``"minimize"`` stands for a direction alone."""

    direction: Direction | None = None
    target: Finite | None = Field(default=None, description="the wanted value of the outcome, in its units")
    weight: Finite | None = Field(
        default=None, gt=0, description="its weight in a sum of all objectives; null: 1 if another has one"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.direction is None) == (self.target is None):
            raise ValueError("has either a direction, maximize or minimize, or a target")
        return self

    def score(self, value: float) -> float:
        """Return a number that is higher for a better ``value``."""
        if self.target is not None:
            return -abs(value - self.target)
        return value if self.direction == "maximize" else -value


class Limit(Request):
    """Limits of an outcome at a feasible point: at least ``min``, at most ``max``, in its units."""

    min: Finite | None = None
    max: Finite | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("has a min, a max, or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min = {self.min:g} is above max = {self.max:g}")
        return self

    def excess(self, value: float) -> float:
        """Return how far beyond the limit a value is; 0 or less when it is within."""
        beyond = [self.min - value] if self.min is not None else []
        return max(beyond + ([value - self.max] if self.max is not None else []))


def _written(data: Any) -> Any:
    return {"direction": data.lower()} if isinstance(data, str) else data


Objectives: TypeAlias = FewNames[dict[Name, Annotated[Objective, BeforeValidator(_written)]]]
"""Outcome to its objective."""

Limits: TypeAlias = FewNames[dict[Name, Limit]]
"""Outcome to its limits."""


@dataclass(frozen=True, slots=True)
class Goals:
    """What counts as good: objectives and limits by outcome."""

    objectives: Mapping[str, Objective]
    limits: Mapping[str, Limit]

    @classmethod
    def of(cls, spec: HasGoals) -> Self:
        """Return the goals of an agent, without objectives if its specification has none."""
        return cls(spec.objectives, spec.outcome_constraints)

    @property
    def needed(self) -> list[str]:
        """The outcomes that each point must have."""
        return list(dict.fromkeys((*self.objectives, *self.limits)))

    @property
    def weighted(self) -> bool:
        """Whether the objectives form one weighted sum."""
        return len(self.objectives) > 1 and any(objective.weight is not None for objective in self.objectives.values())

    @property
    def columns(self) -> dict[str, Direction]:
        """What a library that knows only directions optimizes: outcomes, and columns that `derived` adds."""
        if self.weighted:
            return {WEIGHTED: "maximize"}
        return {
            name if objective.direction else _OFF.format(name): objective.direction or "minimize"
            for name, objective in self.objectives.items()
        }

    def derived(self, outcome: Mapping[str, Any]) -> dict[str, float]:
        """Return the `columns` that are no outcomes."""
        if self.weighted:
            scores = self.scores(outcome)
            return {} if scores is None else {WEIGHTED: scores[0]}
        return {
            _OFF.format(name): -objective.score(outcome[name])
            for name, objective in self.objectives.items()
            if objective.target is not None and name in outcome
        }

    def derived_errors(self, errors: Mapping[str, float]) -> dict[str, float]:
        """Return the standard errors of `derived` columns, if those of all their outcomes are known."""
        if not self.weighted:
            return {_OFF.format(name): errors[name] for name in self.objectives if name in errors}
        if not set(self.objectives) <= set(errors):
            return {}
        return {
            WEIGHTED: math.hypot(
                *((objective.weight or 1.0) * errors[name] for name, objective in self.objectives.items())
            )
        }

    def scores(self, outcome: Mapping[str, Any]) -> tuple[float, ...] | None:
        """Return a score for each objective, or one for all; higher is better. None if there are none."""
        if not all(is_number(outcome.get(name)) for name in self.objectives):
            return None
        scores = tuple(objective.score(outcome[name]) for name, objective in self.objectives.items())
        if self.weighted:
            weights = [objective.weight or 1.0 for objective in self.objectives.values()]
            scores = (sum(weight * score for weight, score in zip(weights, scores, strict=True)),)
        return None if any(map(math.isnan, scores)) else scores

    def excesses(self, outcome: Mapping[str, Any]) -> list[float]:
        """Return how far each outcome is beyond its limit, 0 or less within; infinity if not measured."""
        return [
            limit.excess(outcome[name]) if is_number(outcome.get(name)) else math.inf
            for name, limit in self.limits.items()
        ]

    def feasible(self, outcome: Mapping[str, Any]) -> bool:
        """Return whether all outcomes are within their limits."""
        return all(excess <= 0 for excess in self.excesses(outcome))


NO_GOALS: Final[Mapping[str, Any]] = MappingProxyType({"objectives": {}, "outcome_constraints": {}, "observables": []})
"""The goal fields of a specification without goals."""


class GoalFields(Request):
    """The fields of a specification that say what counts as good."""

    objectives: Objectives = Field(default_factory=dict[str, Objective])
    outcome_constraints: Limits = Field(default_factory=dict[str, Limit])
    observables: list[Name] = Field(default_factory=list[str])


def read_goals(data: Mapping[str, object]) -> dict[str, Any]:
    """Return goal fields of a specification from JSON; raise `ValidationError` if one cannot be read."""
    read = GoalFields.model_validate(dict(data))
    return {field: getattr(read, field) for field in data}


def check_outcomes(outcomes: Collection[str], **named: Collection[str]) -> None:
    """Raise ValueError if a field of a specification names no outcome, where the outcomes are known."""
    for field, names in named.items():
        if foreign := [name for name in names if outcomes and name not in outcomes]:
            raise ValueError(
                f"{field} names {', '.join(foreign)}, which is no outcome of this agent; "
                f"its outcomes are {', '.join(outcomes)}"
            )
    if both := sorted(set(named.get("observables", ())) & set(named.get("objectives", ()))):
        raise ValueError(f"{both[0]} is an objective, so it cannot be among observables, which are only recorded")
