"""What the service calls where a brain lives, whatever its shape; and what looks at that shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from agent_service.brains import families
from agent_service.brains.adapters.agent_0x import Agent0xAdapter, is_agent_0x
from agent_service.brains.adapters.optimizer import OptimizerAdapter
from agent_service.models.own_names import for_brain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from agent_service.brains.messages import Called, Fact, Predicted, Proposal, Reported, Traits, View
    from agent_service.models import AgentSpec, Value

NEEDED: Final = ("suggest", "ingest")
"""The methods of a brain; one without ``suggest`` only listens."""


class BrainAdapter(Protocol):
    """A brain as the service knows it, by the service's ids and names; it is the one object that an executor hosts.

    All methods are called in the agent's executor, one at a time.
    """

    def traits(self) -> Traits:
        """Return what the brain and the evaluate function can do, and what the brain offers, by own names.

        Points that an adapter returns fit ``{**traits.space, **spec.space}``; see `spaces.fitted`.
        """
        ...

    def suggest(self, ids: Sequence[str], /) -> tuple[list[Proposal], View]:
        """Ask the brain for as many points as there are ids; return one for each at most, in order, and what it shows.

        None at all is the end, unless the view says what the brain waits for (see `not_now.NotNow`).

        Raises `Conflict` when the brain only listens, `ValueError` when what it returned is no list of points of the
        agent's actuators.
        """
        ...

    def ingest(self, points: Sequence[Mapping[str, Any]], /) -> View:
        """Tell the brain outcomes, and let it checkpoint.

        A point holds actuators and outcomes; its ``_id`` is the service's id of the suggestion, or absent; under
        ``_sem`` are standard errors of outcomes, if any are known.
        """
        ...

    def fail(self, points: Sequence[Mapping[str, Any]], /) -> View:
        """Tell the brain that suggestions (``_id`` and position) found no outcome, where it can be told."""
        ...

    def edit(self, suggestion_id: str, point: Mapping[str, Value], /) -> None:
        """Tell the brain that a person approved ``point`` instead of what the suggestion said."""
        ...

    def retry(self, suggestion_id: str, retry_of: str, /) -> None:
        """Know that the suggestion ``retry_of`` is measured again as ``suggestion_id``."""
        ...

    def evaluate(self, subject: object, suggestions: Sequence[Mapping[str, Any]], /) -> list[dict[str, Any]]:
        """Let the user's function find the outcomes of ``subject``: a run, its uid, or a list of either (see `takes`).

        Returns outcome name to finite number, and standard errors under ``_sem`` where the function knows any, in the
        order of ``suggestions``; raises `ValueError` when the function
        did not return a finite outcome for each.
        """
        ...

    def report(self) -> Reported:
        """Ask the brain what it thinks; a report that cannot be told is no end of the agent, but said to who asked."""
        ...

    def predict(self, points: Sequence[Mapping[str, Value]], /) -> Predicted:
        """Ask the brain what it believes of points, complete ones of the space; that it has nothing to say is no fault.

        What it raises, or returns in a shape that cannot be read, is said in `Predicted.fault`.
        """
        ...

    def set_variable(self, name: str, value: JsonValue, /) -> View:
        """Set a variable that the brain declares.

        Raises `NotFound` when it declares none of that name, `InvalidInput` when that is read-only or refuses the
        value.
        """
        ...

    def call_method(self, name: str, args: Sequence[JsonValue], kwargs: Mapping[str, JsonValue], /) -> Called:
        """Call a method that the brain declares.

        Raises `NotFound` when it declares none of that name, `InvalidInput` when the arguments do not fit. What the
        method itself raises is returned: it is the answer to who called, and no end of the agent.
        """
        ...

    def look(self) -> View:
        """Return what the brain shows now, the best points asked for anew."""
        ...

    def replay(self, facts: Sequence[Fact], /) -> View:
        """Bring a new brain to where an old one was: the same data, not necessarily the same next points.

        A brain that is told all of its life is not asked to suggest old points again.
        """
        ...

    def dump(self) -> bytes | None:
        """Return the brain's state for `restore`, perhaps in another process; None where it cannot be had so."""
        ...

    def restore(self, payload: bytes, /) -> None:
        """Bring a new brain to the state that `dump` returned; what came after that is replayed then.

        Raises whatever stands in the way, and has changed nothing: a library of another version, for example.
        """
        ...


def missing_methods(thing: object) -> list[str]:
    """Return which of the methods that a brain needs a brain, or its class, lacks; none where a family gives them."""
    missing = [name for name in NEEDED if not callable(getattr(thing, name, None))]
    return [] if missing and families.is_known(thing) else missing


def adapter_for(
    brain: object,
    *,
    spec: AgentSpec,
    evaluate: Callable[[Any, Any], object] | None = None,
    type_name: str | None = None,
) -> BrainAdapter:
    """Return the adapter for a brain of this shape, known by its methods, or for an object of a known family.

    ``evaluate`` is the user's function that finds outcomes, if it has one (see `BrainAdapter.evaluate`); ``type_name``
    what people call the type, where that is not its name in ``spec``. Raises `TypeError` when the brain lacks a method
    that every brain needs.
    """
    missing = [name for name in missing_methods(brain) if name == "ingest" or spec.listen != "all"]
    if missing:
        hint = '; one that only listens needs listen = "all"' if missing == ["suggest"] else ""
        raise TypeError(
            f"type {(type_name or spec.type)!r} made a {type(brain).__name__} without {' and '.join(missing)}; "
            f"a brain has suggest(num_points) and ingest(points){hint}"
        )
    if is_agent_0x(brain):
        return Agent0xAdapter(brain, spec=spec, evaluate=evaluate)
    return OptimizerAdapter(families.brain_of(brain, for_brain(spec)), spec=spec, evaluate=evaluate, declares=brain)
