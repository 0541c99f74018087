"""The agents that 0.x had for a sequence of points, to build on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.launch.legacy.agents import Agent, logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class SequentialAgentBase(Agent):
    """Suggests the points of a sequence in turn, those outside ``relative_bounds`` left out, and no more after that."""

    name = "sequential"

    def __init__(
        self, *, sequence: Iterable[Any], relative_bounds: tuple[Any, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.independent_cache: list[Any] = []
        self.observable_cache: list[Any] = []
        self.sequence, self.relative_bounds, self.suggest_count = sequence, relative_bounds, 0
        self._points = self._allowed()

    def _allowed(self) -> Iterator[Any]:
        import numpy as np  # noqa: PLC0415 - the command line starts without numpy

        for point in self.sequence:
            low, high = self.relative_bounds or (-np.inf, np.inf)
            if np.all(np.asarray(point) >= low) and np.all(np.asarray(point) <= high):
                yield point
            else:
                logger.warning("a point of the sequence of %s is out of its bounds, and left out", self.instance_name)

    def ingest(self, x: Any, y: Any) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride] - as subclasses call it
        """Keep what was measured."""
        self.independent_cache.append(x)
        self.observable_cache.append(y)
        return {"independent_variable": x, "observable": y, "cache_len": len(self.independent_cache)}

    def suggest(self, batch_size: int = 1) -> tuple[list[dict[str, Any]], list[Any]]:
        """Return the next points, fewer at the end of the sequence."""
        docs: list[dict[str, Any]] = []
        points: list[Any] = []
        for point in self._points:
            self.suggest_count += 1
            points.append(point)
            docs.append({"proposal": point, "suggestion_count": self.suggest_count})
            if len(points) == batch_size:
                break
        return docs, points

    def report(self, **kwargs: Any) -> dict[str, Any]:
        """Return how far it is."""
        try:
            return {"percent_completion": self.suggest_count / len(self.sequence)}  # pyright: ignore[reportArgumentType]
        except TypeError:  # a generator has no length
            return {"suggest_count": self.suggest_count}
