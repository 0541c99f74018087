"""The adapter for generators of gest-api, as Xopt's: they suggest and ingest by their VOCS. A type and any object.

A column of a suggestion that is no variable is the generator's own, and it gets it back with the outcome. If a
generator needs data first, points are drawn for it; a stepwise one (Nelder-Mead) ingests only its own steps.
"""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agent_service.brains.adapters.library_type import LibraryType, Search, library
from agent_service.brains.adapters.problem import Problem
from agent_service.brains.adapters.told import ToldBrain
from agent_service.brains.not_now import NotNow
from agent_service.errors import FieldError, InvalidConfig
from agent_service.models.objectives import Limit
from agent_service.models.spaces import Choice, FloatRange, IntRange, Truth
from agent_service.models.values import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import AgentSpec
    from agent_service.models.spaces import Dimension

_EVALUATED: Final = {"xopt_runtime": 0.0, "xopt_error": False}
"""What Xopt's evaluator adds to each row, and its generators read."""

_EXCESS: Final = "{}_excess"
"""Column of how far an outcome is beyond its limits."""

_GENETIC: Final = {"xopt_parent_generation": -1, "xopt_candidate_idx": -1}
"""What a genetic generator reads of a row that it did not make itself."""


class _Constraint(BaseModel):
    """What an outcome has to be."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["LessThanConstraint", "GreaterThanConstraint"]
    value: float


class _Config(Search):
    """Configuration of `Xopt`."""

    generator: Literal[
        "upper_confidence_bound",
        "expected_improvement",
        "bayesian_exploration",
        "mobo",
        "mggpo",
        "nsga2",
        "cnsga",
        "neldermead",
        "latin_hypercube",
        "random",
    ] = Field(default="upper_confidence_bound", description="how points are found")
    options: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue],
        description="more for the generator, as Xopt's documentation has it",
        examples=[{"population_size": 20}, {"reference_point": {"flux": 0.0, "width": 9.0}}],
    )
    constraints: dict[str, _Constraint] = Field(
        default_factory=dict[str, _Constraint],
        description="as outcome_constraints of the agent, which has them since",
        examples=[{"dose": {"type": "LessThanConstraint", "value": 3.0}}],
    )
    n_initial: int = Field(default=5, ge=1, le=1000, description="points that are drawn for a generator with a model")


class Xopt(LibraryType, package="xopt", several=True):
    """Suggests by one of Xopt's generators, for one outcome or several.

    Takes the fields of `Config`; needs ``pip install bluesky-agent-service[xopt]``.
    """

    Config = _Config
    preload: ClassVar[tuple[str, ...]] = ("xopt.generators", "xopt.generators.bayesian")

    @classmethod
    def check_spec(cls, config: Search, spec: AgentSpec) -> None:
        """Raise `InvalidConfig` as each of these types does, and where a value is no number: Xopt knows no others."""
        super().check_spec(config, spec)
        for name, dimension in Problem.of(spec, config.objectives).space.items():
            if isinstance(dimension, Truth) or (
                isinstance(dimension, Choice) and not all(map(is_number, dimension.values))
            ):
                field = f"space.{name}"
                message = f"{field} has values that are no numbers, which type {spec.type!r} does not know"
                raise InvalidConfig(message, errors=[FieldError(field, message)])

    def brain(self, spec: AgentSpec) -> GestBrain:
        """Return the brain."""
        get_generator = library("xopt.generators").get_generator

        config, problem = self.config, self.problem(spec)
        vocs: Any = library("gest_api.vocs").VOCS(
            variables={name: _variable(dimension) for name, dimension in problem.space.items()},
            objectives={name: direction.upper() for name, direction in problem.objectives.items()},
            constraints={
                **{name: constraint.model_dump() for name, constraint in config.constraints.items()},
                **dict(_constraint(name, limit) for name, limit in problem.constraints.items()),
            },
            observables=list(problem.observables),
        )
        options = _simplex(problem, config.options) if config.generator == "neldermead" else {}
        generator: Any = get_generator(config.generator)(vocs=vocs, **options, **copy.deepcopy(config.options))
        return GestBrain(generator, problem, seed=config.seed, n_initial=config.n_initial)


def _simplex(problem: Problem, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return where Nelder-Mead begins: in the middle, with steps of a tenth of each range.

    Its own steps from a 0 are 0.00025, whatever the unit.
    """
    if "initial_simplex" in options:
        return {}
    middle = problem.unit(options.get("initial_point") or problem.point([0.5] * problem.width))
    corners = [middle]
    for i, part in enumerate(middle):
        corners.append([*middle[:i], part + (0.1 if part <= 0.5 else -0.1), *middle[i + 1 :]])  # noqa: PLR2004 - inwards
    points = [problem.point(corner) for corner in corners]
    simplex = {name: [point[name] for point in points] for name in problem.names}
    return {"initial_simplex": simplex, **({} if "initial_point" in options else {"initial_point": points[0]})}


class GestBrain(ToldBrain):
    """Asks and tells a generator."""

    knows_constraints = True

    def __init__(self, generator: Any, problem: Problem, *, seed: int = 0, n_initial: int = 1) -> None:
        super().__init__(problem)
        self._generator = generator
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._has_model = hasattr(generator, "gp_constructor")
        self._has_steps = hasattr(generator, "_last_candidate")
        self._n_initial = n_initial
        self._step: Mapping[str, Any] | None = None
        if self._has_steps:
            self.most_pending = 1

    def _ask(self, number: int) -> Sequence[Mapping[str, Any]]:
        if self._has_steps:
            if self.pending:
                raise NotNow("it goes step by step, and needs the outcome of the point before")
            return [self._next_step() if self._has_begun else self._drawn()]
        if self._has_model and len(self.rows) < self._n_initial:
            return [self._drawn() for _ in range(number)]
        if not self._has_model:
            return self._generator.suggest(number)
        believed: list[Mapping[str, Any]] = []
        for _ in range(number):
            believed += self._believing([*self.pending.values(), *believed]).suggest(1)
        return believed

    def predict(self, points: Sequence[Mapping[str, Any]]) -> list[dict[str, tuple[float, float]]]:
        """Return mean and standard deviation of what its model predicts at points; none without a fitted model."""
        model = getattr(self._generator, "model", None)
        if model is None:
            return []
        places = self._generator.get_input_data(type(self._generator.data)(list(points)))
        posterior = model.posterior(places)
        means, spreads = posterior.mean.tolist(), posterior.variance.sqrt().tolist()
        names = self._generator.vocs.output_names
        return [
            dict(zip(names, zip(mean, spread, strict=True), strict=True))
            for mean, spread in zip(means, spreads, strict=True)
        ]

    def _tell(self, rows: Sequence[tuple[int | None, Mapping[str, Any]]]) -> None:
        constants = {name: constant.value for name, constant in self._generator.vocs.constants.items()}
        genetic = _GENETIC if hasattr(self._generator, "population_size") else {}
        for _, row in rows:
            columns = {**_EVALUATED, **genetic, **constants, **self._excesses(row), **row}
            if not self._has_steps or not self._has_begun:
                self._generator.ingest([columns])
            if self._has_steps and self._is_step(row):  # as the point is that it begins at
                self._step = None
                self._generator.ingest([columns])

    def _give_up(self, numbers: Sequence[int]) -> None:
        """Let a step that nobody measures count as the worst so far: it would be asked for again and again."""
        if not self._has_steps or not self._has_begun:
            return
        seen = {name: [row[name] for row in self.rows if name in row] for name in self.problem.objectives}
        if not all(seen.values()):
            return
        worst = {
            name: min(seen[name]) if to == "maximize" else max(seen[name])
            for name, to in self.problem.objectives.items()
        }
        for point in self.failed[-len(numbers) :]:
            if self._is_step(point):
                self._tell([(None, {**point, **worst})])

    @property
    def _has_begun(self) -> bool:
        """Whether what goes step by step knows where to begin."""
        return self._generator.data is not None or getattr(self._generator, "initial_point", None) is not None

    def _excesses(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Return how far each outcome is beyond limits on both sides, which is one constraint for Xopt."""
        goals = self.problem.goals
        beyond = zip(goals.limits.items(), goals.excesses(row), strict=True)
        return {_EXCESS.format(name): excess for (name, limit), excess in beyond if None not in (limit.min, limit.max)}

    def _next_step(self) -> Mapping[str, Any]:
        if self._step is None:
            [self._step] = self._generator.suggest(1)
        assert self._step is not None  # noqa: S101 - it has just been made
        return self._step

    def _is_step(self, row: Mapping[str, Any]) -> bool:
        step = self._next_step()
        return all(abs(step[name] - row[name]) <= 1e-9 * max(1.0, abs(step[name])) for name in self.problem.names)

    def _drawn(self) -> Mapping[str, Any]:
        """Return a point: the middle at first, for what goes step by step, else a random one."""
        width = self.problem.width
        return self.problem.point([0.5] * width if self._has_steps else [self._random.random() for _ in range(width)])

    def _believing(self, pending: Sequence[Mapping[str, Any]]) -> Any:
        """Return a generator that takes points that wait for as good as the mean: its own knows nothing of them."""
        if not pending:
            return self._generator
        data = self._generator.data
        outcomes = {name: float(data[name].mean()) for name in self._generator.vocs.output_names if name in data}
        more = type(data)([{**_EVALUATED, **point, **outcomes} for point in pending])
        believing = self._generator.model_copy()
        believing.add_data(more)
        return believing


def adapted(generator: Any, spec: AgentSpec) -> GestBrain:
    """Return the brain of a generator that somebody made; its VOCS says where to look, and for what."""
    vocs = generator.vocs
    variables = {name: _dimension(variable) for name, variable in vocs.variables.items()}
    goals = {
        name: "minimize" if type(objective).__name__ == "MinimizeObjective" else "maximize"
        for name, objective in vocs.objectives.items()
    }
    space = {**variables, **spec.space}
    searched = {name: space[name] for name in spec.actuators}
    brain = GestBrain(generator, Problem.towards(searched, goals, spec))  # pyright: ignore[reportArgumentType]
    brain.outcome_constraints = {
        name: limit for name, constraint in vocs.constraints.items() if (limit := _limit(constraint))
    }
    return brain


def _maker(factory: Callable[..., object]) -> Callable[..., object]:
    """Return what makes a generator from JSON: its VOCS and whatever else it takes."""

    class Config(BaseModel):
        """What a generator is made of."""

        model_config = ConfigDict(extra="allow")

        vocs: dict[str, JsonValue] = Field(
            description="variables, objectives, constraints, constants and observables, as gest-api's VOCS has them",
            examples=[{"variables": {"x": [-3, 3]}, "objectives": {"flux": "MAXIMIZE"}}],
        )

    def make(*, vocs: dict[str, Any], **options: Any) -> object:

        return factory(vocs=library("gest_api.vocs").VOCS(**copy.deepcopy(vocs)), **options)

    make.__doc__, make.__name__, make.__module__ = factory.__doc__, factory.__name__, factory.__module__
    make.Config = Config  # pyright: ignore[reportFunctionMemberAccess]
    return make


adapted.maker = _maker  # pyright: ignore[reportFunctionMemberAccess]


def _constraint(name: str, limit: Limit) -> tuple[str, dict[str, Any]]:
    """Return a limit as a constraint of a column; one with both ends is of the column of `_EXCESS`."""
    if limit.min is None or limit.max is None:
        kind = "LessThanConstraint" if limit.min is None else "GreaterThanConstraint"
        return name, {"type": kind, "value": limit.max if limit.min is None else limit.min}
    return _EXCESS.format(name), {"type": "LessThanConstraint", "value": 0.0}


def _limit(constraint: Any) -> Limit | None:
    match type(constraint).__name__:
        case "LessThanConstraint":
            return Limit(max=constraint.value)
        case "GreaterThanConstraint":
            return Limit(min=constraint.value)
        case "BoundsConstraint":
            return Limit(min=constraint.range[0], max=constraint.range[1])
        case _:
            return None


def _variable(dimension: Dimension) -> Any:
    if isinstance(dimension, FloatRange):
        return [dimension.low, dimension.high]
    if isinstance(dimension, IntRange):
        assert dimension.low is not None and dimension.high is not None  # noqa: S101, PT018 - `Problem.of` saw to that
        return {"type": "DiscreteVariable", "values": set(range(dimension.low, dimension.high + 1))}
    return {
        "type": "DiscreteVariable",
        "values": set(dimension.values if isinstance(dimension, Choice) else (False, True)),
    }


def _dimension(variable: Any) -> Dimension:
    if hasattr(variable, "values"):
        return Choice(type="choice", values=sorted(variable.values))
    low, high = variable.domain
    return FloatRange(low=float(low), high=float(high))
