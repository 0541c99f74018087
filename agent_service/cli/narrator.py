"""What a service does, told a person in a line each: agents that come back, end or fail, the queue held and released.

It follows the service's own event stream, like any other client, in a daemon thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import httpx

from agent_service.cli._open import page_address
from agent_service.client import Client
from agent_service.errors import ServiceError, texts
from agent_service.models import ConditionState, EventKind, QueueState
from agent_service.models.state_machines import AgentState

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.models import AgentStatus, Event, ServiceStatus


_KINDS: Final = (EventKind.AGENT_STATE, EventKind.QUEUE_STATE, EventKind.CONDITION_STATE)


class Narrator:
    """Follows a service, in its own thread, and calls ``say`` with each line.

    It ends when the service has not answered for ``patience_s`` seconds. ``logs_in``: it says first where the page is,
    with a code for the browser of whoever reads that.
    """

    def __init__(
        self, url: str, key: str, *, say: Callable[[str], None], patience_s: float = 0, logs_in: bool = False
    ) -> None:
        self._logs_in = logs_in
        self._client = Client(_reachable(url), api_key=key)
        self._say = say
        self._patience_s = patience_s
        self._back: dict[str, AgentStatus] = {}

    def start(self) -> None:
        """Follow in a daemon thread; it ends by itself when the service does."""
        threading.Thread(target=self._follow, name="narrator", daemon=True).start()

    def _follow(self) -> None:
        # what cannot be told is no reason to trouble the service: the journal has it
        try:
            with self._client as client:
                if self._logs_in:
                    self._say(f"Page:       {page_address(client)} (once, within a minute; then: agent-service open)")
                # nothing else: each fact of a loop would be told to this very process over HTTP
                events = client.events(kinds=_KINDS, patience_s=self._patience_s)
                next(events)  # the first beat: from here on nothing is missed
                self._tell_where_it_stands(client.service(), client.agents())
                for event in events:
                    self.on_event(event)
        except (ServiceError, httpx.HTTPError):
            return

    def _tell_where_it_stands(self, service: ServiceStatus, agents: list[AgentStatus]) -> None:
        for agent in agents:
            if agent.state in (AgentState.STARTING, AgentState.RUNNING, AgentState.PAUSED):
                self._back[agent.name] = agent
                self._tell_agent(agent.name, agent.state, agent.reason)
            elif agent.last_error is not None and agent.last_error.at >= service.started_at:
                self._tell_agent(agent.name, agent.state, agent.last_error.message)
        if service.queue.state is QueueState.HELD:
            self._say(_held(service.queue.reason))
        elif service.queue.state is QueueState.PAUSED:
            self._say("the queue is paused")
        unmet = [condition for condition in service.conditions if condition.state is not ConditionState.MET]
        if service.queue.state is QueueState.SUSPENDED and not unmet:
            self._say(f"the RunEngine is suspended: {_one_line(service.queue.reason)}")
        for condition in unmet:
            self._say(f"{'' if condition.state is ConditionState.OFF else 'held: '}{_one_line(condition.text)}")

    def on_event(self, event: Event) -> None:
        """Say what an event tells a person, if anything."""
        reason = event.data.get("reason")
        reason_text = None if reason is None else str(reason)
        if event.kind is EventKind.AGENT_STATE and event.agent is not None and not event.data.get("removed"):
            self._tell_agent(event.agent, AgentState(str(event.data["state"])), reason_text)
        elif event.kind is EventKind.CONDITION_STATE:
            self._tell_condition(str(event.data["condition"]), str(event.data["state"]), reason_text)
        elif event.kind is EventKind.QUEUE_STATE:
            match event.data.get("command"):
                case "abort":
                    self._say(_held(reason_text))
                case "pause":
                    self._say("the queue is paused")
                case "resume":
                    self._say("the queue goes on")
                case _:
                    pass

    def _tell_condition(self, name: str, state: str, reason: str | None) -> None:
        match state:
            case "lost":
                self._say(f"held: {_one_line(reason)}")
            case "met":
                self._say(f"{name} is met again ({_one_line(reason)}): the agents go on")
            case _:
                self._say(f"condition {name} was {_one_line(reason)}")

    def _tell_agent(self, name: str, state: AgentState, reason: str | None) -> None:
        match state:
            case AgentState.RUNNING if name in self._back:
                self._say(f"resuming {name} ({_runs(self._back.pop(name))})")
            case AgentState.PAUSED if name in self._back:
                self._say(f"{name} is back, paused ({_runs(self._back.pop(name))}); resume it to go on")
            case AgentState.STARTING if (reason or "").startswith("restarting after"):
                self._say(f"agent {name} is {_one_line(reason)}")
            case AgentState.FAILED:
                self._back.pop(name, None)
                self._say(f"agent {name} failed: {_one_line(reason)}")
            case AgentState.STOPPED:
                self._back.pop(name, None)
                self._say(f"agent {name} has stopped: {_one_line(reason)}")
            case _:
                pass


def _runs(agent: AgentStatus) -> str:
    done, total = agent.progress.done, agent.progress.total
    return f"{texts.counted(done, 'run')} so far" if total is None else f"{done} of {total} runs"


def _held(reason: str | None) -> str:
    return f"the queue is held ({_one_line(reason)}): nothing moves until somebody resumes it"


def _one_line(reason: str | None) -> str:
    return texts.one_line(reason or "no reason given")


def _reachable(url: str) -> str:
    """Return where this machine reaches a service that listens on every address."""
    return url.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:")
