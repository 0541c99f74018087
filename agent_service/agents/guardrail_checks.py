"""Limits outside the agent, which no agent can bypass: checked before anything can move. Pure functions.

``bounds`` are checked when a point is suggested and when a person approves it. All rules are checked when its plan is
submitted, and again at its turn, for they depend on earlier plans and may have changed. A point that breaks a rule is
rejected, and the reason names the rule. Only ``max_runs_per_minute`` rejects nothing: it delays.
`guardrails_in_force` holds the present limits of one agent, with those of devices.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Mapping, Sequence  # noqa: TC003 - pydantic reads annotations at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, cast

from pydantic import Field

from agent_service.errors import FieldError, OutOfBounds
from agent_service.models import Ends, Guardrails
from agent_service.models.guardrail_rules import parse, shown
from agent_service.models.spelling import near
from agent_service.models.validation_messages import sentence
from agent_service.models.values import is_among, is_number, shown as value_shown

if TYPE_CHECKING:
    from agent_service.models import Point, Value

AS_GOOD_AS_THERE: Final = 0.05
"""A part of the largest step: an actuator that is no farther from where it was sent counts as being there."""


@dataclass(frozen=True, slots=True)
class RunHistory:
    """Where an agent stands when it asks to measure a point."""

    plan: str
    # where each actuator was sent or measured last, in its units
    positions: Mapping[str, float] = field(default_factory=dict[str, float])
    # where they say that they are now, as far as they do; NaN of one that cannot be asked now
    places: Mapping[str, float] = field(default_factory=dict[str, float])
    runs: int = 0  # handed over so far
    run_time_s: float = 0.0  # how long they took so far, in seconds


class EffectiveGuardrails(Guardrails):
    """Guardrails as they hold for one agent now: what is written, and beside it what devices say.

    ``device_limits`` are lowest and highest position that each device states, in its units, with nothing of one that
    states none; ``elsewhere`` is where actuators are that a rule names and a point lacks, as far as that is known.
    """

    device_limits: Mapping[str, Ends] = Field(default_factory=dict[str, Ends])
    elsewhere: Mapping[str, float] = Field(default_factory=dict[str, float])

    @classmethod
    def of(cls, guardrails: Guardrails, device_limits: Mapping[str, Ends], elsewhere: Mapping[str, float]) -> Self:
        """Put what is written and what devices say together; either mapping may go on to change."""
        return cls.model_construct(**dict(guardrails), device_limits=device_limits, elsewhere=elsewhere)


def why_not(point: Point, guardrails: Guardrails, standing: RunHistory | None = None) -> str:
    """Return each rule that forbids to measure ``point``, in one line; an empty text when none does."""
    return sentence(violated(point, guardrails, standing))


def check(point: Point, guardrails: Guardrails, standing: RunHistory | None = None) -> None:
    """Raise `OutOfBounds`, naming each rule that is violated, unless ``point`` may be measured. See `violated`."""
    raise_for(violated(point, guardrails, standing))


def raise_for(wrong: Sequence[FieldError]) -> None:
    """Raise `OutOfBounds` when something is wrong."""
    if wrong:
        raise OutOfBounds(sentence(wrong), errors=wrong)


def check_parts(wholes: Mapping[str, Sequence[str]], *levels: Guardrails) -> None:
    """Raise `OutOfBounds` when an actuator moves a device that is limited, and is not limited itself.

    The setpoint of a motor moves the motor, and a pseudo axis the real ones: they would pass by the limits that bear
    those names. ``wholes`` are, by actuator, the names of the devices that move with it. Each of the ``levels`` counts
    by itself: what limits the whole in one must limit the part in the same one.
    """
    raise_for(
        [
            FieldError(
                f"guardrails.{rule}.{whole}",
                f"{name} is a part of {whole} or moves it, and {whole} is limited; take {whole} as the actuator, or "
                f"limit {name} there too",
            )
            for name, above in wholes.items()
            for whole in above
            for rails in levels
            for rule, limits in _limited(rails)
            if whole in limits and name not in limits
        ]
    )


def _limited(rails: Guardrails) -> Sequence[tuple[str, Collection[str]]]:
    """Return which actuators each kind of limit is about."""
    return (
        ("bounds", rails.bounds),
        ("allowed", rails.allowed),
        ("max_step", rails.max_step),
        ("rules", {name for rule in rails.rules for name in parse(rule).names}),
    )


def spent(guardrails: Guardrails, standing: RunHistory) -> str:
    """Return which budget is spent, so that no point at all may be measured; an empty text when none is."""
    return sentence(_spent(guardrails, standing))


def loosened(before: Guardrails, after: Guardrails) -> list[str]:
    """Return the rules, by name, that allow in ``after`` what they forbade in ``before``."""
    loose = [f"bounds.{name}" for name, limits in before.bounds.items() if not _within(after.bounds.get(name), limits)]
    for name, values in before.allowed.items():
        still = after.allowed.get(name)
        if still is None or not all(is_among(value, values) for value in still):
            loose.append(f"allowed.{name}")
    # which of two rules forbids more nobody can tell in general
    if not _as_parsed(before.rules) <= _as_parsed(after.rules):
        loose.append("rules")
    steps = after.max_step
    loose += [f"max_step.{name}" for name, step in before.max_step.items() if steps.get(name, math.inf) > step]
    for rule in ("max_runs_per_minute", "budget_runs", "budget_time_s"):
        limit, new = getattr(before, rule), getattr(after, rule)
        if limit is not None and (new is None or new > limit):
            loose.append(rule)
    if before.plans is not None and (after.plans is None or not set(after.plans) <= set(before.plans)):
        loose.append("plans")
    return loose


def _as_parsed(rules: Sequence[str]) -> set[str]:
    """Return rules without what makes no difference: spaces, brackets that change nothing."""
    return {ast.unparse(parse(rule).tree) for rule in rules}


def merged_rules(present: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return guardrails, as JSON has them, with a change: limits by actuator one by one.

    Null takes one of them away, an empty object all of them; what is not named stays.
    """
    merged = {**present, **change}
    for rule, limits in present.items():
        given = change.get(rule)
        if isinstance(limits, dict) and isinstance(given, dict) and given:
            both_of_them = {**cast("dict[str, Any]", limits), **cast("dict[str, Any]", given)}
            merged[rule] = {name: limit for name, limit in both_of_them.items() if limit is not None}
    return merged


def stricter(rails: Guardrails, others: Guardrails) -> Guardrails:
    """Return guardrails that forbid what either of two forbids."""
    steps = {**rails.max_step, **others.max_step}
    listed = [plans for plans in (rails.plans, others.plans) if plans is not None]
    return rails.model_copy(
        update={
            "bounds": both(rails.bounds, others.bounds),
            "allowed": {
                name: [value for value in values if is_among(value, others.allowed.get(name, values))]
                for name, values in {**others.allowed, **rails.allowed}.items()
            },
            "rules": list(dict.fromkeys([*rails.rules, *others.rules])),
            "unbounded": list(dict.fromkeys([*rails.unbounded, *others.unbounded])),
            "max_step": {name: _least(rails.max_step.get(name), others.max_step.get(name)) for name in steps},
            "max_runs_per_minute": _least(rails.max_runs_per_minute, others.max_runs_per_minute),
            "budget_runs": _least(rails.budget_runs, others.budget_runs),
            "budget_time_s": _least(rails.budget_time_s, others.budget_time_s),
            "plans": [plan for plan in listed[0] if all(plan in plans for plans in listed)] if listed else None,
        }
    )


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def both(limits: Mapping[str, Ends], others: Mapping[str, Ends]) -> dict[str, Ends]:
    """Return limits by actuator that forbid what either of two forbids; perhaps nothing is left between their ends."""
    met = dict(limits)
    for name, (low, high) in others.items():
        first_low, first_high = limits.get(name, (None, None))
        lows = [end for end in (low, first_low) if end is not None]
        highs = [end for end in (high, first_high) if end is not None]
        met[name] = max(lows, default=None), min(highs, default=None)
    return met


def inside(position: object, limits: Ends) -> bool:
    """Return whether a position keeps limits, the ends included; NaN keeps none, nor does what is no number."""
    low, high = _span(limits)
    return is_number(position) and low <= position <= high


def _span(limits: Ends) -> tuple[float, float]:
    low, high = limits
    return -math.inf if low is None else low, math.inf if high is None else high


def _within(inner: Ends | None, outer: Ends) -> bool:
    """Return whether limits allow nothing that others forbid."""
    if inner is None:
        return False
    (low, high), (outer_low, outer_high) = _span(inner), _span(outer)
    return outer_low <= low and high <= outer_high


def check_rate(guardrails: Guardrails, handed_over: Sequence[float], now: float) -> None:
    """Raise `OutOfBounds` while ``max_runs_per_minute`` allows nothing, for what cannot wait. See `wait_s`."""
    if left := wait_s(guardrails, handed_over, now):
        rate = guardrails.max_runs_per_minute
        message = f"{rate:g} a minute are allowed, and that many began; try again in {math.ceil(left)} s"
        raise_for([FieldError("guardrails.max_runs_per_minute", message)])


def wait_s(guardrails: Guardrails, handed_over: Sequence[float], now: float) -> float:
    """Return for how many seconds ``max_runs_per_minute`` lets nothing be handed over, 0 when something may be.

    It allows as many as that in any minute; below 1, one in a longer time. ``handed_over`` is when the agent's plans
    were handed over, oldest first, and ``now`` the present time, in seconds of a clock that is never set
    (`time.monotonic`).
    """
    rate = guardrails.max_runs_per_minute
    if rate is None:
        return 0.0
    n_runs = max(1, math.floor(rate))
    if len(handed_over) < n_runs:
        return 0.0
    return max(0.0, handed_over[-n_runs] + max(60.0, 60.0 / rate) - now)


def one_by_one(guardrails: Guardrails) -> bool:
    """Return whether a rule looks at the run before: then no plan is handed over while another one is under way."""
    return bool(guardrails.max_step) or (guardrails.budget_time_s, guardrails.max_runs_per_minute) != (None, None)


def violated(point: Point, guardrails: Guardrails, standing: RunHistory | None) -> list[FieldError]:
    """Return each rule that forbids to measure a point, in the actuators' units; an actuator without bounds is free.

    ``standing`` is what went before; None looks at ``bounds``, ``rules`` and devices alone.
    """
    wrong = [
        FieldError(f"guardrails.bounds.{name}", _outside(name, point[name], limits))
        for name, limits in guardrails.bounds.items()
        if name in point and not inside(point[name], limits)
    ]
    wrong += [
        FieldError(
            f"guardrails.allowed.{name}",
            f"{name} = {value_shown(point[name])} is none of {', '.join(map(value_shown, values))}",
        )
        for name, values in guardrails.allowed.items()
        if name in point and not is_among(point[name], values)
    ]
    wrong += beyond_devices(point, guardrails)
    wrong += _broken(point, guardrails, standing)
    if standing is None:
        return wrong
    if guardrails.plans is not None and standing.plan not in guardrails.plans:
        listed = ", ".join(guardrails.plans) or "none"
        message = (
            f"the plan {standing.plan} is not on the list: {listed} {near(standing.plan, guardrails.plans)}".rstrip()
        )
        wrong.append(FieldError("guardrails.plans", message))
    return wrong + _too_far(point, guardrails, standing) + _spent(guardrails, standing)


def beyond_devices(point: Point, guardrails: Guardrails) -> list[FieldError]:
    """Return which devices state limits that forbid ``point``."""
    stated: Mapping[str, Ends] = guardrails.device_limits if isinstance(guardrails, EffectiveGuardrails) else {}
    return [
        FieldError(f"device_limits.{name}", f"{_outside(name, point[name], limits)}, the limits that the device states")
        for name, limits in stated.items()
        if name in point and not inside(point[name], limits)
    ]


def _broken(point: Point, guardrails: Guardrails, standing: RunHistory | None) -> list[FieldError]:
    """Return the rules across actuators that forbid ``point``; one that names none of its actuators says nothing."""
    if not guardrails.rules:
        return []
    known: list[Mapping[str, Value]] = [
        point,
        standing.places if standing else {},
        guardrails.elsewhere if isinstance(guardrails, EffectiveGuardrails) else {},
    ]
    wrong: list[FieldError] = []
    for rule in map(parse, guardrails.rules):
        if point.keys().isdisjoint(rule.names):
            continue
        # the last of the three changes in other threads, so that nothing may walk through it
        positions = {name: at for name in rule.names for at in [_first(name, known)] if at is not None}
        if why := rule.why_not(positions):
            wrong.append(FieldError("guardrails.rules", why))
    return wrong


def _first(name: str, known: Sequence[Mapping[str, Value]]) -> Value | None:
    return next((at for positions in known if (at := positions.get(name)) is not None), None)


def _outside(name: str, position: Value, limits: Ends) -> str:
    low, high = limits
    if not is_number(position):
        return f"{name} = {value_shown(position)} is no number, and there are limits for it"
    if low is None or high is None:
        end, side = (high, "above") if low is None else (low, "below")
        return f"{name} = {shown(position)} is {side} {shown(end)}"
    return f"{name} = {shown(position)} is outside [{shown(low)}, {shown(high)}]"


def _too_far(point: Point, guardrails: Guardrails, standing: RunHistory) -> list[FieldError]:
    wrong: list[FieldError] = []
    for name, step in guardrails.max_step.items():
        origin = _origin(name, step, standing)
        if name not in point or origin is None:
            continue
        if not is_number(at := point[name]):
            message = f"{name} = {value_shown(at)} is no number, so no step to it can be measured"
        elif math.isnan(taken := abs(at - origin)):
            message = f"where {name} is cannot be found out now, so no step of it can be measured"
        elif not taken <= step:
            message = f"{name} = {at:g} is {taken:g} from {origin:g}, more than {step:g}"
        else:
            continue
        wrong.append(FieldError(f"guardrails.max_step.{name}", message))
    return wrong


def _origin(name: str, step: float, standing: RunHistory) -> float | None:
    """Return where a step begins: where the actuator is, or where it was sent if it is all but there."""
    sent, place = standing.positions.get(name), standing.places.get(name)
    if place is None or (sent is not None and abs(place - sent) <= AS_GOOD_AS_THERE * step):
        return sent
    return place


def _spent(guardrails: Guardrails, standing: RunHistory) -> list[FieldError]:
    wrong: list[FieldError] = []
    if guardrails.budget_runs is not None and standing.runs >= guardrails.budget_runs:
        message = f"{standing.runs} runs were begun, and the budget is {guardrails.budget_runs}"
        wrong.append(FieldError("guardrails.budget_runs", message))
    if guardrails.budget_time_s is not None and standing.run_time_s >= guardrails.budget_time_s:
        message = f"the runs took {standing.run_time_s:.0f} s, and the budget is {guardrails.budget_time_s:g} s"
        wrong.append(FieldError("guardrails.budget_time_s", message))
    return wrong
