"""What a brain thinks: its best points, whether to stop, its report. What is wrong with these is a note, not its end.

Measuring goes on without an opinion. So whatever these methods raise, or return in a shape that cannot be told, is said
in a line beside what the brain shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from agent_service.brains.adapters.json_values import Unfit, json_safe
from agent_service.brains.adapters.predictions import numbers, predictions
from agent_service.brains.adapters.values import best_point
from agent_service.brains.messages import Predicted
from agent_service.models import utf8
from agent_service.models.validation_messages import validation_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from agent_service.brains.adapters.optimizer_calls import OptimizerCalls
    from agent_service.brains.adapters.suggestion_ids import SuggestionIds
    from agent_service.models import BestPoint, Value
    from agent_service.models.spaces import Dimension

R = TypeVar("R")


class Opinions:
    """Asks one brain what it thinks, once it was told something; called where it lives."""

    def __init__(
        self, calls: OptimizerCalls, ids: SuggestionIds, actuators: Sequence[str], space: Mapping[str, Dimension]
    ) -> None:
        self._calls = calls
        self._ids = ids
        self._actuators = actuators
        self._space = space
        self._was_told = False
        self._has_data = False
        self._best: tuple[BestPoint, ...] | None = None
        self._faults: dict[str, str] = {}

    @property
    def fault(self) -> str | None:
        """What is wrong with what it said last, in a line."""
        return "; ".join(self._faults.values()) or None

    def ingested(self) -> None:
        """Note that it was told outcomes."""
        self._was_told = self._has_data = True
        self._best = None

    def failed(self) -> None:
        """Note that it was told of failures."""
        self._was_told = True

    def forget_best(self) -> None:
        """Let the best points be asked for anew."""
        self._best = None

    def best(self) -> tuple[BestPoint, ...]:
        """Return its best points; it is asked only when they can have changed, and never without data."""
        if self._best is None and self._has_data and self._calls.can("get_best_points"):
            self._best = self._asked("get_best_points", self._ask_best) or ()
        return self._best or ()

    def stop_reason(self) -> str | None:
        """Return why it wants to stop, None if it does not; a criterion may need data to be evaluated at all."""
        if not self._was_told or not self._calls.can("should_stop"):
            return None
        return self._asked("should_stop", self._calls.stop_reason)

    def report(self) -> tuple[dict[str, JsonValue] | None, str | None]:
        """Return its report, fit for JSON, and what is wrong with it; neither when it has none."""
        if not self._calls.can("report"):
            return None, None
        try:
            report = json_safe(answer := self._calls.report(), name="report")
        except Unfit as error:
            return None, utf8(f"its report cannot be told: {error}")
        except Exception as error:  # noqa: BLE001 - the agent boundary; told to who asked
            return None, _raised("report", error)
        if not isinstance(report, dict):
            kind = type(answer).__name__
            return None, f"report returned a {kind}; let it return a dictionary of names and values"
        return report, None

    def predicted(self, points: Sequence[Mapping[str, Value]]) -> Predicted:
        """Return what it believes of points; nothing, and why, when it has too little data or what it says is odd."""
        if not self._calls.can("predict"):
            return Predicted(fault="it has no predict")
        try:
            mean, std = predictions(self._calls.predict(points), len(points), self._calls.own_names)
            worth = self._calls.acquisition(points) if mean else None
            return Predicted(mean, std, None if worth is None else numbers(worth, len(points), "acquisition"))
        except ValueError as error:
            return Predicted(fault=utf8(first_line(error)))
        except Exception as error:  # noqa: BLE001 - the agent boundary; told to who asked
            return Predicted(fault=_raised("predict", error))

    def _asked(self, method: str, ask: Callable[[], R]) -> R | None:
        self._faults.pop(method, None)
        try:
            return ask()
        except _Shapeless as error:
            self._faults[method] = utf8(str(error))
        except Exception as error:  # noqa: BLE001 - the agent boundary; told beside what it shows
            self._faults[method] = _raised(method, error)
        return None

    def _ask_best(self) -> tuple[BestPoint, ...]:
        answer = self._calls.best_points()
        if isinstance(answer, str):
            raise _Shapeless(answer)
        return tuple(
            best_point(
                point,
                outcome,
                actuators=self._actuators,
                suggestion_id=self._ids.find(brain_id, point),
                space=self._space,
            )
            for brain_id, point, outcome in answer
        )


class _Shapeless(Exception):
    """What it returned has a shape that nobody can read."""


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or what pydantic finds wrong, in one."""
    if isinstance(error, ValidationError):
        return "; ".join(wrong.message for wrong in validation_errors(error))
    return (str(error) or type(error).__name__).splitlines()[0]


def _raised(method: str, error: Exception) -> str:
    return utf8(f"its {method} raised {type(error).__name__}: {first_line(error)}")
