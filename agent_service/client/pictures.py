"""Pictures of what an agent predicts and what was measured. They need matplotlib, and load it when one is drawn.

Examples
--------
>>> from agent_service.client.pictures import belief
>>> figure = belief(client, "aligner")  # doctest: +SKIP
>>> figure.savefig("aligner.png")  # doctest: +SKIP
"""

# matplotlib's types are of numpy's arrays, and these are lists
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agent_service.client._calls import segment
from agent_service.errors import InvalidInput
from agent_service.models import PointPage
from agent_service.models.values import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from agent_service.client import Client
    from agent_service.models import AgentStatus, Prediction, Value

_ACROSS: Final = 45
"""Points along each side of a map; a curve has four times as many."""

_BOTH: Final = 2
_MARGIN: Final = 0.05


class _Axis(NamedTuple):
    name: str
    values: list[float]


def belief(
    client: Client,
    name: str,
    *,
    actuators: Sequence[str] | None = None,
    outcome: str | None = None,
    at: Mapping[str, Value] | None = None,
) -> Figure:
    """Draw what an agent predicts of an outcome, and the measured points.

    Over two actuators: maps of the mean, its standard deviation and, if the brain has one, the acquisition function.
    Over one: the mean with a band of two standard deviations.

    Parameters
    ----------
    client
        The client of the service.
    name
        The agent; it must run or be paused, for its brain is asked.
    actuators
        One or two to draw over; by default the first two.
    outcome
        What to draw; by default the agent's objective, else the first outcome that the brain predicts.
    at
        Positions of the other actuators, in their units; by default those of the best point.

    Raises
    ------
    InvalidInput
        When the brain knows too little yet or does not predict that outcome, or when an actuator is not of numbers or
        has neither limits nor measured points.
    NotFound, AgentFault
        See `Client.predict`.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    agent, points = client.agent(name), _told(client, name)
    drawn = actuators or agent.spec.actuators[:_BOTH]
    if not 1 <= len(drawn) <= _BOTH:
        raise InvalidInput(f"a picture is drawn over one or two actuators, and these are {len(drawn)}")
    many = _ACROSS if len(drawn) == _BOTH else 4 * _ACROSS
    axes = [_axis(agent, points, actuator, many) for actuator in drawn]
    others = _others(agent, drawn, at or {})
    prediction = client.predict(name, _grid(axes, others))
    shown = _outcome(agent, prediction, outcome)
    panels = {shown: prediction.mean[shown], f"{shown}: standard deviation": prediction.std[shown]}
    if prediction.acquisition is not None:
        panels["what measuring there is worth"] = prediction.acquisition
    columns = len(panels) if len(axes) == _BOTH else 1
    figure = Figure(figsize=(1.0 + 4.4 * columns, 4.2), layout="constrained")
    title = f"{name}: what it believes after {len(points)} points"
    fixed = ", ".join(
        f"{key} = {value:.4g}" if is_number(value) else f"{key} = {value}" for key, value in others.items()
    )
    figure.suptitle(f"{title}, at {fixed}" if fixed else title, fontsize="medium")
    if len(axes) == _BOTH:
        _maps(figure, axes, panels, points)
    else:
        _curve(figure, axes[0], shown, prediction, points)
    return figure


def _told(client: Client, name: str) -> list[Mapping[str, Any]]:
    """Return the measured points of an agent, each with its outcomes."""
    points: list[Mapping[str, Any]] = []
    at: dict[str, str] | None = {}
    while at is not None:
        page = PointPage.model_validate(client.ask("GET", f"agents/{segment(name)}/points", params=at))
        values = {
            column.name: column.of or column.name for column in page.columns if column.kind in ("actuator", "outcome")
        }
        outcomes = [column.name for column in page.columns if column.kind == "outcome"]
        points += [
            {of: row[column] for column, of in values.items()}
            for row in page.items
            if any(row[column] is not None for column in outcomes)
        ]
        at = None if page.next is None else {"cursor": page.next}
    return points


def _axis(agent: AgentStatus, points: Sequence[Mapping[str, Any]], actuator: str, many: int) -> _Axis:
    """Return an axis with ``many`` values from the lower to the upper limit, else over the measured points."""
    if actuator not in agent.spec.actuators:
        raise InvalidInput(
            f"agent {agent.name!r} has no actuator {actuator!r}; it has {', '.join(agent.spec.actuators)}"
        )
    measured = [point[actuator] for point in points if is_number(point.get(actuator))]
    low, high = agent.limits.get(actuator, (None, None))
    low = min(measured, default=None) if low is None else low
    high = max(measured, default=None) if high is None else high
    if low is None or high is None or not low < high:
        raise InvalidInput(f"{actuator} has no limits and too few measured points: say guardrails.bounds for it")
    return _Axis(actuator, [low + (high - low) * step / (many - 1) for step in range(many)])


def _others(agent: AgentStatus, drawn: Sequence[str], at: Mapping[str, Value]) -> dict[str, Value]:
    best = agent.best_by_model or agent.best
    known = {**(best.point if best is not None else {}), **at}
    names = [name for name in agent.spec.actuators if name not in drawn]
    if missing := [name for name in names if name not in known]:
        raise InvalidInput(f"where is {', '.join(missing)}? there is no best point yet: say it in at")
    return {name: known[name] for name in names}


def _grid(axes: Sequence[_Axis], others: Mapping[str, Value]) -> list[dict[str, Value]]:
    """Return the points of a map, row by row upwards, or of a curve."""
    if len(axes) < _BOTH:
        return [{**others, axes[0].name: value} for value in axes[0].values]
    across, up = axes
    return [{**others, across.name: x, up.name: y} for y in up.values for x in across.values]


def _outcome(agent: AgentStatus, prediction: Prediction, outcome: str | None) -> str:
    if not prediction.mean:
        raise InvalidInput(f"agent {agent.name!r} knows too little yet to say what it believes; measure more points")
    wanted = outcome or (agent.objective if agent.objective in prediction.mean else next(iter(prediction.mean)))
    if wanted not in prediction.mean:
        raise InvalidInput(f"agent {agent.name!r} says nothing of {wanted!r}, but of {', '.join(prediction.mean)}")
    return wanted


def _measured(points: Sequence[Mapping[str, Any]], across: str, up: str) -> tuple[list[Any], list[Any]]:
    """Return the two columns of the points that have numbers in both."""
    both = [point for point in points if is_number(point.get(across)) and is_number(point.get(up))]
    return [point[across] for point in both], [point[up] for point in both]


def _maps(
    figure: Figure, axes: Sequence[_Axis], panels: Mapping[str, Sequence[float]], points: Sequence[Mapping[str, Any]]
) -> None:
    across, up = axes
    where = _measured(points, across.name, up.name)
    for index, (label, values) in enumerate(panels.items()):
        panel = figure.add_subplot(1, len(panels), index + 1)
        rows = [values[start : start + len(across.values)] for start in range(0, len(values), len(across.values))]
        colours = panel.pcolormesh(
            across.values, up.values, rows, shading="nearest", cmap="viridis" if index == 0 else "cividis"
        )
        figure.colorbar(colours, ax=panel, location="bottom", shrink=0.8)
        panel.plot(*where, linestyle="none", marker="o", markersize=4, markerfacecolor="white", markeredgecolor="black")
        panel.set(title=label, xlabel=across.name, ylabel=up.name if index == 0 else "")


def _curve(
    figure: Figure, axis: _Axis, shown: str, prediction: Prediction, points: Sequence[Mapping[str, Any]]
) -> None:
    panel = figure.add_subplot()
    mean, std = prediction.mean[shown], prediction.std[shown]
    ends = [[value + sign * 2 * spread for value, spread in zip(mean, std, strict=True)] for sign in (-1, 1)]
    panel.fill_between(axis.values, ends[0], ends[1], alpha=0.25, label="two standard deviations")
    panel.plot(axis.values, mean, label="mean")
    panel.plot(
        *_measured(points, axis.name, shown),
        linestyle="none",
        marker="o",
        markersize=4,
        color="black",
        label="measured",
    )
    panel.set(xlabel=axis.name, ylabel=shown)
    panel.margins(x=_MARGIN)
    panel.legend()
