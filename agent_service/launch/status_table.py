"""Agents in a table, as text and as HTML: what notebooks show below a cell."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.models import AgentStatus

_HEAD: Final = ("agent", "state", "runs", "best measured", "")


class StatusTable:
    """Agents in a table below a title; if ``traceback``, the tracebacks of their last faults too."""

    def __init__(self, title: str, agents: Sequence[AgentStatus], *, traceback: bool = False) -> None:
        self.title = title
        self.agents = tuple(agents)
        errors = [agent.last_error for agent in agents if traceback and agent.last_error]
        self._traces = [error.traceback for error in errors if error.traceback]

    def __repr__(self) -> str:
        if not self.agents:
            return f"{self.title}: no agents yet"
        rows = [_HEAD, *(_row(agent) for agent in self.agents)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.title, *lines, *self._traces])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {
            "text/plain": repr(self),
            "text/html": f"<div><b>{html.escape(self.title)}</b></div>{self.html_table()}",
        }

    def html_table(self) -> str:
        """Return the table and the tracebacks, without the title."""
        if not self.agents:
            return "<div>no agents yet</div>"
        rows = [_cells("th", _HEAD), *(_cells("td", _row(agent)) for agent in self.agents)]
        traces = "".join(
            f"<details><summary>Traceback</summary><pre>{html.escape(trace)}</pre></details>" for trace in self._traces
        )
        return f"<table>{''.join(rows)}</table>{traces}"


def _row(status: AgentStatus) -> tuple[str, ...]:
    done, total = status.progress.done, status.progress.total
    from agent_service.models.best_measured import best_text  # noqa: PLC0415 - loading the extension imports nothing heavy

    best = best_text(status)
    runs = str(done) if total is None else f"{done} of {total}"
    remarks = "; ".join(" ".join(remark.split()) for remark in status.remarks)
    return (status.name, status.state.value, runs, best, remarks)


def _cells(tag: str, row: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in row)}</tr>"
