"""``agent-service status | devices``: what a running service and its agents do, and what agents may move and read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agent_service.cli._address import StateOption, UrlOption, service_at
from agent_service.cli._tables import agents_table, devices_table
from agent_service.errors import texts

if TYPE_CHECKING:
    from rich.table import Table

    from agent_service.models import ServiceStatus, SourceStatus


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
    console.print(agents_table(agents) if agents else "no agents yet", highlight=False)


def devices(
    part: Annotated[
        str, typer.Argument(metavar="[PART]", help="List only devices with this text in their names.")
    ] = "",
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """List the devices that agents may name, and whether each can be moved and read."""
    from rich.console import Console

    with service_at(url, state) as client:
        listed = client.all_devices()
    if listed.reason:
        print(listed.reason, file=sys.stderr)
    matching = [device for device in listed.items if part.lower() in device.name.lower()]
    if matching:
        Console().print(devices_table(matching), highlight=False)
    elif not listed.reason:
        print(
            f"none of {texts.counted(len(listed.items), 'device')} has {part!r} in its name" if part else "no devices"
        )


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
        *(("condition", f"{condition.name} {condition.state}: {condition.text}") for condition in service.conditions),
        *(("notices", service.notices.trouble) for _ in [1] if service.notices and service.notices.trouble),
        *(("fault", fault) for fault in service.faults),
    ):
        table.add_row(label, Text(texts.one_line(text)))
    return table


def _source(source: SourceStatus) -> str:
    last = f", last document {source.last_document.astimezone():%b %d %H:%M:%S}" if source.last_document else ""
    lag = f", {source.lag} behind" if source.lag else ""
    return f"{source.kind} {source.where}, {source.state}{f' ({source.reason})' if source.reason else ''}{last}{lag}"
