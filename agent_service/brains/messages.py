"""What passes between the service and the adapter: facts to replay, proposals, and what a brain shows after a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from agent_service.brains.evaluate import Takes
    from agent_service.models import BestPoint, Method, Point, Variable


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point that a brain suggested.

    Parameters
    ----------
    id
        The suggestion's id, as the service gave it.
    point
        Actuator name to position, in the actuator's units.
    brain_id
        The brain's own ``_id`` made fit for JSON, for the journal; None when the brain gave none.
    """

    id: str
    point: Point
    brain_id: JsonValue | None


@dataclass(frozen=True, slots=True)
class View:
    """What a brain shows of itself after a call; the service answers reads from it.

    Parameters
    ----------
    best
        The best point, or each on the Pareto front; empty while the brain has no data or none to tell.
    stop
        Why the brain wants to stop, or None.
    variables
        What it declares to show.
    fault
        What is wrong with its best points, in one line; None when nothing is. The agent goes on without them.
    """

    best: tuple[BestPoint, ...] = ()
    stop: str | None = None
    variables: tuple[Variable, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Traits:
    """What a brain and its evaluate function can do.

    Parameters
    ----------
    suggests
        Whether the brain has ``suggest``; one that has not only listens.
    takes
        What the evaluate function takes; with uids, the runs must be in the catalogue first.
    methods
        What the brain lets people call.
    """

    suggests: bool = True
    takes: Takes = "run"
    methods: tuple[Method, ...] = ()


@dataclass(frozen=True, slots=True)
class Reported:
    """What a brain thinks; one whose report cannot be told goes on.

    Parameters
    ----------
    view
        What the brain shows now.
    report
        What it said, fit for JSON; None when it has no ``report``, or none that can be told.
    fault
        What is wrong with what it said, in one line; None when nothing is.
    """

    view: View
    report: dict[str, JsonValue] | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Called:
    """How the call of a method went; one that raised is no end of the agent.

    Parameters
    ----------
    view
        What the brain shows now.
    result
        What it returned, fit for JSON.
    replay
        Whether it is to be called again when the brain is built anew.
    raised
        Whether it did not return.
    fault, traceback
        What is wrong, in one line, and where; None when nothing is.
    """

    view: View
    result: JsonValue = None
    replay: bool = False
    raised: bool = False
    fault: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class SuggestFact:
    """The brain suggested ``points``, which got the ids ``ids``; its own ids were ``brain_ids``. Equal lengths."""

    ids: tuple[str, ...]
    points: tuple[Point, ...]
    brain_ids: tuple[JsonValue | None, ...]


@dataclass(frozen=True, slots=True)
class IngestFact:
    """The brain was told ``points``: actuators and outcomes, and ``_id`` where they were suggested."""

    points: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class FailFact:
    """The suggestions ``points`` (with ``_id``) found an end without an outcome."""

    points: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class EditFact:
    """A person approved ``point`` instead of what suggestion ``id`` said."""

    id: str
    point: Point


@dataclass(frozen=True, slots=True)
class RetryFact:
    """The suggestion ``retry_of`` was interrupted, and is measured again as ``id``; the brain knows one."""

    id: str
    retry_of: str


@dataclass(frozen=True, slots=True)
class VariableFact:
    """The variable ``name`` was set to ``value``."""

    name: str
    value: JsonValue


@dataclass(frozen=True, slots=True)
class MethodFact:
    """The method ``name`` was called."""

    name: str
    args: tuple[JsonValue, ...]
    kwargs: Mapping[str, JsonValue]


Fact = SuggestFact | IngestFact | FailFact | EditFact | RetryFact | VariableFact | MethodFact
"""One thing that happened to a brain; the facts of its life, in order, rebuild it."""
