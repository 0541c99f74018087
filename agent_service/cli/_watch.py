"""``agent-service watch``: a service as it is, until Ctrl-C; live on a terminal, as plain lines anywhere else."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from agent_service.cli._address import StateOption, UrlOption, service_at
from agent_service.cli._tables import agents_table, inbox_table
from agent_service.errors import BackendUnavailable, DeadlineExceeded, texts
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Group

    from agent_service.client import Client
    from agent_service.models import AgentStatus, QueueStatus, Suggestion

LOOKS_EVERY_S: Final = 1.0
_ANSWERS_WITHIN_S: Final = 10.0
_LINES: Final = 8


def watch(
    agent: Annotated[str | None, typer.Argument(help="Only this agent.")] = None,
    url: UrlOption = None,
    state: StateOption = None,
) -> None:
    """Watch agents, queue, inbox and events of a service. Ctrl-C ends the watching and stops nothing."""
    from rich.console import Console

    from agent_service.cli.narrator import Narrator

    console = Console()
    live = console.is_terminal and not console.is_dumb_terminal
    lines: deque[str] = deque(maxlen=_LINES)

    def say(line: str) -> None:
        lines.append(f"{datetime.now().astimezone():%b %d %H:%M:%S} {line}")
        if not live:
            print(lines[-1], flush=True)

    with service_at(url, state, timeout_s=_ANSWERS_WITHIN_S) as client:
        first = _Look.at(client, agent)  # no service, a key that is refused, an agent that is not there: said at once
        Narrator(client.url, client.api_key or "", say=say, patience_s=float("inf")).start()
        try:
            if live:
                _draw(client, agent, first, lines)
            else:
                _tell(client, agent, first, say)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


@dataclass(frozen=True, slots=True)
class _Look:
    """A service at a moment; with ``trouble`` it did not answer, and the rest is as before."""

    agents: list[AgentStatus] = field(default_factory=list["AgentStatus"])
    waiting: list[Suggestion] = field(default_factory=list["Suggestion"])
    queue: QueueStatus | None = None
    trouble: str = ""

    @classmethod
    def at(cls, client: Client, agent: str | None) -> Self:
        agents = client.agents() if agent is None else [client.agent(agent)]
        return cls(agents, client.suggestions(agent, state=SuggestionState.PROPOSED), client.queue())

    def next(self, client: Client, agent: str | None) -> _Look:
        time.sleep(LOOKS_EVERY_S)
        try:
            return _Look.at(client, agent)
        except (BackendUnavailable, DeadlineExceeded) as error:
            return _Look(self.agents, self.waiting, self.queue, trouble=f"as it was last: {error.detail}")


def _draw(client: Client, agent: str | None, look: _Look, lines: deque[str]) -> None:
    from rich.live import Live

    with Live(_picture(client, look, lines), auto_refresh=False, vertical_overflow="ellipsis") as shown:
        while True:
            look = look.next(client, agent)
            shown.update(_picture(client, look, lines), refresh=True)


def _tell(client: Client, agent: str | None, look: _Look, say: Callable[[str], None]) -> None:
    shown, trouble = 0, ""
    while True:
        if len(look.waiting) != shown:
            shown = len(look.waiting)
            say(f"{texts.counted(shown, 'suggestion')} to approve or reject: agent-service inbox")
        if look.trouble != trouble:
            trouble = look.trouble
            say(trouble or "the service answers again")
        look = look.next(client, agent)


def _picture(client: Client, look: _Look, lines: deque[str]) -> Group:
    from rich.console import Group
    from rich.text import Text

    queue = look.queue
    moves = "" if queue is None else f"the queue is {queue.state}{f': {queue.reason}' if queue.reason else ''}"
    what = [Text(texts.one_line(f"{client.url}, {moves}"), style="bold")]
    if look.trouble:
        what.append(Text(texts.one_line(look.trouble), style="bold red"))
    return Group(
        *what,
        agents_table(look.agents) if look.agents else Text("no agents yet"),
        inbox_table(look.waiting) if look.waiting else Text("no suggestion waits"),
        *(Text(texts.one_line(line), style="dim") for line in list(lines)),
    )
