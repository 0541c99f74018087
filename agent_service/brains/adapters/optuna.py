"""Optuna: a study, in memory or in a database, asked and told by trial; a type of its own, and any study as it is.

A study in a database outlives the agent, and is told again what it knows when the agent's brain is built again. So a
trial that is there already is taken for what it is: a suggestion by its number, another point by a mark that is made of
the agent's name and what was measured. Points outside the space are left out, and counted: Optuna has no place for
them.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, JsonValue

from agent_service.brains.adapters.library_type import LibraryType, Search, library
from agent_service.brains.adapters.problem import Problem
from agent_service.models import ID_KEY
from agent_service.models.spaces import Choice, FloatRange, IntRange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.models import AgentSpec
    from agent_service.models.spaces import Dimension

_MARK: Final = "agent_service"
"""Name of the user attribute of a trial that Optuna did not suggest."""


class StudyBrain:
    """Asks and tells a study."""

    ids_outlive_it = True
    most_pending: int | None = (
        None  # any number: Optuna knows the trials that run; its TPE is told to keep away from them
    )

    def __init__(self, study: Any, problem: Problem, *, agent: str) -> None:
        self.space = dict(problem.space)
        self.objectives = problem.goals.objectives
        self.outcome_constraints = problem.constraints
        self._optuna = library("optuna")
        self._study = study
        self._agent = agent
        self._problem = problem
        self._distributions = {
            name: _distribution(self._optuna, dimension) for name, dimension in problem.space.items()
        }
        self._left_out = 0
        self._marks: Counter[str] = Counter()

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Ask for trials."""
        trials = [self._study.ask(self._distributions) for _ in range(num_points or 1)]
        return [{**trial.params, ID_KEY: trial.number} for trial in trials]

    def register_suggestions(self, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take the trials of these numbers where they are there, and add the others as running ones."""
        return [{**point, ID_KEY: self._registered(point)} for point in suggestions]

    def register_failures(self, suggestions: Sequence[Mapping[str, Any]]) -> None:
        """Tell that trials failed."""
        for point in suggestions:
            self._study.tell(point[ID_KEY], state=self._optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Tell values, of own trials or of anybody's points; each once, however often it is said."""
        for point in points:
            values = self._problem.values(point)
            excesses = dict(zip(self._problem.constraints, self._problem.goals.excesses(point), strict=True))
            if (number := point.get(ID_KEY)) is not None:
                trial = self._study.get_trials(deepcopy=False)[number] if excesses else None
                if trial is not None and not trial.state.is_finished():
                    _constrain(self._optuna.trial.Trial(self._study, trial._trial_id), excesses)  # noqa: SLF001 - a told one has no other way
                self._study.tell(number, values, skip_if_finished=True)
            elif (params := self._problem.position(point)) is None:
                self._left_out += 1
            else:
                self._added(params, values, excesses)

    def get_best_points(self) -> list[tuple[int, dict[str, Any], dict[str, float]]]:
        """Return the best trial, or those on the Pareto front."""
        return [
            (trial.number, trial.params, dict(zip(self._problem.objectives, trial.values, strict=True)))
            for trial in self._study.best_trials
        ]

    def report(self) -> dict[str, Any]:
        """Return how many trials were measured, wait to be, and will not be; of the whole study, whoever made them."""
        states = Counter(trial.state.name for trial in self._study.get_trials(deepcopy=False))
        return {
            "n_measured": states["COMPLETE"],
            "n_pending": states["RUNNING"],
            "n_not_measured": states["FAIL"],
            "n_left_out": self._left_out,
        }

    def _registered(self, point: Mapping[str, Any]) -> int | None:
        """Return the number of a point's trial, which is added unless it is there; None outside the space."""
        params = self._problem.position(point)
        if params is None:
            return None
        number, trials = point.get(ID_KEY), self._study.get_trials(deepcopy=False)
        if isinstance(number, int) and number < len(trials) and trials[number].params == params:
            return number
        return self._added(params)

    def _added(
        self, params: dict[str, Any], values: list[float] | None = None, excesses: Mapping[str, float] | None = None
    ) -> int:
        """Return the number of the trial with this mark, which is added unless it is there."""
        identity = json.dumps([self._agent, params, values], sort_keys=True)
        mark = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._marks[mark] += 1  # the same may be said twice
        mark = f"{mark}-{self._marks[mark]}"
        for trial in self._study.get_trials(deepcopy=False):
            if trial.user_attrs.get(_MARK) == mark:
                return trial.number
        states = self._optuna.trial.TrialState
        trial = self._optuna.trial.create_trial(
            state=states.RUNNING if values is None else states.COMPLETE,
            params=params,
            distributions=self._distributions,
            values=values,
            user_attrs={_MARK: mark},
        )
        _constrain(trial, excesses or {})
        self._study.add_trial(trial)
        [number] = [
            trial.number for trial in self._study.get_trials(deepcopy=False) if trial.user_attrs.get(_MARK) == mark
        ]
        return number


def _constrain(trial: Any, excesses: Mapping[str, float]) -> None:
    """Tell how far beyond its limit each outcome of a trial is."""
    for name, excess in excesses.items():
        trial.set_constraint(name, excess)


class _Config(Search):
    """Configuration of `Optuna`."""

    sampler: Literal["tpe", "gp", "cmaes", "nsga2", "nsga3", "random", "qmc"] = Field(
        default="tpe", description="how points are found; gp needs torch, cmaes the package cmaes"
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue],
        description="more for the sampler, as Optuna's documentation has it",
        examples=[{"n_startup_trials": 5}],
    )
    storage: str | None = Field(
        default=None, description="URL of a database that keeps the study; null: in memory", examples=["sqlite:///s.db"]
    )
    study: str | None = Field(default=None, description="name of the study in the database")


_SAMPLERS: Final = {
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "nsga2": "NSGAIISampler",
    "nsga3": "NSGAIIISampler",
    "random": "RandomSampler",
    "qmc": "QMCSampler",
}
_LIAR: Final = "tpe"
"""The sampler that has to be told to keep away from points that wait."""


class Optuna(LibraryType, package="optuna", several=True):
    """Suggests by one of Optuna's samplers, in mixed spaces and for one outcome or several.

    A study in a database is told once what the service measured, and goes on where others left it. Takes the fields of
    `Config`; needs ``pip install bluesky-agent-service[optuna]``.
    """

    Config = _Config

    def brain(self, spec: AgentSpec) -> StudyBrain:
        """Return the brain."""
        optuna = library("optuna")

        config, problem = self.config, self.problem(spec)
        options = {"constant_liar": True} if config.sampler == _LIAR else {}
        sampler = getattr(optuna.samplers, _SAMPLERS[config.sampler])
        study = optuna.create_study(
            directions=list(problem.objectives.values()),
            sampler=sampler(**{"seed": config.seed, **options, **config.options}),
            storage=config.storage,
            study_name=config.study or spec.name,
            load_if_exists=True,
        )
        return StudyBrain(study, problem, agent=spec.name)


def adapted(study: Any, spec: AgentSpec) -> StudyBrain:
    """Return the brain of a study that somebody made; its directions are those of the agent's outcomes, in order."""
    directions = [direction.name.lower() for direction in study.directions]
    objectives = dict(zip(spec.outcomes, directions, strict=True))
    return StudyBrain(study, Problem.towards(Problem.of(spec).space, objectives, spec), agent=spec.name)


def _distribution(optuna: Any, dimension: Dimension) -> Any:
    if isinstance(dimension, IntRange):
        return optuna.distributions.IntDistribution(dimension.low, dimension.high)
    if isinstance(dimension, FloatRange):
        return optuna.distributions.FloatDistribution(dimension.low, dimension.high)
    return optuna.distributions.CategoricalDistribution(
        dimension.values if isinstance(dimension, Choice) else [False, True]
    )
