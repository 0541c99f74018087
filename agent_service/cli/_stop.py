"""``agent-service stop``: stop agents, or everything, from a terminal, when no panel and no notebook is heard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agent_service.cli._address import service_at
from agent_service.cli._options import StateOption
from agent_service.errors import BackendUnavailable, ServiceError, Unauthenticated, UsageError
from agent_service.models.states import AgentState, Command, legal_commands

if TYPE_CHECKING:
    from agent_service.client import Client


def stop(
    agents: Annotated[list[str] | None, typer.Argument(metavar="[AGENT]...", help="Whose runs end first.")] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--everything", "--all", help="Abort the plan under way, and let nothing move until somebody resumes."
        ),
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
            try:
                print(_stopped(client, name))
            except (Unauthenticated, BackendUnavailable):
                raise
            except ServiceError as error:  # the others are stopped all the same
                failed = error
                print(f"error: {error.detail}", file=sys.stderr)
    if failed is not None:
        raise typer.Exit(1)


def _stopped(client: Client, name: str) -> str:
    """Stop an agent, if it is not at rest already, and say what it is now."""
    state = client.agent(name).state
    if state is not AgentState.STOPPING and Command.STOP not in legal_commands(state):
        return f"{name} is {state.value} already"
    print(f"stopping {name}; a run under way ends first, unless you say --everything", file=sys.stderr)
    return f"{name} is {client.stop(name).state.value}"
