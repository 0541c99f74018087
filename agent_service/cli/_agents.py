"""``agent-service agents | start | pause | resume | best``: agents of a running service, from a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agent_service.cli._address import StateOption, UrlOption, service_at
from agent_service.cli._each import for_each
from agent_service.cli._tables import agents_table, point_text
from agent_service.errors import Conflict, UsageError

if TYPE_CHECKING:
    from agent_service.client import Client
    from agent_service.models import BestPoint

Names = Annotated[list[str], typer.Argument(metavar="AGENT...", help="Names of agents.")]
NamesOrQueue = Annotated[list[str] | None, typer.Argument(metavar="[AGENT]...", help="Names of agents.")]


def agents(url: UrlOption = None, state: StateOption = None) -> None:
    """List the agents, their states, their progress and their best points."""
    from rich.console import Console

    with service_at(url, state) as client:
        listed = client.agents()
    Console().print(agents_table(listed) if listed else "no agents yet", highlight=False)


def start(
    names: Names,
    paused: Annotated[bool, typer.Option("--paused", help="Suggest nothing until the agent is resumed.")] = False,
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Start agents and return when they run."""
    with service_at(url, state) as client:

        def started(name: str) -> str:
            print(f"starting {name} ...", file=sys.stderr)
            return f"{name} is {client.start(name, paused=paused).state.value}"

        for_each(names, started)


def pause(
    names: NamesOrQueue = None,
    everything: Annotated[
        bool, typer.Option("--everything", "--all", help="Pause the plan under way; let no other begin.")
    ] = False,
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Pause agents, or everything that moves. An agent's run ends first; it submits nothing more."""
    _refuse_both("pause", names, everything=everything)
    with service_at(url, state) as client:
        if everything:
            print(f"the queue is {client.pause_queue().state}")
        for_each(names or [], lambda name: f"{name} is {client.pause(name).state.value}")


def resume(
    names: NamesOrQueue = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--everything", "--all", help="Resume the queue after it was paused, or after everything was stopped."
        ),
    ] = False,
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Resume paused agents, or everything that moves."""
    _refuse_both("resume", names, everything=everything)
    with service_at(url, state) as client:
        if everything:
            print(f"the queue is {client.resume_queue().state}")
        for_each(names or [], lambda name: f"{name} is {client.resume(name).state.value}")


def best(
    names: Names,
    by_model: Annotated[bool, typer.Option("--model", help="Show the brain's best point, not the best measured.")] = (
        False
    ),
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Show the best point of agents: the best measured, or their brains' best."""
    with service_at(url, state) as client:
        for_each(names, lambda name: f"{name}: {_best(client, name, by_model=by_model)}")


def _best(client: Client, name: str, *, by_model: bool) -> str:
    status = client.agent(name)
    best: BestPoint | None = status.best_by_model if by_model else status.best
    if best is None:
        knows = (
            "says no best point; without --model it is the best measured" if by_model else "has measured nothing yet"
        )
        raise Conflict(f"{name} {knows}")
    return f"{point_text(best.outcome)} at {point_text(best.point)}"


def _refuse_both(command: str, names: list[str] | None, *, everything: bool) -> None:
    if bool(names) == everything:
        raise UsageError(
            f"say what to {command}: agent-service {command} AGENT, or agent-service {command} --everything"
        )
