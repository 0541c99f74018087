"""``agent-service inbox | approve | reject | propose``: suggestions that wait for a person, from a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from agent_service.cli._address import StateOption, UrlOption, service_at
from agent_service.cli._each import for_each
from agent_service.cli._tables import inbox_table, point_text
from agent_service.errors import Conflict, NotFound, UsageError, texts
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from agent_service.client import Client
    from agent_service.models import Suggestion, Value

Ids = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Ids of suggestions as the inbox shows them, or their beginnings.")
]


def inbox(
    agent: Annotated[str | None, typer.Argument(help="Only this agent's suggestions.")] = None,
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Show the suggestions that wait for a person."""
    from rich.console import Console

    with service_at(url, state) as client:
        waiting = client.suggestions(agent, state=SuggestionState.PROPOSED)
    Console().print(inbox_table(waiting) if waiting else "no suggestion waits", highlight=False)


def approve(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Ids of suggestions as the inbox shows them, or their beginnings."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change the position of an actuator, for one suggestion."),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(
            "--all", metavar="AGENT", help="Approve all waiting suggestions of an agent; shows them and asks first."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --all: do not ask.")] = False,
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Approve suggestions: they are measured when their turn comes."""
    changes = dict(map(_change, change or []))
    if bool(ids) == (every is not None):
        raise UsageError("say which: agent-service approve ID, or agent-service approve --all AGENT")
    if changes and (every or len(ids or []) > 1):
        raise UsageError("--set changes one suggestion; approve the others apart")
    with service_at(url, state) as client:
        if every is not None:
            _approve_all(client, every, yes=yes)

        def approved(beginning: str) -> str:
            waiting = _find(client, beginning, SuggestionState.PROPOSED)
            point = {**waiting.point, **changes} if changes else None
            approved = client.approve(waiting.id, point)
            return f"approved {approved.id[:8]} of {approved.agent}: {point_text(approved.point)}"

        for_each(ids or [], approved)


def _approve_all(client: Client, agent: str, *, yes: bool) -> None:
    from rich.console import Console

    waiting = client.suggestions(agent, state=SuggestionState.PROPOSED)
    if not waiting:
        print("no suggestion waits")
        return
    Console().print(inbox_table(waiting), highlight=False)
    if not yes and not typer.confirm(f"Approve {'it' if len(waiting) == 1 else f'all {len(waiting)}'}?"):
        raise typer.Exit(1)
    print(f"approved {texts.counted(len(client.approve_all(waiting)), 'suggestion')} of {agent}")


def reject(
    ids: Ids,
    reason: Annotated[str, typer.Option(help="Why; for the history and the brain's author.")] = "",
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Reject suggestions: they are not measured."""
    with service_at(url, state) as client:

        def rejected(beginning: str) -> str:
            waiting = _find(client, beginning, SuggestionState.PROPOSED, SuggestionState.APPROVED)
            rejected = client.reject(waiting.id, reason)
            return f"rejected {rejected.id[:8]} of {rejected.agent}: {point_text(rejected.point)}"

        for_each(ids, rejected)


def propose(
    agent: Annotated[str, typer.Argument(help="Agent to measure the point.")],
    point: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="Positions of its actuators.")],
    reason: Annotated[str, typer.Option(help="Why; for the person who approves it.")],
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Propose a point to an agent: it waits for a person's approval."""
    with service_at(url, state) as client:
        made = client.propose(agent, dict(map(_change, point)), reason)
    print(f"proposed {made.id[:8]} to {agent}: {point_text(made.point)}; it waits for approval")


def _find(client: Client, beginning: str, *states: SuggestionState) -> Suggestion:
    """Return the one suggestion in one of ``states`` whose id begins so; raises `NotFound` or `Conflict`."""
    suggestions = [
        each for state in states for each in client.suggestions(state=state) if each.id.startswith(beginning)
    ]
    if not suggestions:
        raise NotFound(
            f"no suggestion that waits has an id that begins with {beginning!r}; agent-service inbox shows them"
        )
    if len(suggestions) > 1:
        raise Conflict(f"{len(suggestions)} suggestions have an id that begins with {beginning!r}; give more of it")
    return suggestions[0]


def _change(text: str) -> tuple[str, Value]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"a position is NAME=VALUE, as x=1.5, not {text!r}")
    try:
        plain: object = json.loads(value)
    except ValueError:
        plain = value
    return name, plain if isinstance(plain, bool | int | float) else value
