"""``agent-service stop``: stop agents, or everything, from a terminal, when no panel and no notebook is heard."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from agent_service.cli._address import service_at
from agent_service.cli._options import StateOption
from agent_service.errors import BackendUnavailable, ServiceError, Unauthenticated, UsageError


def stop(
    agents: Annotated[list[str] | None, typer.Argument(metavar="[AGENT]...", help="Whose runs end first.")] = None,
    everything: Annotated[
        bool,
        typer.Option("--everything", help="Abort the plan under way, and let nothing move until somebody resumes."),
    ] = False,
    url: Annotated[str | None, typer.Option(help="Address of the service; default: AGENT_SERVICE_URL.")] = None,
    state: StateOption = None,
) -> None:
    """Stop agents of a running service, or everything that moves."""
    names = agents or []
    if bool(names) == everything:
        raise UsageError("say what to stop: agent-service stop AGENT, or agent-service stop --everything")
    failed: ServiceError | None = None
    with service_at(url, state) as client:
        if everything:
            client.abort_queue("Stop everything was said in a terminal")
            print("stopped: nothing moves until somebody resumes the queue, in a panel or by client.resume_queue()")
        for name in names:
            print(f"stopping {name}; a run under way ends first, unless you say --everything", file=sys.stderr)
            try:
                print(f"{name} is {client.stop(name).state.value}")
            except (Unauthenticated, BackendUnavailable):
                raise
            except ServiceError as error:  # the others are stopped all the same
                failed = error
                print(f"error: {error.detail}", file=sys.stderr)
    if failed is not None:
        raise typer.Exit(1)
