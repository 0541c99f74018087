"""The adapter for agents of bluesky-adaptive 0.x: ``ingest(x, y)`` and ``suggest(n) -> (docs, points)``, in arrays.

A point of such an agent is a number or an array. The service names its values by the agent's actuators if it has any,
else ``x``, or ``x_0``, ``x_1`` and so on. ``unpack_run`` returns ``x`` and ``y`` of a run, which the agent ingests
unchanged; the service keeps them as outcomes, ``measured_x`` and ``y``, or the mean of a large one.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service import references
from agent_service.brains.adapters.opinions import Opinions
from agent_service.brains.adapters.optimizer import OptimizerAdapter
from agent_service.brains.adapters.optimizer_calls import OptimizerCalls
from agent_service.brains.coroutines import called
from agent_service.brains.messages import EditFact, IngestFact, SuggestFact
from agent_service.models import ID_KEY
from agent_service.models.real_numbers import real

if TYPE_CHECKING:
    from pydantic import JsonValue

    from agent_service.brains.messages import Fact, Proposal, View
    from agent_service.models import AgentSpec, Point, Value

PlanCall = tuple[str, Sequence[Any], Mapping[str, Any]]
"""Name, arguments and keyword arguments of a plan."""

_log = logging.getLogger(__name__)

MOST_NUMBERS: Final = 32
"""How many numbers of an array are outcomes of their own."""

METHODS: Final = ("ingest", "measurement_plan", "unpack_run")
"""By which such an agent is known."""

_X, _Y = "measured_x", "y"


def is_agent_0x(brain: object) -> bool:
    """Return whether an object has the shape of an agent of bluesky-adaptive 0.x, which is never imported."""
    return all(callable(getattr(brain, method, None)) for method in METHODS)


@dataclass
class Exchange:
    """What passes between an agent that a start-up script made and its adapter, beside the calls; on the agent.

    Attributes
    ----------
    wanted
        How many points it is to be asked for; None: as many as the service asks for.
    after_ingest
        How many more are wanted when it has ingested a run.
    plans
        What ``measurement_plan`` gave for each point (name, args, kwargs), by the suggestion that it was asked for.
    unpacked
        What runs measured that it is still to be told: x and y of each, by the id of its suggestion or its uid.
    read_again
        Finds x and y anew for a point whose run is not in ``unpacked``; None where that cannot be done.
    told, asked
        How many points it was told, and how often it was asked, so that it is told nothing twice.
    busy
        Whether it is being called, so that what it asks for waits until it has returned.
    """

    wanted: int | None = 0
    after_ingest: Callable[[], int] = lambda: 0
    plans: dict[frozenset[tuple[str, Value]], dict[str, PlanCall]] = field(default_factory=dict[Any, Any])
    unpacked: dict[str, tuple[dict[str, float], object, object]] = field(default_factory=dict[str, Any])
    read_again: Callable[[Mapping[str, Any]], tuple[object, object] | None] = lambda point: None
    told: int = 0
    asked: int = 0
    busy: bool = False

    def keep_plan(self, suggestion_id: str, point: Mapping[str, Value], plan: PlanCall) -> None:
        """Keep the plan of a suggestion's point; that of another point, if it was edited, is kept too."""
        self.plans.setdefault(frozenset(point.items()), {})[suggestion_id] = plan

    def plan_of(self, suggestion_id: str, point: Mapping[str, Value]) -> PlanCall | None:
        """Return the plan of a suggestion's point, None when there was none for this very point.

        One that is measured again under another id has the plan of the point as it was asked for last.
        """
        plans = self.plans.get(frozenset(point.items()))
        return None if plans is None else plans.get(suggestion_id, next(reversed(plans.values())))

    def take(self, point: Mapping[str, Any]) -> tuple[object, object] | None:
        """Return x and y of a point as they were unpacked, once; None when they were not, or long ago."""
        for key, (outcome, x, y) in list(self.unpacked.items()):
            if key == point.get(ID_KEY) or (ID_KEY not in point and outcome.items() <= point.items()):
                del self.unpacked[key]
                return x, y
        return self.read_again(point)

    @contextlib.contextmanager
    def asked_for(self, number: int) -> Generator[None]:
        """Let it be asked for so many points, whatever it is wanted to give otherwise; while nobody else calls it."""
        before, self.wanted = self.wanted, number
        try:
            yield
        finally:
            self.wanted = before

    def unknown(self, facts: Sequence[Fact]) -> list[Fact]:
        """Return what of the facts of its life it was not part of: it may be hosted anew, and knows the others."""
        new: list[Fact] = []
        told_uids, asked = self.told, self.asked
        for fact in facts:
            if isinstance(fact, IngestFact):
                skipped = min(told_uids, len(fact.points))
                told_uids -= skipped
                if skipped < len(fact.points):
                    new.append(IngestFact(fact.points[skipped:]))
            elif isinstance(fact, SuggestFact) and asked:
                asked -= 1
            else:
                new.append(fact)
        return new


class Agent0xAdapter(OptimizerAdapter):
    """Hosts an agent of 0.x; see `BrainAdapter`."""

    def __init__(self, brain: object, *, spec: AgentSpec, evaluate: Callable[[Any, Any], object] | None = None) -> None:
        super().__init__(brain, spec=spec, evaluate=evaluate)
        self._agent: Any = brain
        self._exchange: Exchange = getattr(brain, "exchange", None) or Exchange(wanted=None)
        self._calls = self._calls_0x = Agent0xCalls(brain, spec, self._exchange)
        self._opinions = Opinions(self._calls, self._ids, spec.actuators, spec.space)

    def suggest(self, ids: Sequence[str]) -> tuple[list[Proposal], View]:
        """Ask for points, and for the plan of each."""
        proposals, view = super().suggest(ids)
        for proposal in proposals:
            self._plan(proposal.id, proposal.point)
        return proposals, view

    def edit(self, suggestion_id: str, point: Mapping[str, Value]) -> None:
        """Ask for the plan of another point."""
        self._plan(suggestion_id, point)
        super().edit(suggestion_id, point)

    def replay(self, facts: Sequence[Fact]) -> View:
        """Tell it what it does not know yet; nothing of that lets it ask for more."""
        exchange = self._exchange
        wanted, exchange.wanted = exchange.wanted, None
        try:
            view = super().replay(exchange.unknown(facts))
        finally:
            exchange.wanted = wanted
        for fact in facts:
            match fact:
                case SuggestFact():
                    for suggestion_id, point in zip(fact.ids, fact.points, strict=True):
                        self._plan_again(suggestion_id, point)
                case EditFact():
                    self._plan_again(fact.id, fact.point)
                case _:
                    pass
        return view

    def dump(self) -> None:
        """Return None: it holds connections to its site, and is told what it does not know."""

    def _plan_again(self, suggestion_id: str, point: Mapping[str, Value]) -> None:
        """Ask for the plan of a point of before, which may be over: without one it is not measured."""
        try:
            self._plan(suggestion_id, point)
        except Exception as error:  # noqa: BLE001 - the agent's own code
            _log.warning("measurement_plan of %s raised for a point of before: %s", self._spec.name, error)

    def _plan(self, suggestion_id: str, point: Mapping[str, Value]) -> None:
        if self._spec.plan.startswith(references.PREFIX):  # else the service makes the plan, of the point
            x = self._calls_0x.x_of(point)
            plan: PlanCall = called(self._agent.measurement_plan, x, of="measurement_plan")
            self._exchange.keep_plan(suggestion_id, point, plan)


class Agent0xCalls(OptimizerCalls):
    """An agent of that shape. What it returns more than it was asked for is kept for the next time."""

    def __init__(self, brain: object, spec: AgentSpec, exchange: Exchange) -> None:
        super().__init__(brain, spec, spec.space)
        self._agent: Any = brain
        self._exchange = exchange
        self._own_actuators = list(spec.actuators)
        self._kept: deque[object] = deque()

    def can(self, method: str) -> bool:
        """Return whether the agent has a method of a brain's; the others of 0.x's mean something else."""
        return method in ("suggest", "ingest", "report") and super().can(method)

    def suggest(self, number: int) -> list[tuple[Point, object, dict[str, JsonValue]]]:
        """Return at most ``number`` points; `ValueError` when it did not return ``(docs, points)``."""
        exchange = self._exchange
        wanted = number if exchange.wanted is None else min(number, exchange.wanted)
        if wanted > len(self._kept):
            exchange.asked += 1
            self._kept.extend(self._asked(wanted - len(self._kept)))
        points = [self._kept.popleft() for _ in range(min(wanted, len(self._kept)))]
        if exchange.wanted is not None:
            exchange.wanted -= wanted
        return [(self._named(point), None, {}) for point in points]

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Tell it outcomes, one after the other: x and y as they were unpacked, else as the service has them."""
        for point in points:
            self._exchange.told += 1
            x, y = self._exchange.take(point) or (self._measured_x_of(point), self._y_of(point))
            self._call_busy(self._agent.ingest, x, y, of="ingest")
            if self._exchange.wanted is not None:
                self._exchange.wanted += self._exchange.after_ingest()

    def report(self) -> object:
        """Return what it thinks."""
        about: Mapping[str, Any] = getattr(self._agent, "default_report_kwargs", None) or {}
        return self._call_busy(partial(self._agent.report, **about), of="report")

    def x_of(self, point: Mapping[str, Any]) -> object:
        """Return a point as the agent has it."""
        if self._own_actuators:
            return _together([point[name] for name in self._own_actuators])
        return _array(point, "x")

    def _call_busy(self, function: Callable[..., Any], *args: object, of: str) -> Any:
        self._exchange.busy = True
        try:
            return called(function, *args, of=of)
        finally:
            self._exchange.busy = False

    def _asked(self, number: int) -> list[object]:
        answer = self._call_busy(self._agent.suggest, number, of="suggest")
        if not isinstance(answer, Sequence) or isinstance(answer, str) or len(cast("Sequence[Any]", answer)) != 2:  # noqa: PLR2004
            kind = type(cast("object", answer)).__name__
            raise ValueError(f"suggest returned a {kind}; an agent of bluesky-adaptive 0.x returns (docs, points)")
        return list(cast("Sequence[Any]", answer)[1])

    def _named(self, point: object) -> Point:
        values, single = _numbers(point), not _shape(point)
        names = self._own_actuators or _names("x", len(values), single=single)
        if len(names) != len(values):
            raise ValueError(f"suggest returned a point of {len(values)} numbers for {len(names)} actuators")
        return dict(zip(names, values, strict=True))

    def _measured_x_of(self, point: Mapping[str, Any]) -> object:
        return _array(point, _X) if _has(point, _X) else self.x_of(point)

    def _y_of(self, point: Mapping[str, Any]) -> object:
        if _has(point, _Y):
            return _array(point, _Y)
        others = {*self._own_actuators, ID_KEY}
        return _together([value for name, value in point.items() if name not in others and not _is_of(name, _X)])


def outcome_of(x: object, y: object) -> dict[str, float]:
    """Return what the service keeps of what a run measured, by name; `ValueError` when there is no finite number."""
    return {**_kept("measured_x", x), **_kept("y", y)}


def is_whole(point: Mapping[str, Any]) -> bool:
    """Return whether a point holds all numbers that were measured, so that no run has to be read again for it."""
    return _has(point, _X) and _has(point, _Y)


def _kept(name: str, value: object) -> dict[str, float]:
    shape = _shape(value)
    if shape is None or (len(shape) == 1 and shape[0] <= MOST_NUMBERS):
        return dict(zip(_names(name, shape[0] if shape else 1, single=not shape), _numbers(value), strict=True))
    import numpy as np  # noqa: PLC0415 - only where there are arrays

    numbers = np.asarray(value, dtype=float)
    mean = float(np.nanmean(numbers)) if numbers.size and not np.isnan(numbers).all() else 0.0
    return {f"{name}_mean": mean, f"{name}_size": float(numbers.size)}


def _names(name: str, count: int, *, single: bool) -> list[str]:
    return [name] if single else [f"{name}_{i}" for i in range(count)]


def _shape(value: object) -> tuple[int, ...] | None:
    """Return the shape of what is an array or a sequence, None of a number."""
    if not (hasattr(value, "shape") or isinstance(value, Sequence)) or isinstance(value, str | Mapping):
        return None
    import numpy as np  # noqa: PLC0415 - as above

    return np.shape(cast("Any", value)) or None


def _numbers(value: object) -> list[float]:
    """Return the numbers of a number, or of an array in its order; `ValueError` when one is none, or not finite."""
    if _shape(value) is None:
        leaves = [real(value)]
    else:
        import numpy as np  # noqa: PLC0415 - as above

        leaves = [real(element) for element in np.ravel(cast("Any", value)).tolist()]
    numbers = [float(leaf) for leaf in leaves if leaf is not None]
    if len(numbers) < len(leaves):
        raise ValueError(f"a point or an outcome is no finite number, but {type(value).__name__}")
    return numbers


def _is_of(name: str, stem: str) -> bool:
    return name == stem or (name.startswith(f"{stem}_") and name[len(stem) + 1 :].isdigit())


def _has(point: Mapping[str, Any], stem: str) -> bool:
    return any(_is_of(name, stem) for name in point)


def _array(point: Mapping[str, Any], stem: str) -> object:
    if stem in point:
        return point[stem]
    return _listed([point[f"{stem}_{i}"] for i in range(sum(_is_of(name, stem) for name in point))])


def _together(values: list[Any]) -> object:
    return values[0] if len(values) == 1 else _listed(values)


def _listed(values: list[Any]) -> object:
    import numpy as np  # noqa: PLC0415 - as above

    return np.array(values)
