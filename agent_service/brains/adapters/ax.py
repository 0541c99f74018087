"""Ax, as ``AxOptimizer`` and ``Agent`` of bluesky-adaptive 1.x and of Blop: the same tree under two names.

Ax is imported when somebody makes one. Differences from these classes: values have the parameters' types (a whole
number, a text), points are also registered with an ``Agent``, a failed point is not suggested again, and an Ax that
waits for data says so. The agent's specification or Ax's own configuration holds the goals; an objective that Ax does
not know, as a target, is a metric that is computed here. The service finds the front of several objectives itself: Ax
would fit a model each time.
"""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agent_service.brains.adapters.library_type import library
from agent_service.brains.not_now import NotNow
from agent_service.models import ID_KEY
from agent_service.models.objectives import Goals
from agent_service.models.standard_errors import errors_of_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import AgentSpec

_OF_PLANS: Final = (
    "_acquisition_plan",
    "_actuators",
    "_callback_router",
    "_callbacks",
    "_evaluation_function",
    "_sensors",
)
_WAITS: Final = frozenset({"MaxParallelismReachedException", "DataRequiredError"})
_ENDS: Final = frozenset({"OptimizationComplete", "SearchSpaceExhausted"})
_NO_MODEL: Final = frozenset({"UnsupportedError", "AssertionError", "GenerationStrategyMisconfiguredException"})


class AxBrain:
    """Asks and tells an ``AxOptimizer``, or the one in an ``Agent``."""

    most_pending: int | None = None  # any number: Ax knows the points that wait
    takes_sem = True

    def __init__(self, thing: Any, spec: AgentSpec) -> None:
        self._thing = thing
        self._optimizer = getattr(thing, "_optimizer", thing)
        self._client = self._optimizer.ax_client
        parameters = self._client._experiment.parameters  # noqa: SLF001 - it has no public way
        self.space = {name: _dimension(parameter) for name, parameter in parameters.items() if name in spec.actuators}
        self._goals = Goals.of(spec)
        aims = self._client._experiment.optimization_config  # noqa: SLF001 - as above
        self.objectives = _objectives(aims.objective)
        self.outcome_constraints = _limits(aims.outcome_constraints)

    @staticmethod
    def maker(factory: Callable[..., object]) -> Callable[..., object]:
        """Return what makes an ``Agent`` from JSON; an ``AxOptimizer`` takes it as it is."""
        return _AgentMaker(factory) if factory.__name__ == "Agent" else factory

    @staticmethod
    def filled(spec: AgentSpec) -> dict[str, Any]:
        """Return the configuration of an ``AxOptimizer``; what is good is the specification's, unless it says it."""
        goals, config = Goals.of(spec), dict(spec.config)
        if goals.objectives:
            named = [f"{'-' * (direction == 'minimize')}{name}" for name, direction in goals.columns.items()]
            config.setdefault("objective", ", ".join(named))
        return _constrained(config, goals)

    @property
    def checkpoint_path(self) -> object:
        """Where it saves itself, None for nowhere."""
        return self._thing.checkpoint_path

    @property
    def not_saved(self) -> dict[str, object]:
        """What an ``Agent``'s own plans need, of which the service runs none: consoles and devices, for example."""
        parts = {name: getattr(self._thing, name, None) for name in _OF_PLANS}
        return {name: thing for name, thing in parts.items() if thing is not None}

    def suggest(self, num_points: int | None = None) -> Sequence[Mapping[str, Any]]:
        """Return points of Ax's trials; `NotNow` while Ax needs data first."""
        try:
            return self._thing.suggest(num_points or 1)
        except Exception as error:
            kinds = _kinds(error)
            if kinds & _WAITS:
                raise NotNow("Ax needs outcomes of the points that are under way") from error
            if kinds & _ENDS:
                return []
            raise

    def register_suggestions(self, suggestions: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Attach trials."""
        return self._optimizer.register_suggestions([self._cast(point) for point in suggestions])

    def register_failures(self, suggestions: Sequence[Mapping[str, Any]]) -> None:
        """Abandon trials: Ax suggests a failed one again, and nobody wants that of a point that failed here."""
        for point in suggestions:
            self._client.mark_trial_abandoned(point[ID_KEY])

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Complete trials, or attach those of others; a pair is a mean and its standard error."""
        self._thing.ingest([self._cast(point) for point in points])

    def get_best_points(self) -> Sequence[tuple[Any, Any, Any]]:
        """Return the best point for a single objective; none as long as Ax knows none that meets the constraints."""
        objective = self._client._experiment.optimization_config.objective  # noqa: SLF001 - it has no public way
        if objective.is_multi_objective:
            return []
        try:
            return self._thing.get_best_points()
        except AssertionError:  # what Ax says when no point is feasible
            return []

    def predict(self, points: Sequence[Mapping[str, Any]]) -> list[dict[str, tuple[float, float]]]:
        """Return mean and standard error of each metric at points; none while Ax has no model that predicts."""
        try:
            return self._client.predict([self._cast(point) for point in points])
        except Exception as error:
            if _kinds(error) & _NO_MODEL:
                return []
            raise

    def should_stop(self) -> object:
        """Ask its stopping strategy."""
        return self._optimizer.should_stop()

    def checkpoint(self) -> None:
        """Let it save itself."""
        self._thing.checkpoint()

    def report(self) -> dict[str, Any]:
        """Return how many points were measured, wait to be, and will not be: failed, rejected, or edited."""
        trials = self._client._experiment.trials.values()  # noqa: SLF001 - as above
        states = Counter(trial.status.name for trial in trials)
        return {
            "n_measured": states["COMPLETED"],
            "n_pending": states["RUNNING"],
            "n_not_measured": states["ABANDONED"] + states["FAILED"],
        }

    def _cast(self, point: Mapping[str, Any]) -> dict[str, Any]:
        parameters = self._client._experiment.parameters  # noqa: SLF001 - as above
        sems = errors_of_pairs(point)
        derived = self._goals.derived({**point, **{name: point[name][0] for name in sems}})
        errors = self._goals.derived_errors(sems)
        known = {name: (value, errors[name]) if name in errors else value for name, value in derived.items()}
        cast = {name: parameters[name].cast(value) if name in parameters else value for name, value in point.items()}
        return {**cast, **known}


def _kinds(error: Exception) -> set[str]:
    return {base.__name__ for base in type(error).__mro__}


def _dimension(parameter: Any) -> dict[str, Any]:
    kind = parameter.parameter_type.name
    if hasattr(parameter, "values"):
        return {"type": "bool"} if kind == "BOOL" else {"type": "choice", "values": list(parameter.values)}
    if not hasattr(parameter, "lower"):  # fixed, or made of others
        return {"type": {"INT": "int", "FLOAT": "float", "BOOL": "bool"}.get(kind, "text")}
    return {"type": "int" if kind == "INT" else "float", "low": parameter.lower, "high": parameter.upper}


def _objectives(objective: Any) -> dict[str, dict[str, Any]]:
    """Return Ax's objective as the service has it."""
    weigh = objective.is_scalarized_objective
    return {
        name: {"direction": "maximize" if weight > 0 else "minimize", **({"weight": abs(weight)} if weigh else {})}
        for name, weight in objective.metric_weights
    }


def _limits(constraints: Sequence[Any]) -> dict[str, dict[str, float]]:
    """Return those of Ax's constraints that are of one outcome and of its value itself."""
    limits: dict[str, dict[str, float]] = {}
    for constraint in constraints:
        if len(constraint.metric_weights) == 1 and not constraint.relative:
            [(name, weight)] = constraint.metric_weights
            at_most = (constraint.op.name == "LEQ") == (weight > 0)
            limits.setdefault(name, {})["max" if at_most else "min"] = constraint.bound / weight
    return limits


def _constrained(config: dict[str, Any], goals: Goals) -> dict[str, Any]:
    texts = [
        f"{name} {sign} {bound!r}"
        for name, limit in goals.limits.items()
        for sign, bound in (("<=", limit.max), (">=", limit.min))
        if bound is not None
    ]
    return {**({"outcome_constraints": texts} if texts else {}), **config}


class _Dof(BaseModel):
    """A degree of freedom: a range (bounds) or a choice (values)."""

    model_config = ConfigDict(extra="forbid")

    name: str
    bounds: tuple[float, float] | None = None
    values: list[bool] | list[int] | list[float] | list[str] | None = None
    parameter_type: Literal["float", "int", "str", "bool"] = "float"
    step_size: float | None = None
    scaling: Literal["linear", "log"] | None = None
    is_ordered: bool | None = None


class _Objective(BaseModel):
    """An outcome to be made high or low."""

    model_config = ConfigDict(extra="forbid")

    name: str
    minimize: bool = False


class _AgentConfig(BaseModel):
    """What Blop's ``Agent`` is made of; devices, plan and evaluation are the service's."""

    model_config = ConfigDict(extra="forbid")

    dofs: list[_Dof] = Field(min_length=1, description="what may be varied: each a range (bounds) or a choice (values)")
    objectives: list[_Objective] = Field(min_length=1, description="outcomes to be made high or low")
    dof_constraints: list[str] = Field(default_factory=list[str], examples=[["x + y <= 12"]])
    outcome_constraints: list[str] = Field(default_factory=list[str], examples=[["dose <= 3"]])
    checkpoint_path: str | None = None
    experiment: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue], description="more, for Ax")


class _AgentMaker:
    """Makes an ``Agent`` of the package that its class is in."""

    Config = _AgentConfig

    def __init__(self, factory: Callable[..., object]) -> None:
        self._factory = factory
        self.__name__, self.__doc__, self.__module__ = "Agent", factory.__doc__, factory.__module__

    @staticmethod
    def filled(spec: AgentSpec) -> dict[str, Any]:
        """Return the configuration with what the specification says is good, where it has none."""
        goals, config = Goals.of(spec), dict[str, Any](spec.config)
        if goals.objectives:
            named: list[Any] = [{"name": name, "minimize": way == "minimize"} for name, way in goals.columns.items()]
            config.setdefault("objectives", named)
        return _constrained(config, goals)

    def __call__(self, **config: Any) -> object:
        made = _AgentConfig(**config)
        home = library(f"{self.__module__.rpartition('.')[0]}.dof")
        return self._factory(
            sensors=[],
            dofs=[_dof(home, dof) for dof in made.dofs],
            # of an objective or a constraint it asks only for the text that Ax is to have
            objectives=[
                SimpleNamespace(ax_expression=f"{'-' * objective.minimize}{objective.name}")
                for objective in made.objectives
            ],
            evaluation_function=None,
            dof_constraints=[SimpleNamespace(ax_constraint=text) for text in made.dof_constraints],
            outcome_constraints=[SimpleNamespace(ax_constraint=text) for text in made.outcome_constraints],
            checkpoint_path=made.checkpoint_path,
            **made.experiment,
        )


def _dof(home: Any, dof: _Dof) -> object:
    return (home.ChoiceDOF if dof.bounds is None else home.RangeDOF)(**dof.model_dump(exclude_none=True))
