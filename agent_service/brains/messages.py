"""What passes between the service and the adapter: facts to replay, proposals, and what a brain shows after a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from agent_service.brains.evaluate import Takes
    from agent_service.models import BestPoint, Method, Point, Variable
    from agent_service.models.spaces import Dimension


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point that a brain suggested, under the service's id of it.

    ``brain_id`` is the brain's own ``_id`` made fit for JSON, for the journal; None when the brain gave none.
    """

    id: str
    point: Point
    brain_id: JsonValue | None
    extra: Mapping[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])  # what else the brain said of it


@dataclass(frozen=True, slots=True)
class View:
    """What a brain shows of itself after a call; the service answers reads from it."""

    best: tuple[BestPoint, ...] = ()  # or each on the Pareto front; empty while it has no data or none to tell
    stop: str | None = None  # why it wants to stop
    variables: tuple[Variable, ...] = ()  # what it declares to show
    fault: str | None = None  # what is wrong with what it said, in a line; the agent goes on without that
    waits: str | None = None  # what it waits for, when it suggested nothing because of that


@dataclass(frozen=True, slots=True)
class Traits:
    """What a brain and its evaluate function can do."""

    suggests: bool = True  # False: it only listens
    takes: Takes = "run"  # what the evaluate function takes; with uids, the runs must be in the catalogue first
    methods: tuple[Method, ...] = ()  # what it lets people call
    predicts: bool = False  # whether it can be asked what it believes of points
    registers: bool = False  # it can be told of points as if it had suggested them, and need not be asked again
    most_pending: int | None = None  # how many suggestions it can have open at a time; None: as many as it is asked for
    # which values actuators may have, by own names, as far as the brain says it and the specification does not
    space: Mapping[str, Dimension] = field(default_factory=dict[str, "Dimension"])
    # what counts as good, as fields of a specification and by own names, as far as the brain says it and that does not
    goals: Mapping[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])


@dataclass(frozen=True, slots=True)
class Reported:
    """What a brain thinks; one whose report cannot be told goes on."""

    view: View
    report: dict[str, JsonValue] | None = None  # fit for JSON; None: it has no ``report``, or none that can be told
    fault: str | None = None  # what is wrong with what it said, in a line


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a brain believes of points: mean and standard deviation of each outcome it models, one for each point."""

    mean: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, "tuple[float, ...]"])
    std: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, "tuple[float, ...]"])
    acquisition: tuple[float, ...] | None = None  # what measuring there is worth to it; None: it does not say
    fault: str | None = None  # why it says nothing, in a line


@dataclass(frozen=True, slots=True)
class Called:
    """How the call of a method went; one that raised is no end of the agent."""

    view: View
    result: JsonValue = None
    replay: bool = False  # whether it is to be called again when the brain is built anew
    raised: bool = False  # whether it did not return
    fault: str | None = None  # what is wrong, in a line
    traceback: str | None = None


class SavedBrain(NamedTuple):
    """The state of a brain that was told all facts up to number ``seq``; ``payload`` is what its `dump` returned.

    ``registration`` is that of the live object that the brain was made of, if it was (see `references.Registered`): in
    another object that state is never loaded.
    """

    seq: int
    payload: bytes
    registration: str | None = None


@dataclass(frozen=True, slots=True)
class SuggestFact:
    """The brain suggested ``points``, which got the ids ``ids``; its own ids were ``brain_ids``. Equal lengths."""

    ids: tuple[str, ...]
    points: tuple[Point, ...]
    brain_ids: tuple[JsonValue | None, ...]
    extras: tuple[Mapping[str, JsonValue], ...] = ()  # what else it said of each; empty when it said nothing of any


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
