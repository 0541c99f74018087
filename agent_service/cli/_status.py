"""``agent-service status``: what a running service and its agents do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_service.cli._address import StateOption, service_at
from agent_service.errors import texts

if TYPE_CHECKING:
    from rich.table import Table

    from agent_service.models import AgentStatus, ServiceStatus, SourceStatus


def status(
    url: Annotated[str | None, typer.Argument(help="Address of the service; default: AGENT_SERVICE_URL.")] = None,
    state: StateOption = None,
) -> None:
    """Show a running service and its agents."""
    from rich.console import Console

    with service_at(url, state) as client:
        service, agents = client.service(), client.agents()
    console = Console()
    console.print(_service_table(client.url, service))
    console.print(_agents_table(agents) if agents else "no agents yet", highlight=False)


def _service_table(url: str, service: ServiceStatus) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    archive, queue = service.archive, service.queue
    counted = (
        (archive.runs_behind, "runs behind"),
        (archive.runs_refused, "runs refused"),
        (archive.decisions_refused, "decisions refused"),
    )
    lag = "".join(f", {count} {what}" for count, what in counted if count)
    for label, text in (
        ("service", f"{url}, version {service.version}, up {service.uptime_s:.0f} s"),
        ("state", service.state_dir),
        ("queue", f"{queue.state}{f' ({queue.reason})' if queue.reason else ''}, {queue.pending} waiting"),
        ("catalogue", f"{archive.catalog}, {archive.state}{lag}{f' ({archive.reason})' if archive.reason else ''}"),
        *(("source", _source(source)) for source in service.sources if source.where),
        *(("not whole", f"run {run.uid}: {run.reason}, for {run.for_s:.0f} s") for run in service.suspects),
        *(("condition", f"{one.name} {one.state}: {one.text}") for one in service.conditions),
        *(("fault", fault) for fault in service.faults),
    ):
        table.add_row(label, Text(texts.one_line(text)))
    return table


def _source(one: SourceStatus) -> str:
    last = f", last document {one.last_document:%H:%M:%S} UTC" if one.last_document else ""
    lag = f", {one.lag} behind" if one.lag else ""
    return f"{one.kind} {one.where}, {one.state}{f' ({one.reason})' if one.reason else ''}{last}{lag}"


def _agents_table(agents: list[AgentStatus]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from agent_service.models.best_measured import best_text

    table = Table("agent", "state", "type", "runs", "best measured", "reason")
    for agent in agents:
        runs = (
            str(agent.progress.done)
            if agent.progress.total is None
            else f"{agent.progress.done}/{agent.progress.total}"
        )
        best = best_text(agent)
        suspended = f"suspended: {agent.suspended}" if agent.suspended else ""
        reason = agent.reason or suspended or (agent.last_error.message if agent.last_error else "")
        if agent.no_limits:
            reason = "; ".join(part for part in (reason, f"no limits: {', '.join(agent.no_limits)}") if part)
        table.add_row(
            *(Text(texts.one_line(text)) for text in (agent.name, agent.state, agent.type, runs, best, reason))
        )
    return table
