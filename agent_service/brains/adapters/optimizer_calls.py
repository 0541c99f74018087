"""How bluesky-adaptive 1.x's ``Optimizer`` is called: by its own names of the actuators, and only what it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from agent_service.brains.adapters.values import best_parts, suggested
from agent_service.brains.coroutines import called
from agent_service.models import ID_KEY
from agent_service.models.own_names import renamed, renamed_space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from agent_service.models import AgentSpec, Point, Value
    from agent_service.models.spaces import Dimension


class OptimizerCalls:
    """A brain of that shape, which is never imported; what is a coroutine is awaited here."""

    def __init__(self, brain: object, spec: AgentSpec, space: Mapping[str, Dimension]) -> None:
        self._brain: Any = brain
        self._brain_names = spec.names
        self._names = {brain_name: name for name, brain_name in spec.names.items()}
        self._space = renamed_space(space, spec.names)
        self._actuators = [spec.names.get(name, name) for name in spec.actuators]

    @property
    def most_pending(self) -> int | None:
        """How many suggestions it can have open at a time, if it says so in an attribute of that name."""
        most = getattr(self._brain, "most_pending", None)
        return most if type(most) is int and most > 0 else None

    @property
    def takes_sem(self) -> bool:
        """Whether it says, in an attribute of that name, that it takes ``(value, sem)`` where the latter is known."""
        return getattr(self._brain, "takes_sem", False) is True

    @property
    def not_saved(self) -> Mapping[str, object]:
        """What a family says, in an attribute of that name, is no part of its state, by name: it may not pickle."""
        named: object = getattr(self._brain, "not_saved", None)
        return cast("dict[str, object]", named) if isinstance(named, dict) else {}

    def can(self, method: str) -> bool:
        """Return whether the brain has a method."""
        return callable(getattr(self._brain, method, None))

    def suggest(self, number: int) -> list[tuple[Point, object, dict[str, JsonValue]]]:
        """Return at most ``number`` points, each with the brain's id of it or None, and what else it said of it.

        Raises `ValueError` when what it returned is no list of points.
        """
        suggestions = suggested(
            self._call("suggest", number), asked=number, actuators=self._actuators, space=self._space
        )
        return [(renamed(point, self._names), brain_id, extra) for point, brain_id, extra in suggestions]

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Tell it outcomes."""
        self._call("ingest", self._renamed(points))

    def register_suggestions(
        self, points: Sequence[Mapping[str, Value]], brain_ids: Sequence[object] = ()
    ) -> list[object]:
        """Let it know points as if it had suggested them; return its id of each.

        It gets ``brain_ids``, which it gave them once, only if it says by ``ids_outlive_it`` that it may know them.
        """
        known = self._renamed(points)
        if getattr(self._brain, "ids_outlive_it", False):
            known = [
                point if brain_id is None else {**point, ID_KEY: brain_id}
                for point, brain_id in zip(known, brain_ids or [None] * len(known), strict=True)
            ]
        registered = self._call("register_suggestions", known)
        return [point.get(ID_KEY) for point in cast("Sequence[Mapping[str, object]]", registered)]

    def register_failures(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Tell it which of its suggestions nobody is going to measure."""
        self._call("register_failures", self._renamed(points))

    def best_points(self) -> list[tuple[object, Mapping[str, Any], Mapping[str, Any]]] | str:
        """Return id, point and outcome of each best point; or what is wrong with what it returned, in one line."""
        result = self._call("get_best_points")
        try:
            return [
                (brain_id, renamed(point, self._names), renamed(outcome, self._names))
                for brain_id, point, outcome in best_parts(result)
            ]
        except ValueError as error:
            return str(error)

    def stop_reason(self) -> str | None:
        """Return why it wants to stop, None if it does not."""
        answer = self._call("should_stop")
        stop, reason = cast("tuple[bool, str | None]", answer if isinstance(answer, tuple) else (bool(answer), None))
        return str(reason or "its stopping criterion is met") if stop else None

    def checkpoint(self) -> None:
        """Let it save itself, where it can and has a place for it."""
        # Ax's optimizer raises on a checkpoint for which it was given no path
        if self.can("checkpoint") and getattr(self._brain, "checkpoint_path", True):
            self._call("checkpoint")

    @property
    def own_names(self) -> Mapping[str, str]:
        """The service's names by the brain's, where they differ."""
        return self._names

    def predict(self, points: Sequence[Mapping[str, Value]]) -> object:
        """Return what it believes of points: a mapping of outcome to mean and standard deviation for each."""
        return self._call("predict", self._renamed(points))

    def acquisition(self, points: Sequence[Mapping[str, Value]]) -> object:
        """Return what measuring at points is worth to it, a number for each; None when it does not say."""
        return self._call("acquisition", self._renamed(points)) if self.can("acquisition") else None

    def report(self) -> object:
        """Return what it thinks."""
        return self._call("report")

    def _call(self, method: str, *args: object) -> Any:
        return called(getattr(self._brain, method), *args, of=method)

    def _renamed(self, points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [renamed(point, self._brain_names) for point in points]
