"""The adapter around a brain: bluesky-adaptive 1.x's ``Optimizer`` by shape, with the service's ids outside.

It is the one object that an executor hosts. A brain knows its suggestions by its own ``_id`` (Ax: a trial index), or by
none; the service knows them by theirs. It may have words of its own for the actuators (`AgentSpec.names`). The
translation lives here and nowhere else.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import ValidationError

from agent_service.brains import declared
from agent_service.brains.adapters.json_values import Unfit, json_safe
from agent_service.brains.adapters.values import best_parts, best_point, evaluated, id_key, suggested
from agent_service.brains.coroutines import awaited, called
from agent_service.brains.evaluate import takes
from agent_service.brains.messages import (
    Called,
    EditFact,
    Fact,
    FailFact,
    IngestFact,
    MethodFact,
    Proposal,
    Reported,
    RetryFact,
    SuggestFact,
    Traits,
    VariableFact,
    View,
)
from agent_service.errors import Conflict, FieldError, InvalidInput, NotFound
from agent_service.models import ID_KEY, Variable, utcnow, utf8
from agent_service.models.number import real
from agent_service.models.own_names import renamed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pydantic import JsonValue

    from agent_service.models import AgentSpec, BestPoint, Point

_OURS: Final = frozenset({"agent_service", "pydantic"})
_AGREE: Final = 1e-9
"""Relative tolerance within which a point suggested again in a replay is the same point."""


class OptimizerAdapter:
    """Hosts a brain. All methods are called in the agent's executor, one at a time.

    Parameters
    ----------
    brain
        Has ``ingest``, and ``suggest`` unless it only listens; everything else is optional.
    spec
        The agent: its name and its actuators.
    evaluate
        The user's function of ``(run, suggestions)``, or of ``uid``, ``runs`` or ``uids``, if it has one.
    """

    def __init__(self, brain: object, *, spec: AgentSpec, evaluate: Callable[[Any, Any], object] | None = None) -> None:
        self._brain: Any = brain
        self._spec = spec
        self._evaluate = evaluate
        self._words = spec.names
        self._own = {word: name for name, word in spec.names.items()}
        self._brain_ids: dict[str, Any] = {}  # of suggestions the brain still waits for
        self._own_ids: dict[object, str] = {}  # all that there ever were, for the best points
        self._measured: dict[tuple[float, ...], str] = {}
        self._told = False
        self._has_data = False
        self._best: tuple[BestPoint, ...] | None = None

    def traits(self) -> Traits:
        """Return what the brain and the evaluate function can do."""
        return Traits(
            suggests=self._can("suggest"),
            takes=takes(self._evaluate) if self._evaluate else "run",
            methods=declared.described(self._brain),
        )

    # calls of the brain -------------------------------------------------------------------------------------------

    def suggest(self, ids: Sequence[str]) -> tuple[list[Proposal], View]:
        """Ask the brain for as many points as there are ids.

        Returns
        -------
        proposals
            At most one for each id, in order; none when the brain has nothing left to suggest.
        view
            What the brain shows now.

        Raises
        ------
        Conflict
            When the brain has no ``suggest``.
        ValueError
            When what it returned is no list of points of the agent's actuators.
        """
        if not self._can("suggest"):
            raise Conflict(f"agent {self._spec.name!r} only listens: its type has no suggest")
        proposals = [
            Proposal(id_, point, None if brain_id is None else _journaled(brain_id))
            for id_, point, brain_id in self._ask(ids)
        ]
        return proposals, self.view()

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> View:
        """Tell the brain outcomes, and let it checkpoint.

        Parameters
        ----------
        points
            Actuators and outcomes; ``_id`` is the service's id of the suggestion, or absent.
        """
        self._ingest(points)
        # Ax's optimizer raises on a checkpoint for which it was given no path
        if self._can("checkpoint") and getattr(self._brain, "checkpoint_path", True):
            self._do("checkpoint")
        return self.view()

    def fail(self, points: Sequence[Mapping[str, Any]]) -> View:
        """Tell the brain that suggestions (``_id`` and position) found no outcome, where it can be told."""
        self._fail(points)
        return self.view()

    def edit(self, id: str, point: Mapping[str, float]) -> None:  # noqa: A002 - the name that suggestions go by
        """Tell the brain that a person approved ``point`` instead of what suggestion ``id`` said.

        It is registered as a new suggestion where the brain can do that. Where it cannot, its outcome is ingested
        without ``_id``, like any point that the brain did not suggest.
        """
        self._drop(id)
        if self._can("register_suggestions"):
            [brain_id] = self._register([point])
            self._keep(id, brain_id)

    def report(self) -> Reported:
        """Ask the brain what it thinks; a report that cannot be told is no end of the agent, but said to who asked."""
        if not self._can("report"):
            return Reported(self.view())
        said = self._do("report")
        view = self.view()
        try:
            report = json_safe(said, name="report")
        except Unfit as error:
            return Reported(view, fault=utf8(f"its report cannot be told: {error}"))
        if not isinstance(report, dict):
            kind = type(cast("object", said)).__name__
            return Reported(view, fault=f"report returned a {kind}; let it return a dictionary of names and values")
        return Reported(view, report)

    def evaluate(self, subject: object, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Let the user's function find the outcomes of ``subject``: a run, its uid, or a list of either (see `takes`).

        Returns
        -------
        list of dict
            Outcome name to finite number, in the order of ``suggestions``.

        Raises
        ------
        ValueError
            When the function did not return a finite outcome for each suggestion.
        """
        if self._evaluate is None:
            raise ValueError(f"agent {self._spec.name!r} has no evaluate function")
        result = called(self._evaluate, _given(subject), [dict(one) for one in suggestions], of="evaluate")
        return evaluated(result, suggestions=suggestions, actuators=self._spec.actuators)

    def set_variable(self, name: str, value: JsonValue) -> View:
        """Set a variable that the brain declares.

        Raises
        ------
        NotFound
            When it declares none of that name.
        InvalidInput
            When it is read-only, or the brain refuses the value.
        """
        writable = declared.variables(self._brain)
        if name not in writable:
            listed = ", ".join(sorted(writable)) or "none"
            raise NotFound(f"agent {self._spec.name!r} has no variable {name!r}; it declares: {listed}")
        if not writable[name]:
            raise InvalidInput(f"variable {name!r} of agent {self._spec.name!r} is read-only")
        try:
            self._set(name, value)
        except (ValueError, TypeError, ArithmeticError) as error:
            said = f"variable {name!r} cannot be that: {_first_line(error)}"
            raise InvalidInput(said, errors=[FieldError("value", _first_line(error))]) from error
        self._best = None
        return self.view()

    def call_method(self, name: str, args: Sequence[JsonValue], kwargs: Mapping[str, JsonValue]) -> Called:
        """Call a method that the brain declares.

        Raises
        ------
        NotFound, InvalidInput
            It declares none of that name, or the arguments do not fit. What the method itself raises is returned: it is
            the answer to who called, and no end of the agent.
        """
        try:
            result: object = awaited(declared.call(self._brain, name, args, kwargs))
        except (NotFound, InvalidInput):
            raise
        except Exception as error:  # noqa: BLE001 - the agent boundary; told to who called
            self._best = None
            said = f"{name} raised {type(error).__name__}: {_first_line(error)}"
            return Called(self.view(), raised=True, fault=utf8(said), traceback=_trace(error))
        self._best = None
        answer = Called(self.view(), replay=declared.replayed(self._brain, name))
        try:
            return replace(answer, result=json_safe(result, name="the result", strict=True))
        except Unfit as error:
            said = f"{name} returned what cannot be told: {error}; let it return numbers, texts, lists and mappings"
            return replace(answer, fault=utf8(said))

    def look(self) -> View:
        """Return what the brain shows now, the best points asked for anew."""
        self._best = None
        return self.view()

    def view(self) -> View:
        """Return what the brain shows now. The best points are asked for only when they can have changed."""
        if self._best is None and self._has_data:
            self._best = self._ask_best()
        at = utcnow()
        return View(
            best=self._best or (),
            stop=self._ask_stop(),
            variables=tuple(
                _shown(name, awaited(getattr(self._brain, name)), writable=writable, at=at)
                for name, writable in sorted(declared.variables(self._brain).items())
            ),
        )

    def replay(self, facts: Sequence[Fact]) -> View:
        """Bring a new brain to where an old one was: the same data, not necessarily the same next points.

        Suggestions are registered with a brain that has ``register_suggestions``. Another is asked to suggest again;
        where it suggests the same points, they keep their ids, and where it does not, their outcomes are ingested
        without.
        """
        for fact in facts:
            self._replay(fact)
        return self.view()

    # the brain's side ---------------------------------------------------------------------------------------------

    def _replay(self, fact: Fact) -> None:
        match fact:
            case SuggestFact():
                self._suggest_again(fact)
            case IngestFact():
                self._ingest(fact.points)
            case FailFact():
                self._fail(fact.points)
            case EditFact():
                self.edit(fact.id, fact.point)
            case RetryFact():
                if fact.retry_of in self._brain_ids:
                    self._keep(fact.id, self._brain_ids.pop(fact.retry_of))
            case VariableFact() | MethodFact():
                self._turn_again(fact)

    def _turn_again(self, fact: VariableFact | MethodFact) -> None:
        # the type may have lost the variable or the method since
        if isinstance(fact, MethodFact):
            if declared.replayed(self._brain, fact.name):
                awaited(declared.call(self._brain, fact.name, fact.args, fact.kwargs))
        elif declared.variables(self._brain).get(fact.name):
            self._set(fact.name, fact.value)
        self._best = None

    def _do(self, method: str, *args: object) -> Any:
        """Call a method of the brain; it may be a coroutine, and is awaited here then."""
        return called(getattr(self._brain, method), *args, of=method)

    def _set(self, name: str, value: JsonValue) -> None:
        awaited(declared.assign(self._brain, name, value))

    def _can(self, method: str) -> bool:
        return callable(getattr(self._brain, method, None))

    def _ask(self, ids: Sequence[str]) -> list[tuple[str, Point, Any]]:
        result = self._do("suggest", len(ids))
        words = [self._words.get(name, name) for name in self._spec.actuators]
        told = suggested(result, asked=len(ids), actuators=words)
        found = [(renamed(point, self._own), brain_id) for point, brain_id in told]
        for id_, (_, brain_id) in zip(ids, found, strict=False):
            self._keep(id_, brain_id)
        return [(id_, point, brain_id) for id_, (point, brain_id) in zip(ids, found, strict=False)]

    def _ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        told: list[dict[str, Any]] = []
        for one in points:
            point = dict(one)
            own_id = point.pop(ID_KEY, None)
            if own_id is not None:
                self._measured[self._place(point)] = own_id
                if own_id in self._brain_ids:
                    point[ID_KEY] = self._brain_ids.pop(own_id)
            told.append(renamed(point, self._words))
        if told:
            self._do("ingest", told)
            self._told = self._has_data = True
            self._best = None

    def _fail(self, points: Sequence[Mapping[str, Any]]) -> None:
        if not self._can("register_failures"):
            return
        waiting = [one for one in points if one[ID_KEY] in self._brain_ids]
        told = [{**renamed(one, self._words), ID_KEY: self._brain_ids.pop(one[ID_KEY])} for one in waiting]
        if told:
            self._do("register_failures", told)
            self._told = True

    def _drop(self, own_id: str) -> None:
        """Give up a suggestion as the brain made it: nobody is going to measure that."""
        if own_id in self._brain_ids:
            brain_id = self._brain_ids.pop(own_id)
            if self._can("register_failures"):
                self._do("register_failures", [{ID_KEY: brain_id}])

    def _register(self, points: Sequence[Mapping[str, float]]) -> list[object]:
        registered = self._do("register_suggestions", [renamed(one, self._words) for one in points])
        return [one.get(ID_KEY) for one in cast("Sequence[Mapping[str, object]]", registered)]

    def _suggest_again(self, fact: SuggestFact) -> None:
        if self._can("register_suggestions"):
            for own_id, brain_id in zip(fact.ids, self._register(fact.points), strict=True):
                self._keep(own_id, brain_id)
        elif self._can("suggest"):
            before = dict(zip(fact.ids, fact.points, strict=True))
            for own_id, point, _ in self._ask(fact.ids):
                if not _same(point, before[own_id]):
                    self._brain_ids.pop(own_id, None)

    def _keep(self, own_id: str, brain_id: object) -> None:
        if brain_id is not None:
            self._brain_ids[own_id] = brain_id
            self._own_ids[id_key(brain_id)] = own_id

    def _ask_best(self) -> tuple[BestPoint, ...]:
        if not self._can("get_best_points"):
            return ()
        found: list[BestPoint] = []
        result = self._do("get_best_points")
        if not isinstance(result, Sequence) or isinstance(result, str):
            kind = type(result).__name__
            raise ValueError(f"get_best_points returned {kind}; return a list of (_id, point, outcome)")  # noqa: TRY004
        for entry in cast("Sequence[Any]", result):
            brain_id, *parts = best_parts(entry)
            point, outcome = (renamed(one, self._own) for one in parts)
            own_id = self._own_ids.get(id_key(brain_id)) or self._measured.get(self._place(point))
            found.append(best_point(point, outcome, actuators=self._spec.actuators, suggestion_id=own_id))
        return tuple(found)

    def _ask_stop(self) -> str | None:
        # a criterion may need data to be evaluated at all
        if not self._told or not self._can("should_stop"):
            return None
        said = self._do("should_stop")
        stop, reason = cast("tuple[bool, str | None]", said if isinstance(said, tuple) else (bool(said), None))
        return str(reason or "its stopping criterion is met") if stop else None

    def _place(self, point: Mapping[str, Any]) -> tuple[float, ...]:
        places = (real(point[name]) for name in self._spec.actuators if name in point)
        return tuple(float(place) for place in places if place is not None)


def _given(subject: object) -> object:
    """Return runs as copies, for others hear of the same ones; uids as they are."""
    if isinstance(subject, list):
        return [_given(one) for one in cast("list[object]", subject)]
    return subject if isinstance(subject, str) else cast("Any", subject).copy()


def _same(a: Point, b: Point) -> bool:
    return a.keys() == b.keys() and all(math.isclose(a[name], b[name], rel_tol=_AGREE, abs_tol=1e-12) for name in a)


def _shown(name: str, value: object, *, writable: bool, at: datetime) -> Variable:
    try:
        return Variable(name=name, value=json_safe(value, name=name), writable=writable, at=at)
    except Unfit as error:
        return Variable(name=name, value=None, writable=writable, at=at, problem=utf8(str(error)))


def _journaled(brain_id: object) -> JsonValue:
    try:
        return json_safe(brain_id, name=ID_KEY)
    except Unfit:  # the journal only shows it to people
        return f"a {type(brain_id).__name__}"


def _trace(error: Exception) -> str:
    """Return a traceback that begins in the brain's own code."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frames = frames.tb_next
    return utf8("".join(traceback.format_exception(type(error), error, frames)))


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(one["msg"] for one in error.errors(include_url=False, include_input=False))
    return (str(error) or type(error).__name__).splitlines()[0]
