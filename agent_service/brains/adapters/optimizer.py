"""The adapter around a brain of the shape of bluesky-adaptive 1.x's ``Optimizer``, with the service's ids outside.

A brain knows its suggestions by its own ``_id``, or by none; the service knows them by theirs. They are translated here
and nowhere else.
"""

from __future__ import annotations

import math
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import ValidationError

from agent_service.brains import declared
from agent_service.brains.adapters.json_values import Unfit, json_safe
from agent_service.brains.adapters.optimizer_calls import OptimizerCalls
from agent_service.brains.adapters.suggestion_ids import SuggestionIds
from agent_service.brains.adapters.values import best_point, evaluated
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
from agent_service.models.validation_messages import validation_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from pydantic import JsonValue

    from agent_service.models import AgentSpec, BestPoint, Point

_OURS: Final = frozenset({"agent_service", "pydantic"})
_AGREE: Final = 1e-9
"""Relative tolerance within which a point suggested again in a replay is the same point."""


class OptimizerAdapter:
    """Hosts a brain; see `BrainAdapter`, whose methods these are.

    The brain has ``ingest``, and ``suggest`` unless it only listens; everything else is optional. ``evaluate`` is the
    user's function of ``(run, suggestions)``, or of ``uid``, ``runs`` or ``uids``, if it has one.
    """

    def __init__(self, brain: object, *, spec: AgentSpec, evaluate: Callable[[Any, Any], object] | None = None) -> None:
        self._brain = brain
        self._calls = OptimizerCalls(brain, spec)
        self._ids = SuggestionIds(spec.actuators)
        self._spec = spec
        self._evaluate = evaluate
        self._was_told = False
        self._has_data = False
        self._best: tuple[BestPoint, ...] | None = None
        self._best_fault: str | None = None

    def traits(self) -> Traits:
        """Return what the brain and the evaluate function can do."""
        return Traits(
            suggests=self._calls.can("suggest"),
            takes=takes(self._evaluate) if self._evaluate else "run",
            methods=declared.described(self._brain),
        )

    def suggest(self, ids: Sequence[str]) -> tuple[list[Proposal], View]:
        """Ask the brain for as many points as there are ids."""
        if not self._calls.can("suggest"):
            raise Conflict(f"agent {self._spec.name!r} only listens: its type has no suggest")
        proposals = [
            Proposal(suggestion_id, point, None if brain_id is None else _journaled(brain_id))
            for suggestion_id, point, brain_id in self._suggest(ids)
        ]
        return proposals, self.view()

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> View:
        """Tell the brain outcomes, and let it checkpoint."""
        self._ingest(points)
        self._calls.checkpoint()
        return self.view()

    def fail(self, points: Sequence[Mapping[str, Any]]) -> View:
        """Tell the brain that suggestions (``_id`` and position) found no outcome, where it can be told."""
        self._fail(points)
        return self.view()

    def edit(self, suggestion_id: str, point: Mapping[str, float]) -> None:
        """Tell the brain that a person approved ``point`` instead of what the suggestion said.

        It is registered as a new suggestion where the brain can do that. Where it cannot, its outcome is ingested
        without ``_id``, like any point that the brain did not suggest.
        """
        if suggestion_id in self._ids:  # as the brain made it, nobody is going to measure it
            brain_id = self._ids.pop(suggestion_id)
            if self._calls.can("register_failures"):
                self._calls.register_failures([{ID_KEY: brain_id}])
        if self._calls.can("register_suggestions"):
            [brain_id] = self._calls.register_suggestions([point])
            self._ids.keep(suggestion_id, brain_id)

    def retry(self, suggestion_id: str, retry_of: str) -> None:
        """Know that a suggestion is measured again as another; the brain knows one."""
        self._ids.keep(suggestion_id, self._ids.pop(retry_of))

    def evaluate(self, subject: object, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Let the user's function find the outcomes of ``subject``: a run, its uid, or a list of either."""
        if self._evaluate is None:
            raise ValueError(f"agent {self._spec.name!r} has no evaluate function")
        copies = [dict(suggestion) for suggestion in suggestions]
        result = called(self._evaluate, _given(subject), copies, of="evaluate")
        return evaluated(result, suggestions=suggestions, actuators=self._spec.actuators)

    def report(self) -> Reported:
        """Ask the brain what it thinks."""
        if not self._calls.can("report"):
            return Reported(self.view())
        answer = self._calls.report()
        view = self.view()
        try:
            report = json_safe(answer, name="report")
        except Unfit as error:
            return Reported(view, fault=utf8(f"its report cannot be told: {error}"))
        if not isinstance(report, dict):
            kind = type(answer).__name__
            return Reported(view, fault=f"report returned a {kind}; let it return a dictionary of names and values")
        return Reported(view, report)

    def set_variable(self, name: str, value: JsonValue) -> View:
        """Set a variable that the brain declares."""
        writable = declared.variables(self._brain)
        if name not in writable:
            listed = ", ".join(sorted(writable)) or "none"
            raise NotFound(f"agent {self._spec.name!r} has no variable {name!r}; it declares: {listed}")
        if not writable[name]:
            raise InvalidInput(f"variable {name!r} of agent {self._spec.name!r} is read-only")
        try:
            awaited(declared.assign(self._brain, name, value))
        except (ValueError, TypeError, ArithmeticError) as error:
            message = f"variable {name!r} cannot be that: {_first_line(error)}"
            raise InvalidInput(message, errors=[FieldError("value", _first_line(error))]) from error
        return self.look()

    def call_method(self, name: str, args: Sequence[JsonValue], kwargs: Mapping[str, JsonValue]) -> Called:
        """Call a method that the brain declares; what it raises itself is returned."""
        try:
            result: object = awaited(declared.call(self._brain, name, args, kwargs))
        except (NotFound, InvalidInput):
            raise
        except Exception as error:  # noqa: BLE001 - the agent boundary; told to who called
            message = f"{name} raised {type(error).__name__}: {_first_line(error)}"
            return Called(self.look(), raised=True, fault=utf8(message), traceback=_trace(error))
        answer = Called(self.look(), replay=declared.replayed(self._brain, name))
        try:
            return replace(answer, result=json_safe(result, name="the result", strict=True))
        except Unfit as error:
            message = f"{name} returned what cannot be told: {error}; let it return numbers, texts, lists and mappings"
            return replace(answer, fault=utf8(message))

    def look(self) -> View:
        """Return what the brain shows now, the best points asked for anew."""
        self._best = None
        return self.view()

    def view(self) -> View:
        """Return what the brain shows now. The best points are asked for only when they can have changed."""
        if self._best is None and self._has_data and self._calls.can("get_best_points"):
            self._best, self._best_fault = self._ask_best()
        # a criterion may need data to be evaluated at all
        may_stop = self._was_told and self._calls.can("should_stop")
        at = utcnow()
        return View(
            best=self._best or (),
            stop=self._calls.stop_reason() if may_stop else None,
            variables=tuple(
                _shown(name, awaited(getattr(self._brain, name)), writable=writable, at=at)
                for name, writable in sorted(declared.variables(self._brain).items())
            ),
            fault=self._best_fault,
        )

    def replay(self, facts: Sequence[Fact]) -> View:
        """Bring a new brain to where an old one was: the same data, not necessarily the same next points.

        Suggestions are registered with a brain that has ``register_suggestions``. Another is asked to suggest again;
        where it suggests the same points, they keep their ids, and where it does not, their outcomes are ingested
        without.
        """
        for fact in facts:
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
                    self.retry(fact.id, fact.retry_of)
                # the type may have lost the method or the variable since
                case MethodFact() if declared.replayed(self._brain, fact.name):
                    awaited(declared.call(self._brain, fact.name, fact.args, fact.kwargs))
                case VariableFact() if declared.variables(self._brain).get(fact.name):
                    awaited(declared.assign(self._brain, fact.name, fact.value))
                case MethodFact() | VariableFact():
                    pass
        return self.look()

    def _suggest(self, ids: Sequence[str]) -> list[tuple[str, Point, object]]:
        suggestions = [
            (suggestion_id, point, brain_id)
            for suggestion_id, (point, brain_id) in zip(ids, self._calls.suggest(len(ids)), strict=False)
        ]
        for suggestion_id, _, brain_id in suggestions:
            self._ids.keep(suggestion_id, brain_id)
        return suggestions

    def _suggest_again(self, fact: SuggestFact) -> None:
        if self._calls.can("register_suggestions"):
            for suggestion_id, brain_id in zip(fact.ids, self._calls.register_suggestions(fact.points), strict=True):
                self._ids.keep(suggestion_id, brain_id)
        elif self._calls.can("suggest"):
            before = dict(zip(fact.ids, fact.points, strict=True))
            for suggestion_id, point, _ in self._suggest(fact.ids):
                if not _same(point, before[suggestion_id]):
                    self._ids.pop(suggestion_id)

    def _ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        outcomes = [dict(point) for point in points]
        for outcome in outcomes:
            suggestion_id = outcome.pop(ID_KEY, None)
            if suggestion_id is not None:
                self._ids.measured(suggestion_id, outcome)
                if suggestion_id in self._ids:
                    outcome[ID_KEY] = self._ids.pop(suggestion_id)
        if outcomes:
            self._calls.ingest(outcomes)
            self._was_told = self._has_data = True
            self._best = None

    def _fail(self, points: Sequence[Mapping[str, Any]]) -> None:
        if not self._calls.can("register_failures"):
            return
        failures = [{**point, ID_KEY: self._ids.pop(point[ID_KEY])} for point in points if point[ID_KEY] in self._ids]
        if failures:
            self._calls.register_failures(failures)
            self._was_told = True

    def _ask_best(self) -> tuple[tuple[BestPoint, ...], str | None]:
        """Return the best points, and what is wrong with what the brain gave for them: that is no end of the agent."""
        answer = self._calls.best_points()
        if isinstance(answer, str):
            return (), utf8(answer)
        best = (
            best_point(point, outcome, actuators=self._spec.actuators, suggestion_id=self._ids.find(brain_id, point))
            for brain_id, point, outcome in answer
        )
        return tuple(best), None


def _given(subject: object) -> object:
    """Return runs as copies, for others hear of the same ones; uids as they are."""
    if isinstance(subject, list):
        return [_given(run) for run in cast("list[object]", subject)]
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
        return "; ".join(wrong.message for wrong in validation_errors(error))
    return (str(error) or type(error).__name__).splitlines()[0]
