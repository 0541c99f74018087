"""What magics put below a cell: lines, and agents in a table, as text and as HTML."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final, cast

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
        return {"text/plain": repr(self), "text/html": self._html()}

    def _html(self) -> str:
        title = f"<div><b>{html.escape(self.title)}</b></div>"
        if not self.agents:
            return f"{title}<div>no agents yet</div>"
        rows = [_cells("th", _HEAD), *(_cells("td", _row(agent)) for agent in self.agents)]
        traces = "".join(
            f"<details><summary>Traceback</summary><pre>{html.escape(trace)}</pre></details>" for trace in self._traces
        )
        return f"{title}<table>{''.join(rows)}</table>{traces}"


def say(line: str) -> None:
    """Print a line below the cell."""
    print(line)  # noqa: T201 - the cell's own output


def show(thing: object) -> None:
    """Display an object below the cell."""
    from IPython import display  # noqa: PLC0415 - pictures are for those who look

    cast("Any", display).display(thing)


def _row(status: AgentStatus) -> tuple[str, ...]:
    done, total = status.progress.done, status.progress.total
    from agent_service.models.best_measured import best_text  # noqa: PLC0415 - loading the extension imports nothing heavy

    best = best_text(status)
    runs = str(done) if total is None else f"{done} of {total}"
    remarks = [" ".join((status.reason or "").split())]
    if status.no_limits:
        remarks.append(f"no limits: {', '.join(status.no_limits)}")
    return (status.name, status.state.value, runs, best, "; ".join(remark for remark in remarks if remark))


def _cells(tag: str, row: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in row)}</tr>"
