"""A brain that suggests the points of a list, in order: for a scan under the service's supervision, and for tests."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from agent_service.brains.builtin.record import DesignBrain, Goal
from agent_service.models import Number  # noqa: TC001 - pydantic reads it at run time


class _Config(Goal):
    """Configuration of `Sequence`."""

    named_in = "points.0"

    points: list[dict[str, Number]] = Field(
        description="points to measure, in order: actuator name to position, in the actuator's units",
        examples=[[{"motor": -1.0}, {"motor": 0.0}, {"motor": 1.0}]],
        min_length=1,
    )
    repeat: int = Field(default=1, ge=1, description="how many times to go through the list")

    @model_validator(mode="after")
    def _alike(self) -> _Config:
        names = set(self.points[0])
        if not names:
            raise ValueError("points.0 names no actuator")
        for index, point in enumerate(self.points):
            if set(point) != names:
                raise ValueError(f"points.{index} does not name the same actuators as points.0")
        return self

    @property
    def actuators(self) -> list[str]:
        """Names of the actuators, sorted."""
        return sorted(self.points[0])


class Sequence(DesignBrain):
    """Suggests given points in order, then wants to stop. Takes the fields of `Config`.

    Examples
    --------
    >>> brain = Sequence(points=[{"motor": 1}, {"motor": 2}])
    >>> brain.suggest(3)
    [{'motor': 1, '_id': 0}, {'motor': 2, '_id': 1}]
    >>> brain.ingest([{"motor": 1, "det": 0.5, "_id": 0}, {"motor": 2, "det": 0.1, "_id": 1}])
    >>> brain.should_stop()
    (True, 'all 2 points are done')
    """

    Config = _Config

    def __init__(self, **config: Any) -> None:
        self.config = _Config(**config)
        places = [{name: point[name] for name in self.config.actuators} for point in self.config.points]
        super().__init__(self.config, places * self.config.repeat, len(places) * self.config.repeat)
