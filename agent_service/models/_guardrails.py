"""Guardrails: limits outside the agents, as they are written."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, cast

from pydantic import AfterValidator, Field, model_validator

from agent_service.models._approval import Approval
from agent_service.models._base import MAX_NAMES, Ends, FewNames, Finite, Name, Request, Value
from agent_service.models.guardrail_rules import MAX_LENGTH, MAX_RULES, parse

_OUTWARDS: Final = (-math.inf, math.inf)


MAX_ALLOWED: Final = 1000
"""Most values of one actuator that guardrails may allow."""


class Guardrails(Request):
    """Limits outside the agent, which no agent can bypass."""

    bounds: FewNames[dict[str, Ends]] = Field(
        default_factory=dict[str, Ends],
        description="lowest and highest position allowed, by actuator, in the actuator's units; null (in TOML: -inf or "
        "inf): no limit at that end. The device's own limits hold as well",
    )
    allowed: FewNames[dict[str, Annotated[list[Value], Field(min_length=1, max_length=MAX_ALLOWED)]]] = Field(
        default_factory=dict[str, list[Value]],
        description='allowed values, by actuator, for example {"filter": ["Al", "Ti"]}; any other is '
        "forbidden, whatever the space says",
    )
    rules: list[
        Annotated[str, Field(min_length=1, max_length=MAX_LENGTH), AfterValidator(lambda text: parse(text).text)]
    ] = Field(
        default_factory=list[str],
        max_length=MAX_RULES,
        description="rules across actuators, for example abs(v1 - v2) <= 300: numbers, names of actuators, "
        "arithmetic, comparisons, and, or, not, abs, min, max, sqrt, hypot and others",
    )
    unbounded: list[Name] = Field(
        default_factory=list[str],
        max_length=MAX_NAMES,
        description="actuators that need no limits: no reminder is shown for them; this removes no limit",
    )
    max_step: FewNames[dict[str, Annotated[Finite, Field(gt=0)]]] = Field(
        default_factory=dict[str, float],
        description="largest move, by actuator, in its units, from where it is, or was sent or measured last",
    )
    max_runs_per_minute: Finite | None = Field(
        default=None, gt=0, le=1000, description="the next plan waits until the rate allows it"
    )
    budget_runs: int | None = Field(default=None, ge=0, description="plans it may begin, failed ones included")
    budget_time_s: Finite | None = Field(default=None, ge=0, description="total time its runs may take, in seconds")
    plans: list[Name] | None = Field(default=None, max_length=MAX_NAMES, description="plans it may use; null: any")

    @model_validator(mode="before")
    @classmethod
    def _ends(cls, data: Any) -> Any:
        written = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        refuse_truth({key: part for key, part in written.items() if key != "allowed"})  # nothing else in here is either
        _refuse_unquoted(written)
        return open_ends(cast("object", data))

    @model_validator(mode="after")
    def _ordered(self) -> Guardrails:
        for name, (low, high) in self.bounds.items():
            if low is None and high is None:
                raise ValueError(
                    f"bounds of {name} have no end; give one, or leave {name} out, or name it in unbounded"
                )
            if low is not None and high is not None and low > high:
                raise ValueError(f"bounds of {name}: the lower limit is above the upper one")
        return self


class ServiceGuardrails(Guardrails):
    """Limits that hold for each agent of a service."""

    approval: Approval = Field(
        default="auto",
        description="required: a person approves each suggestion, whatever an agent's own loop says; first N: the "
        "first N of each agent",
    )


def _refuse_unquoted(data: object) -> None:
    """Raise ValueError for the way to a device without quotes: TOML takes stage.x for a table with x in it."""
    written = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    for rule in ("bounds", "allowed", "max_step"):
        limits = cast("dict[str, Any]", written[rule]) if isinstance(written.get(rule), dict) else {}
        for name, limit in limits.items():
            path, value = str(name), limit
            while isinstance(value, dict) and len(cast("dict[str, Any]", value)) == 1:
                [(inner, value)] = cast("dict[str, Any]", value).items()
                path = f"{path}.{inner}"
            if isinstance(limit, dict):
                raise ValueError(f'{rule}: write the way to a device in quotes: "{path}" = ...')  # noqa: TRY004 - as above


def open_ends(guardrails: object) -> object:
    """Return guardrails as they were written, with None for an infinite end of ``bounds``: TOML has no other word."""
    written = cast("dict[str, Any]", guardrails) if isinstance(guardrails, dict) else {}
    if not isinstance(bounds := written.get("bounds"), dict):
        return cast("object", guardrails)
    settled = {name: _ends(pair) for name, pair in cast("dict[str, Any]", bounds).items()}
    return {**written, "bounds": settled}


def _ends(pair: Any) -> Any:
    if not isinstance(pair, list | tuple) or len(cast("list[Any]", pair)) != len(_OUTWARDS):
        return cast("Any", pair)
    ends = zip(cast("list[Any]", pair), _OUTWARDS, strict=True)
    return [None if isinstance(end, float) and end == outwards else end for end, outwards in ends]


def with_open_ends(data: Any) -> Any:
    """Return what has guardrails in it, with `open_ends` of them."""
    written = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if "guardrails" not in written:
        return cast("Any", data)
    return {**written, "guardrails": open_ends(written["guardrails"])}


def refuse_truth(data: object) -> None:
    """Raise ValueError, saying where, when in ``data`` is true or false; pydantic takes them for 1 and 0."""
    left: list[tuple[str, object]] = [("", data)]
    while left:
        path, value = left.pop()
        if isinstance(value, bool):
            raise ValueError(f"{path[1:]} is true or false, not a number")  # noqa: TRY004 - pydantic takes no TypeError
        parts = cast("dict[object, object]", value).items() if isinstance(value, dict) else ()
        if isinstance(value, list | tuple):
            parts = enumerate(cast("list[object]", value))
        left += [(f"{path}.{key}", part) for key, part in parts]
