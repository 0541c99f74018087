"""What the trace and the map of an agent show, as plain numbers for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from agent_service.models import AgentStatus, Suggestion

MAX_ROWS: Final = 1000
"""Most outcomes that are sent to the page: the last ones; the best before them is told by itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured point: actuators and outcomes by name, in their own units."""

    at: datetime
    point: Mapping[str, float]
    outcome: Mapping[str, float]


def brief(value: object) -> str:
    """Return a number with as many digits as a person reads, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def maximizes(status: AgentStatus, measured: Iterable[Measured]) -> bool:
    """Return whether more of the outcome is better: as configured, else as the brain's own best point tells."""
    configured = status.config.get("maximize")
    if isinstance(configured, bool):
        return configured
    if status.best is None:
        return True
    name, best = next(iter(status.best.outcome.items()), ("", 0.0))
    seen = [one.outcome[name] for one in measured if name in one.outcome]
    return not seen or max(seen) - best <= best - min(seen)


def plotted(status: AgentStatus, measured: Sequence[Measured], open_: Iterable[Suggestion]) -> dict[str, Any]:
    """Return what the plots draw.

    Returns
    -------
    dict
        ``actuators`` and ``outcomes``: names; ``rows``: a list of numbers (or None) for each outcome, in the order of
        the names; ``first``: number of the first row, counted from 1; ``before``: best of each outcome before it;
        ``suggested``: open suggestions as ``{id, state, values}``; ``best``: numbers, as a row;
        ``allowed``: ``[low, high]`` or None for each actuator.
    """
    actuators = list(status.spec.actuators)
    outcomes = list(status.spec.outcomes) or _outcomes_seen(measured, actuators)
    columns = [*actuators, *outcomes]
    most = maximizes(status, measured)
    cut = max(0, len(measured) - MAX_ROWS)
    bounds = status.spec.guardrails.bounds
    best = status.best
    return {
        "actuators": actuators,
        "outcomes": outcomes,
        "maximize": most,
        "total": status.progress.total,
        "first": cut + 1,
        "before": [_extreme(measured[:cut], name, most=most) for name in outcomes],
        "rows": [_row({**one.point, **one.outcome}, columns) for one in measured[cut:]],
        "suggested": [{"id": one.id, "state": str(one.state), "values": _row(one.point, actuators)} for one in open_],
        "best": _row({**best.point, **best.outcome}, columns) if best else None,
        "allowed": [list(bounds[name]) if name in bounds else None for name in actuators],
    }


def _outcomes_seen(measured: Sequence[Measured], actuators: Sequence[str]) -> list[str]:
    seen = {name: None for one in measured[-1:] for name in one.outcome if name not in actuators}
    return list(seen)


def _extreme(measured: Sequence[Measured], name: str, *, most: bool) -> float | None:
    seen = [one.outcome[name] for one in measured if name in one.outcome]
    if not seen:
        return None
    return max(seen) if most else min(seen)


def _row(values: Mapping[str, float], columns: Iterable[str]) -> list[float | None]:
    return [float(f"{values[name]:.6g}") if name in values else None for name in columns]
