"""The adapter for brains of the shape of bluesky-adaptive 1.x's ``Optimizer``, with the service's ids outside.

A brain knows its suggestions by its own ``_id``, or by none; the service knows them by their ids. Only this module
translates them.
"""

from __future__ import annotations

import math
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.brains import declared
from agent_service.brains.adapters.json_values import Unfit, json_safe
from agent_service.brains.adapters.opinions import Opinions, first_line
from agent_service.brains.adapters.optimizer_calls import OptimizerCalls
from agent_service.brains.adapters.suggestion_ids import SuggestionIds
from agent_service.brains.adapters.values import evaluated
from agent_service.brains.coroutines import awaited, called
from agent_service.brains.evaluate import takes
from agent_service.brains.messages import (
    Called,
    EditFact,
    Fact,
    FailFact,
    IngestFact,
    MethodFact,
    Predicted,
    Proposal,
    Reported,
    RetryFact,
    SuggestFact,
    Traits,
    VariableFact,
    View,
)
from agent_service.brains.not_now import is_not_now
from agent_service.brains.offered import offered_goals, offered_space
from agent_service.brains.saved_state import WithState
from agent_service.errors import Conflict, FieldError, InvalidInput, NotFound
from agent_service.models import ID_KEY, Variable, utcnow, utf8
from agent_service.models.standard_errors import as_pairs, parted
from agent_service.models.values import is_number, same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from pydantic import JsonValue

    from agent_service.models import AgentSpec, Point, Value

_OURS: Final = frozenset({"agent_service", "pydantic"})
_AGREE: Final = 1e-9
"""Relative tolerance within which a point suggested again in a replay is the same point."""


class OptimizerAdapter(WithState):
    """Hosts a brain; see `BrainAdapter`, whose methods these are.

    The brain has ``ingest``, and ``suggest`` unless it only listens; everything else is optional. ``evaluate`` is the
    user's function of ``(run, suggestions)``, or of ``uid``, ``runs`` or ``uids``, if it has one. ``declares`` is whose
    class declares variables and methods, where that is another object than the brain.
    """

    def __init__(
        self,
        brain: object,
        *,
        spec: AgentSpec,
        evaluate: Callable[[Any, Any], object] | None = None,
        declares: object | None = None,
    ) -> None:
        super().__init__("_brain", "_calls", "_ids", "_opinions", type_name=spec.type, names_unsaved="_calls")
        self._brain = brain if declares is None else declares
        self._offered = offered_space(brain, spec)
        self._goals = offered_goals(brain, spec)
        space = {**self._offered, **spec.space}
        self._calls = OptimizerCalls(brain, spec, space)
        self._ids = SuggestionIds(spec.actuators)
        self._opinions = Opinions(self._calls, self._ids, spec.actuators, space)
        self._spec = spec
        self._evaluate = evaluate

    def traits(self) -> Traits:
        """Return what the brain and the evaluate function can do."""
        return Traits(
            suggests=self._calls.can("suggest"),
            takes=takes(self._evaluate) if self._evaluate else "run",
            methods=declared.described(self._brain),
            predicts=self._calls.can("predict"),
            registers=self._calls.can("register_suggestions"),
            most_pending=self._calls.most_pending,
            space=self._offered,
            goals=self._goals,
        )

    def suggest(self, ids: Sequence[str]) -> tuple[list[Proposal], View]:
        """Ask the brain for as many points as there are ids."""
        if not self._calls.can("suggest"):
            raise Conflict(f"agent {self._spec.name!r} only listens: its type has no suggest")
        try:
            suggestions = self._suggest(ids)
        except Exception as error:
            if not is_not_now(error):
                raise
            return [], replace(self.view(), waits=utf8(first_line(error)))
        proposals = [
            Proposal(suggestion_id, point, None if brain_id is None else _journaled(brain_id), extra)
            for suggestion_id, point, brain_id, extra in suggestions
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

    def edit(self, suggestion_id: str, point: Mapping[str, Value]) -> None:
        """Tell the brain that a person approved ``point`` instead of what the suggestion said.

        It is registered as a new suggestion where the brain can do that. Where it cannot, its outcome is ingested
        without ``_id``, like any point that the brain did not suggest.
        """
        self._ids.pop_extra(suggestion_id)
        brain_id = self._ids.pop(suggestion_id)
        if brain_id is not None and self._calls.can("register_failures"):
            self._calls.register_failures([{ID_KEY: brain_id}])  # as the brain made it, nobody is going to measure it
        if self._calls.can("register_suggestions"):
            [brain_id] = self._calls.register_suggestions([point])
            self._ids.keep(suggestion_id, brain_id)

    def retry(self, suggestion_id: str, retry_of: str) -> None:
        """Know that a suggestion is measured again as another; the brain knows one."""
        self._ids.rename(retry_of, suggestion_id)

    def evaluate(self, subject: object, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Let the user's function find the outcomes of ``subject``: a run, its uid, or a list of either."""
        if self._evaluate is None:
            raise ValueError(f"agent {self._spec.name!r} has no evaluate function")
        copies = [dict(suggestion) for suggestion in suggestions]
        result = called(self._evaluate, _given(subject), copies, of="evaluate")
        return evaluated(result, suggestions=suggestions, actuators=self._spec.actuators)

    def report(self) -> Reported:
        """Ask the brain what it thinks."""
        answer, fault = self._opinions.report()
        return Reported(self.view(), answer, fault)

    def predict(self, points: Sequence[Mapping[str, Value]]) -> Predicted:
        """Ask the brain what it believes of points."""
        return self._opinions.predicted(points)

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
            message = f"variable {name!r} cannot be that: {first_line(error)}"
            raise InvalidInput(message, errors=[FieldError("value", first_line(error))]) from error
        return self.look()

    def call_method(self, name: str, args: Sequence[JsonValue], kwargs: Mapping[str, JsonValue]) -> Called:
        """Call a method that the brain declares; what it raises itself is returned."""
        try:
            result: object = awaited(declared.call(self._brain, name, args, kwargs))
        except (NotFound, InvalidInput):
            raise
        except Exception as error:  # noqa: BLE001 - the agent boundary; told to who called
            message = f"{name} raised {type(error).__name__}: {first_line(error)}"
            return Called(self.look(), raised=True, fault=utf8(message), traceback=_trace(error))
        answer = Called(self.look(), replay=declared.replayed(self._brain, name))
        try:
            return replace(answer, result=json_safe(result, name="the result", strict=True))
        except Unfit as error:
            message = f"{name} returned what cannot be told: {error}; let it return numbers, texts, lists and mappings"
            return replace(answer, fault=utf8(message))

    def look(self) -> View:
        """Return what the brain shows now, the best points asked for anew."""
        self._opinions.forget_best()
        return self.view()

    def view(self) -> View:
        """Return what the brain shows now. The best points are asked for only when they can have changed."""
        best, stop, at = self._opinions.best(), self._opinions.stop_reason(), utcnow()
        return View(
            best=best,
            stop=stop,
            variables=tuple(
                _shown(name, awaited(getattr(self._brain, name)), writable=writable, at=at)
                for name, writable in sorted(declared.variables(self._brain).items())
            ),
            fault=self._opinions.fault,
        )

    def replay(self, facts: Sequence[Fact]) -> View:
        """Bring a new brain to where an old one was: the same data, not necessarily the same next points.

        Suggestions are registered with a brain that has ``register_suggestions``. Another is not asked for them again,
        and their outcomes are ingested without ids; only after `restore` it is, for the few that came later: where it
        suggests the same points, they keep their ids.
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

    def _suggest(self, ids: Sequence[str]) -> list[tuple[str, Point, object, dict[str, JsonValue]]]:
        suggestions = [
            (suggestion_id, *suggestion)
            for suggestion_id, suggestion in zip(ids, self._calls.suggest(len(ids)), strict=False)
        ]
        for suggestion_id, _, brain_id, extra in suggestions:
            self._ids.keep_own(suggestion_id, brain_id)
            self._ids.keep_extra(suggestion_id, extra)
        return suggestions

    def _suggest_again(self, fact: SuggestFact) -> None:
        if self._calls.can("register_suggestions"):
            brain_ids = self._calls.register_suggestions(fact.points, fact.brain_ids)
            for suggestion_id, brain_id in zip(fact.ids, brain_ids, strict=True):
                self._ids.keep(suggestion_id, brain_id)
        elif self._is_restored and self._calls.can("suggest"):
            before = dict(zip(fact.ids, fact.points, strict=True))
            for suggestion_id, point, _, _ in self._suggest(fact.ids):
                self._ids.pop_extra(suggestion_id)
                if not _same(point, before[suggestion_id]):
                    self._ids.pop(suggestion_id)
        for suggestion_id, extra in zip(fact.ids, fact.extras, strict=False):
            self._ids.keep_extra(suggestion_id, extra)

    def _ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        outcomes = [as_pairs(point) if self._calls.takes_sem else parted(point)[0] for point in points]
        for outcome in outcomes:
            suggestion_id = outcome.pop(ID_KEY, None)
            if suggestion_id is not None:
                self._ids.measured(suggestion_id, outcome)
                outcome.update({**self._ids.pop_extra(suggestion_id), **outcome})
                if (brain_id := self._ids.pop(suggestion_id)) is not None:
                    outcome[ID_KEY] = brain_id
        if outcomes:
            self._calls.ingest(outcomes)
            self._opinions.ingested()

    def _fail(self, points: Sequence[Mapping[str, Any]]) -> None:
        for point in points:
            self._ids.pop_extra(point[ID_KEY])
        if not self._calls.can("register_failures"):
            return
        failures: list[dict[str, Any]] = []
        for point in points:
            if self._ids.waits(suggestion_id := point[ID_KEY]):
                brain_id = self._ids.pop(suggestion_id)
                place = {name: value for name, value in point.items() if name != ID_KEY}
                failures.append(place if brain_id is None else {**place, ID_KEY: brain_id})
        if failures:
            self._calls.register_failures(failures)
            self._opinions.failed()


def _given(subject: object) -> object:
    """Return runs as copies, for others hear of the same ones; uids as they are."""
    if isinstance(subject, list):
        return [_given(run) for run in cast("list[object]", subject)]
    return subject if isinstance(subject, str) else cast("Any", subject).copy()


def _same(a: Point, b: Point) -> bool:
    return a.keys() == b.keys() and all(_agree(a[name], b[name]) for name in a)


def _agree(a: Value, b: Value) -> bool:
    if isinstance(a, float) and is_number(b):
        return math.isclose(a, float(b), rel_tol=_AGREE, abs_tol=0.0)
    return same(a, b)


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
