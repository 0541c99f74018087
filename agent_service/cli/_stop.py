"""``agent-service stop``: stop agents, or everything, from a terminal, when no panel and no notebook is heard."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent_service.cli._address import StateOption, UrlOption, process_of, service_at
from agent_service.cli._each import for_each
from agent_service.errors import Conflict, DeadlineExceeded, UsageError
from agent_service.models.state_machines import AgentState, Command, legal_commands

if TYPE_CHECKING:
    from agent_service.client import Client

ANSWERS_WITHIN_S: Final = 15
"""How long a service may take to answer, in seconds."""

SAYS_AFTER_S: Final = 1.0
"""After how long it is said that there is no answer yet."""

_REASON: Final = "Stop everything was said in a terminal"


def stop(
    agents: Annotated[
        list[str] | None, typer.Argument(metavar="[AGENT]...", help="Names of agents; each ends its run first.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--everything", "--all", help="Abort the plan under way; let nothing move until somebody resumes."
        ),
    ] = False,
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Stop agents of a running service, or everything that moves."""
    names = agents or []
    if bool(names) == everything:
        raise UsageError("say what to stop: agent-service stop AGENT, or agent-service stop --everything")
    with service_at(url, state, timeout_s=ANSWERS_WITHIN_S) as client:
        if everything:
            _stop_everything(client, state)
        for_each(names, lambda name: _stopped(client, name))


def _stop_everything(client: Client, state: Path | None) -> None:
    waiting = threading.Timer(
        SAYS_AFTER_S,
        print,
        [f"{client.url} does not answer yet; waiting, {ANSWERS_WITHIN_S} s in all"],
        {"file": sys.stderr},
    )
    waiting.daemon = True
    waiting.start()
    try:
        queue = client.abort_queue(_REASON)
    except DeadlineExceeded as error:
        pid = process_of(client.url, state)
        end = f"`kill -9 {pid}` ends it" if pid else "end its process on its machine"
        raise DeadlineExceeded(
            f"{error.detail}; if what moves must end, {end}: no plan goes on then, but a device that is on its way may "
            "go on to where it was sent"
        ) from error
    finally:
        waiting.cancel()
    if queue.current is not None and queue.kind == "run_engine":
        raise Conflict(f"nothing new begins, but the plan under way goes on: {queue.reason}")
    print("stopped: nothing moves until somebody resumes the queue, in a panel or by agent-service resume --everything")
    if queue.reason not in (None, _REASON):
        print(queue.reason, file=sys.stderr)


def _stopped(client: Client, name: str) -> str:
    """Stop an agent, if it is not at rest already, and say what it is now."""
    state = client.agent(name).state
    if state is not AgentState.STOPPING and Command.STOP not in legal_commands(state):
        return f"{name} is {state.value} already"
    print(f"stopping {name}; a run under way ends first, unless you say --everything", file=sys.stderr)
    return f"{name} is {client.stop(name).state.value}"
