"""What the trace and the map of an agent show, as plain numbers for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from agent_service.models import AgentStatus, BestPoint, Suggestion

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


def plotted(status: AgentStatus, measured: Sequence[Measured], open_: Iterable[Suggestion]) -> dict[str, Any]:
    """Return what the plots draw.

    ``actuators`` and ``outcomes``: names; ``rows``: a list of numbers (or None) for each outcome, in the order of the
    names; ``first``: number of the first row, counted from 1; ``objective``: which outcome the best is of, by its
    number among them; ``before``: the best of it before the first row; ``ranges``: lowest and highest of each outcome;
    ``suggested``: open suggestions as ``{id, state, values}``; ``best`` and ``model``: the best measured and the
    brain's best, as rows; ``allowed``: ``[low, high]``, either None when it is open, or None for each actuator.
    """
    actuators = list(status.spec.actuators)
    outcomes = list(status.spec.outcomes) or _outcomes_seen(measured, actuators)
    columns = [*actuators, *outcomes]
    most = status.direction == "maximize"
    cut = max(0, len(measured) - MAX_ROWS)
    bounds = status.spec.guardrails.bounds
    best, model, objective = status.best, status.best_by_model, status.objective
    rows = [_row({**row.point, **row.outcome}, columns) for row in measured[cut:]]
    return {
        "actuators": actuators,
        "outcomes": outcomes,
        "maximize": most,
        "total": status.progress.total,
        "first": cut + 1,
        "objective": outcomes.index(objective) if objective in outcomes else None,
        "before": _before(measured[cut:], best, objective),
        "ranges": [_range([*measured, *([best] if best else [])], name) for name in outcomes],
        "rows": rows,
        "suggested": [
            {"id": suggestion.id, "state": str(suggestion.state), "values": _row(suggestion.point, actuators)}
            for suggestion in open_
        ],
        "best": _row({**best.point, **best.outcome}, columns) if best else None,
        "model": _row({**model.point, **model.outcome}, columns) if model and model != best else None,
        "allowed": [list(bounds[name]) if name in bounds else None for name in actuators],
    }


def _outcomes_seen(measured: Sequence[Measured], actuators: Sequence[str]) -> list[str]:
    seen = {name: None for row in measured[-1:] for name in row.outcome if name not in actuators}
    return list(seen)


def _before(shown: Sequence[Measured], best: BestPoint | None, objective: str | None) -> float | None:
    """Return the best of all, if it was measured before what is shown: then the line of the best begins at it."""
    if best is None or objective is None:
        return None
    value = best.outcome[objective]
    return None if any(row.outcome.get(objective) == value for row in shown) else float(f"{value:.6g}")


def _range(measured: Iterable[Measured | BestPoint], name: str) -> list[float] | None:
    seen = [row.outcome[name] for row in measured if name in row.outcome]
    return [float(f"{min(seen):.6g}"), float(f"{max(seen):.6g}")] if seen else None


def _row(values: Mapping[str, float], columns: Iterable[str]) -> list[float | None]:
    return [float(f"{values[name]:.6g}") if name in values else None for name in columns]
