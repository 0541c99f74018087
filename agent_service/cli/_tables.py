"""Agents and suggestions as tables and lines of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.errors import texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.table import Table
    from rich.text import Text

    from agent_service.models import AgentStatus, DeviceInfo, Suggestion


def agents_table(agents: Iterable[AgentStatus]) -> Table:
    """Return agents as a table: what they do, how far they are, and their best."""
    from rich.table import Table

    from agent_service.models.best_measured import best_text

    table = Table("agent", "state", "type", "runs", "best measured", "reason")
    for agent in agents:
        done, total = agent.progress.done, agent.progress.total
        runs = str(done) if total is None else f"{done}/{total}"
        table.add_row(*_cells(agent.name, agent.state, agent.type, runs, best_text(agent), "; ".join(agent.remarks)))
    return table


def devices_table(devices: Iterable[DeviceInfo]) -> Table:
    """Return devices as a table: their names, and what can be done with them."""
    from rich.table import Table

    table = Table("device", "moves", "reads")
    answers = {True: "yes", False: "no", None: "?"}
    for each in devices:
        table.add_row(*_cells(each.name, answers[each.moves], answers[each.reads]))
    return table


def inbox_table(suggestions: Iterable[Suggestion]) -> Table:
    """Return suggestions as a table: the beginning of their ids, whose they are, their points, and why."""
    from rich.table import Table

    table = Table("id", "agent", "point", "since", "why")
    for each in suggestions:
        since = f"{each.created_at.astimezone():%b %d %H:%M}"
        table.add_row(*_cells(each.id[:8], each.agent, point_text(each.point), since, "; ".join(each.remarks)))
    return table


def point_text(point: Mapping[str, object]) -> str:
    """Return a point, or outcomes, in one line: ``x 1.5, y -2``."""
    from agent_service.models.values import text_of

    return ", ".join(f"{name} {text_of(value)}" for name, value in point.items())


def _cells(*cells: str) -> list[Text]:
    from rich.text import Text

    return [Text(texts.one_line(cell)) for cell in cells]
