"""``agent-service status``: what a running service and its agents do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_service.cli._options import DEFAULT_STATE, StateOption
from agent_service.errors import BackendUnavailable, InvalidInput, Unauthenticated, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from agent_service.client import Client
    from agent_service.models import AgentStatus, ServiceStatus


def status(
    url: Annotated[str | None, typer.Argument(help="Address of the service; default: AGENT_SERVICE_URL.")] = None,
    state: StateOption = None,
) -> None:
    """Show a running service and its agents."""
    from rich.console import Console

    with _client_for(url, state) as client:
        try:
            service, agents = client.service(), client.agents()
        except Unauthenticated as error:
            raise Unauthenticated(f"{error.detail}; give its key: {_where_keys_are(state)}") from error
        except BackendUnavailable as error:
            if url or state or os.environ.get("AGENT_SERVICE_URL"):
                raise
            raise BackendUnavailable(f"{error.detail}; or say which service: {_where_keys_are(state)}") from error
    console = Console()
    console.print(_service_table(client.url, service))
    console.print(_agents_table(agents) if agents else "no agents yet", highlight=False)


def _client_for(url: str | None, state: Path | None) -> Client:
    """Return a client of the service at ``url``, or on ``state``, or on the default state directory."""
    from agent_service.client import Client

    if url is None:
        default = Path(DEFAULT_STATE)
        if state is None and not os.environ.get("AGENT_SERVICE_URL") and default.exists():
            state = default
        if state is not None:
            return Client.from_state(state)
    try:
        return Client(url, api_key=_key_in(state))
    except InvalidInput as error:
        raise UsageError(error.detail) from None


def _where_keys_are(state: Path | None) -> str:
    """Say how a service and its key are named, with a state directory of this folder if there is one."""
    if state is None:
        here = sorted(str(one.parent) for one in Path().glob("*.state/service.json"))
        return f"--state {' or --state '.join(here) or 'STATE, its state directory'}, or set AGENT_SERVICE_API_KEY"
    return "set AGENT_SERVICE_API_KEY"


def _key_in(state: Path | None) -> str | None:
    if state is None:
        return None
    try:
        return (state / "api_key").read_text(encoding="ascii").strip()
    except OSError as error:
        raise UsageError(
            f"no key can be read in {state}: {error.strerror}; name the state directory of a service with --state, or "
            "set AGENT_SERVICE_API_KEY"
        ) from None


def _service_table(url: str, service: ServiceStatus) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    archive, queue = service.archive, service.queue
    counted = ((archive.runs_behind, "runs behind"), (archive.runs_refused, "runs refused, kept in the spool"))
    lag = "".join(f", {count} {what}" for count, what in counted if count)
    for label, text in (
        ("service", f"{url}, version {service.version}, up {service.uptime_s:.0f} s"),
        ("state", service.state_dir),
        ("queue", f"{queue.state}{f' ({queue.reason})' if queue.reason else ''}, {queue.pending} waiting"),
        ("catalogue", f"{archive.catalog}, {archive.state}{lag}{f' ({archive.reason})' if archive.reason else ''}"),
        *(("fault", one) for one in service.faults),
    ):
        table.add_row(label, text)
    return table


def _agents_table(agents: list[AgentStatus]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from agent_service.best_measured import best_text

    table = Table("agent", "state", "type", "runs", "best measured", "reason")
    for one in agents:
        runs = str(one.progress.done) if one.progress.total is None else f"{one.progress.done}/{one.progress.total}"
        best = best_text(one)
        reason = one.reason or (one.last_error.message if one.last_error else "")
        table.add_row(*(Text(text) for text in (one.name, one.state, one.type, runs, best, reason)))
    return table
