"""What built-in brains have in common: a record of suggestions and measurements, and their goals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field

from agent_service.errors import FieldError, InvalidConfig
from agent_service.models import ID_KEY
from agent_service.models.objectives import Goals, Limits, Objectives
from agent_service.models.strict_numbers import StrictNumbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from agent_service.models import AgentSpec

Position = dict[str, float]
"""A point of actuators that are numbers, by name."""


_Limit = Annotated[float, Field(allow_inf_nan=False)]


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if not low < high:
        raise ValueError("the lower bound is not below the upper one")
    return bounds


Interval = Annotated[tuple[_Limit, _Limit], AfterValidator(_ordered)]
"""Lower and upper bound, in the actuator's units."""


class Goal(StrictNumbers):
    """Base of a brain's configuration: what counts as good."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    named_in: ClassVar[str]
    """The field that names the actuators."""

    objective: str | None = Field(
        default=None, description="name of the outcome to judge by; null: the only one there is", examples=["flux"]
    )
    maximize: bool = Field(default=True, description="whether more of the objective is better")
    objectives: Objectives | None = Field(
        default=None,
        description='what counts, one or several with weights, as {"flux": "maximize"}; a specification says it as '
        "objectives of the agent",
    )
    outcome_constraints: Limits | None = Field(
        default=None,
        description='what a point has to have to count, as {"width": {"max": 3}}; a specification says it as '
        "outcome_constraints of the agent",
    )

    @property
    def goals(self) -> Goals:
        """What counts as good, where the agent's specification says it."""
        return Goals(self.objectives or {}, self.outcome_constraints or {})

    @property
    def judged_by(self) -> tuple[str, float]:
        """What it judges by, an outcome or a number that is made of some, and 1 where more is better, else -1."""
        direction = "maximize" if self.maximize else "minimize"
        name, direction = next(iter(self.goals.columns.items()), (str(self.objective), direction))
        return name, 1.0 if direction == "maximize" else -1.0

    @property
    def actuators(self) -> list[str]:
        """Names of the actuators, in the order of coordinates."""
        raise NotImplementedError


class Search(Goal):
    """Base of the configuration of a brain that searches a box."""

    named_in = "bounds"

    bounds: dict[str, Interval] = Field(
        description="lower and upper bound of the search by actuator, in the actuator's units",
        examples=[{"mirror_x": [-5, 5], "mirror_y": [-5, 5]}],
        min_length=1,
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="the same seed and the same data give the same suggestions"
    )

    @property
    def actuators(self) -> list[str]:
        """Names of the actuators, in the order of the bounds."""
        return list(self.bounds)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: the brain's id of its suggestion (None: somebody else's idea), where, and what."""

    id: int | None
    point: Position
    outcome: dict[str, float]


class Record:
    """Suggestions and measurements of one brain; those that ``accept`` refuses are left out, and counted."""

    def __init__(self, goal: Goal, *, accept: Callable[[Row], bool]) -> None:
        self.actuators = tuple(goal.actuators)
        self.rows: list[Row] = []
        self.pending: dict[int, Position] = {}
        self.failed: list[Position] = []
        self.left_out = 0
        self.issued = 0
        self._goal = goal
        self._accept = accept

    def issue(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Take note of a suggestion and return it with its ``_id``, a number counted from 0."""
        kept = self.position(point)
        self.pending[self.issued] = kept
        self.issued += 1
        return {**kept, ID_KEY: self.issued - 1}

    def add(self, points: Iterable[Mapping[str, Any]]) -> None:
        """Take measurements in; a point with the ``_id`` of a pending suggestion may leave its actuators out."""
        for point in points:
            row_id = point.get(ID_KEY)
            complete = {**self.pending.get(row_id, {}), **point} if row_id is not None else dict(point)
            where = self.position(complete)
            outcome = {name: float(value) for name, value in complete.items() if name not in {ID_KEY, *self.actuators}}
            row = Row(row_id, where, outcome)
            if self._accept(row):
                self.rows.append(row)
            else:
                self.left_out += 1
            if row_id is not None:
                self.pending.pop(row_id, None)

    def fail(self, points: Iterable[Mapping[str, Any]]) -> None:
        """Give up suggestions, by their ``_id``; those that are not pending are passed over."""
        for point in points:
            dropped = self.pending.pop(point[ID_KEY], None)
            if dropped is not None:
                self.failed.append(dropped)

    def position(self, point: Mapping[str, Any]) -> Position:
        """Return the actuators' part of a point."""
        if missing := [name for name in self.actuators if name not in point]:
            raise ValueError(f"a point lacks {', '.join(missing)}; the actuators are {', '.join(self.actuators)}")
        return {name: value if type(value := point[name]) is int else float(value) for name in self.actuators}

    def value(self, row: Row) -> float:
        """Return the objective of a row, turned around when less is better; `ValueError` when it is not clear which."""
        if self._goal.objectives:
            scores = self._goal.goals.scores(row.outcome)
            if scores is None:
                raise ValueError(f"a point lacks one of the objectives: {', '.join(self._goal.objectives)}")
            return scores[0]
        name = self._goal.objective
        if name is None:
            if len(row.outcome) != 1:
                there = ", ".join(sorted(row.outcome)) or "none"
                raise ValueError(f"which outcome is the objective? set config.objective; a point has: {there}")
            name = next(iter(row.outcome))
        if name not in row.outcome:
            there = ", ".join(sorted(row.outcome)) or "none"
            raise ValueError(f"a point lacks the objective {name!r}; its outcomes are: {there}")
        return row.outcome[name] if self._goal.maximize else -row.outcome[name]

    def values(self) -> list[float]:
        """Return the `value` of each row; one that breaks a constraint is as bad as the worst before it."""
        values: list[float] = []
        for row in self.rows:
            value = self.value(row)
            values.append(value if self._goal.goals.feasible(row.outcome) else min([value, *values]))
        return values

    def best(self) -> list[tuple[int | None, Position, dict[str, float]]]:
        """Return id, point and outcome of the row with the best measured value.

        Empty without data, and when nothing says which of several outcomes is the objective.
        """
        goals, named = self._goal.goals, self._goal.objective or self._goal.objectives
        rows = [row for row in self.rows if goals.feasible(row.outcome)]
        undecided = not named and any(len(row.outcome) != 1 for row in rows)
        if not rows or undecided or len(goals.columns) > 1:
            return []
        row = max(rows, key=self.value)
        return [(row.id, dict(row.point), dict(row.outcome))]


def check_names(names: Iterable[str], *, field: str, actuators: Sequence[str]) -> None:
    """Raise `InvalidConfig`, with the field, unless ``names`` are the agent's actuators, no more and no less."""
    named = list(names)
    listed = ", ".join(actuators) or "none"
    errors = [
        FieldError(f"config.{field}.{name}", f"is no actuator of this agent; its actuators are: {listed}")
        for name in named
        if name not in actuators
    ]
    errors += [
        FieldError(f"config.{field}.{name}", "is missing: each actuator needs one")
        for name in actuators
        if name not in named
    ]
    if errors:
        raise InvalidConfig("; ".join(f"{error.field} {error.message}" for error in errors), errors=errors)


def check_goal(goal: Goal, *, outcomes: Sequence[str]) -> None:
    """Raise `InvalidConfig` when the objective is none of the outcomes, or is left open among several.

    There are no outcomes when a function finds them: then it cannot be checked beforehand.
    """
    if len(goal.objectives or ()) > 1 and not goal.goals.weighted:
        message = (
            f"has one objective and no Pareto front; give weights to {', '.join(goal.objectives or ())}, or name one"
        )
        raise InvalidConfig(f"objectives: it {message}", errors=[FieldError("objectives", message)])
    if not outcomes or goal.objectives:
        return
    listed = ", ".join(outcomes)
    if goal.objective is None and len(outcomes) > 1:
        message = f"which outcome is the objective? name one of {listed}"
    elif goal.objective is not None and goal.objective not in outcomes:
        message = f"is no outcome of this agent; its outcomes are: {listed}"
    else:
        return
    raise InvalidConfig(f"config.objective: {message}", errors=[FieldError("config.objective", message)])


class RecordingBrain:
    """A brain that keeps a record: the next point is its subclass's."""

    needs_objective: ClassVar[bool] = False
    """Whether it cannot do without an objective, which is then checked although the configuration names none."""

    def __init__(self, goal: Goal, *, accept: Callable[[Row], bool] = lambda row: True) -> None:
        self._record = Record(goal, accept=accept)

    @classmethod
    def filled(cls, spec: AgentSpec) -> dict[str, Any]:
        """Return the configuration with what the specification says is good, unless it names an objective itself."""
        fields = ("objectives", "outcome_constraints")
        given = {name: getattr(spec, name) for name in fields if getattr(spec, name)}
        return {**given, **spec.config} if given and "objective" not in spec.config else dict(spec.config)

    @classmethod
    def check(cls, config: Goal, *, actuators: Sequence[str], outcomes: Sequence[str]) -> None:
        """Raise `InvalidConfig` when the configuration is not for the agent's actuators and outcomes."""
        check_names(config.actuators, field=config.named_in, actuators=actuators)
        if cls.needs_objective or config.objective is not None:
            check_goal(config, outcomes=outcomes)

    def register_suggestions(self, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take points as suggested by this brain: they are pending until they are ingested or given up."""
        return [self._record.issue(suggestion) for suggestion in suggestions]

    def register_failures(self, suggestions: Sequence[Mapping[str, Any]]) -> None:
        """Give suggestions up, by ``_id``; they are not suggested again."""
        self._record.fail(suggestions)

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Take outcomes in, of own suggestions or of anybody's; `ValueError` when one lacks an actuator."""
        self._record.add(points)

    def report(self) -> dict[str, Any]:
        """Return how many points were measured, wait to be, and will not be: failed, rejected, or edited."""
        return {
            "n_measured": len(self._record.rows),
            "n_pending": len(self._record.pending),
            "n_not_measured": len(self._record.failed),
        }


class DesignBrain(RecordingBrain):
    """Suggests the points of a design in order, without those that were registered already, then wants to stop.

    ``n_points`` is how many there are, None when they never end.
    """

    def __init__(self, goal: Goal, design: Iterable[Position], n_points: int | None) -> None:
        super().__init__(goal)
        self._design: Iterator[Position] = iter(design)
        self._n_points = n_points
        self._drawn = 0
        self._next: Position | None = None
        self._registered: Counter[tuple[float, ...]] = Counter()  # and still to come in the design

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Return the next points of the design; fewer, at last none, when it comes to its end."""
        points: list[dict[str, Any]] = []
        while len(points) < (num_points or 1) and (point := self._peek()) is not None:
            self._next = None
            points.append(self._record.issue(point))
        return points

    def register_suggestions(self, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take points as suggested by this brain; one that the design still holds is not suggested again."""
        issued = super().register_suggestions(suggestions)
        self._registered.update(tuple(self._record.position(point).values()) for point in issued)
        return issued

    def get_best_points(self) -> list[tuple[int | None, dict[str, float], dict[str, float]]]:
        """Return the point with the best measured objective; none when nothing says which outcome that is."""
        return self._record.best()

    def should_stop(self) -> tuple[bool, str | None]:
        """Return whether every point of the design was measured or given up."""
        if self._n_points is None or self._record.pending or self._peek() is not None:
            return False, None
        return True, f"all {self._n_points} points are done"

    def report(self) -> dict[str, Any]:
        """Return how far it is."""
        return {"n_points": self._n_points, **super().report()}

    def _peek(self) -> Position | None:
        """Return the next point of the design that nobody registered; it stays the next one until it is taken."""
        while self._next is not None or self._drawn != self._n_points:
            if self._next is None:
                self._next = next(self._design)
                self._drawn += 1
            place = tuple(self._next.values())
            if not self._registered[place]:
                return self._next
            self._registered[place] -= 1
            self._next = None
        return None
