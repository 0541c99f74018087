"""The two state machines, as pure tables: what an agent and a suggestion may become, and by which command.

::

    agent       created -> starting -> running <-> paused
                starting | running | paused -> stopping -> stopped
                created | stopped | failed -> starting          any -> failed
                starting | running | paused -> starting, by itself, after a fault with on_fault = "restart"

    suggestion  proposed -> approved -> submitted -> running -> measured -> ingested
                and, from any of the open states: rejected, expired, failed, abandoned, ingested (by hand)
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from agent_service.errors import IllegalTransition


class AgentState(StrEnum):
    """State of a hosted agent."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Command(StrEnum):
    """What a person or a program may ask of an agent; each is legal in some states only."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    RESTART = "restart"
    SUGGEST = "suggest"
    INGEST = "ingest"
    REPORT = "report"
    PREDICT = "predict"
    GO_TO_BEST = "go-to-best"
    DELETE = "delete"


class SuggestionState(StrEnum):
    """Fate of a suggestion."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    SUBMITTED = "submitted"
    RUNNING = "running"
    MEASURED = "measured"
    INGESTED = "ingested"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FAILED = "failed"
    ABANDONED = "abandoned"


_A = AgentState
_S = SuggestionState

AGENT_TRANSITIONS: Final[dict[AgentState, frozenset[AgentState]]] = {
    _A.CREATED: frozenset({_A.STARTING, _A.FAILED}),
    _A.STARTING: frozenset({_A.STARTING, _A.RUNNING, _A.PAUSED, _A.STOPPING, _A.FAILED}),
    _A.RUNNING: frozenset({_A.STARTING, _A.PAUSED, _A.STOPPING, _A.FAILED}),
    _A.PAUSED: frozenset({_A.STARTING, _A.RUNNING, _A.STOPPING, _A.FAILED}),
    _A.STOPPING: frozenset({_A.STOPPED, _A.FAILED}),
    _A.STOPPED: frozenset({_A.STARTING, _A.FAILED}),
    _A.FAILED: frozenset({_A.STARTING, _A.FAILED}),
}
"""Which state may follow which."""

ALIVE: Final = frozenset({_A.STARTING, _A.RUNNING, _A.PAUSED})
"""An agent in one of these has a loop, and comes back after a restart of the service."""

_LIVE: Final = frozenset({_A.RUNNING, _A.PAUSED})
_REST: Final = frozenset({_A.CREATED, _A.STOPPED, _A.FAILED})

LEGAL: Final[dict[Command, frozenset[AgentState]]] = {
    Command.START: _REST,
    Command.PAUSE: frozenset({_A.RUNNING}),
    Command.RESUME: frozenset({_A.PAUSED}),
    Command.STOP: frozenset({_A.STARTING, *_LIVE}),
    Command.RESTART: frozenset({_A.STOPPED, _A.FAILED, *_LIVE}),
    Command.SUGGEST: _LIVE,
    Command.INGEST: _LIVE,
    Command.REPORT: _LIVE,
    Command.PREDICT: _LIVE,
    Command.GO_TO_BEST: frozenset({_A.PAUSED, *_REST}),
    Command.DELETE: _REST,
}
"""In which states a command is legal."""

OPEN: Final = frozenset({_S.PROPOSED, _S.APPROVED, _S.SUBMITTED, _S.RUNNING, _S.MEASURED})
"""A suggestion in one of these has a fate still to come."""

UNDER_WAY: Final = frozenset({_S.SUBMITTED, _S.RUNNING, _S.MEASURED})
"""Documents may be of a suggestion in one of these, and it has no outcome yet."""

_CLOSED_BY: Final = frozenset({_S.EXPIRED, _S.FAILED, _S.ABANDONED, _S.INGESTED})

SUGGESTION_TRANSITIONS: Final[dict[SuggestionState, frozenset[SuggestionState]]] = {
    _S.PROPOSED: frozenset({_S.APPROVED, _S.REJECTED, *_CLOSED_BY}),
    # proposed again: its approval has expired
    _S.APPROVED: frozenset({_S.PROPOSED, _S.SUBMITTED, _S.REJECTED, *_CLOSED_BY}),
    # approved again: withdrawn before it began; rejected: by a guardrail, when its turn had come
    _S.SUBMITTED: frozenset({_S.RUNNING, _S.APPROVED, _S.REJECTED, *_CLOSED_BY}),
    _S.RUNNING: frozenset({_S.MEASURED, *_CLOSED_BY}),
    _S.MEASURED: frozenset({_S.INGESTED, _S.FAILED, _S.ABANDONED}),
    _S.INGESTED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.EXPIRED: frozenset({_S.MEASURED, _S.INGESTED}),  # its run came late; measured: when the agent had stopped
    _S.FAILED: frozenset(),
    _S.ABANDONED: frozenset({_S.MEASURED, _S.INGESTED}),
}
"""Which fate may follow which."""


def legal_commands(state: AgentState) -> tuple[Command, ...]:
    """Return the commands that are legal in ``state``, in the order a person would read them."""
    return tuple(command for command in Command if state in LEGAL[command])


_SPOKEN: Final = {
    Command.SUGGEST: "be asked for points",
    Command.INGEST: "be told outcomes",
    Command.GO_TO_BEST: "go to its best point",
    Command.DELETE: "be removed",
}
"""What a sentence says of an agent that can do a command, where that is not the command's name."""


_INSTEAD: Final = {
    (Command.START, AgentState.PAUSED): "resume it to let it go on",
    (Command.RESUME, AgentState.CREATED): "start it",
    (Command.RESUME, AgentState.STOPPED): "start it",
    (Command.RESUME, AgentState.FAILED): "start it anew",
}
"""What to do in place of a command that is close to what was meant."""


def require(command: Command, state: AgentState, *, name: str, to: str | None = None) -> None:
    """Raise `IllegalTransition`, saying what is legal, unless ``command`` is legal in ``state`` of the agent ``name``.

    ``to`` is for the sentence ``it cannot ...``, where the command says it wrongly: to set a variable is legal where
    ``ingest`` is.
    """
    if state in LEGAL[command]:
        return
    legal = legal_commands(state)
    can = " or ".join(_SPOKEN.get(choice, choice.value) for choice in legal)
    advice = _INSTEAD.get((command, state)) or (f"it can {can}" if legal else "wait until that is done")
    wanted = to or _SPOKEN.get(command, command.value)
    raise IllegalTransition(f"agent {name!r} is {state}, so it cannot {wanted}; {advice}", legal=legal)


def check_agent(old: AgentState, new: AgentState) -> None:
    """Raise `IllegalTransition` unless an agent may go from ``old`` to ``new``."""
    if new not in AGENT_TRANSITIONS[old]:
        legal = sorted(AGENT_TRANSITIONS[old])
        raise IllegalTransition(f"an agent cannot go from {old} to {new}", legal=legal)


A_PERSON_MAY: Final[dict[SuggestionState, frozenset[SuggestionState]]] = {
    _S.APPROVED: frozenset({_S.PROPOSED}),
    _S.REJECTED: frozenset({_S.PROPOSED, _S.APPROVED}),
}
"""From where a person may bring a suggestion there: not out of the queue, as the service may before its plan begins."""


def check_person(old: SuggestionState, new: SuggestionState) -> None:
    """Raise `IllegalTransition` unless a person may bring a suggestion from ``old`` to ``new``."""
    if old not in A_PERSON_MAY[new]:
        legal = sorted(state for state, origins in A_PERSON_MAY.items() if old in origins)
        advice = f"a person may make it {' or '.join(legal)}" if legal else "abort the queue to stop it"
        raise IllegalTransition(
            f"a suggestion that is {old} cannot become {new} by a person's word; {advice}", legal=legal
        )


def check_suggestion(old: SuggestionState, new: SuggestionState) -> None:
    """Raise `IllegalTransition` unless a suggestion may go from ``old`` to ``new``."""
    if new not in SUGGESTION_TRANSITIONS[old]:
        legal = sorted(SUGGESTION_TRANSITIONS[old])
        advice = f"from there it can become {', '.join(legal)}" if legal else "its fate is final"
        raise IllegalTransition(f"a suggestion that is {old} cannot become {new}; {advice}", legal=legal)
