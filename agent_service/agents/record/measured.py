"""What was measured for an agent, as far as it is kept in memory: the best of it, and the newest points."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.models import EventKind
from agent_service.models.best_measured import Bests

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent_service.models import AgentSpec, Event

MEASURED_KEPT: Final = 1000
"""Newest measured points that count for `LoopSpec.approval_distance`."""


class Measured:
    """What ingested points say; `is_old` when goals changed, and the best is to be found anew in the journal."""

    def __init__(self, spec: AgentSpec) -> None:
        self.is_old = False
        self.newest: deque[dict[str, Any]] = deque(maxlen=MEASURED_KEPT)  # positions of actuators
        self.bests = Bests()
        self.bests.begin(spec)
        self._actuators = spec.actuators

    def add(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Take points in that were ingested: actuators and outcomes by name."""
        self.bests.add(points)
        self.newest.extend({name: point[name] for name in self._actuators if name in point} for point in points)

    def take(self, facts: Iterable[Event]) -> None:
        """Take in what an agent was told."""
        for event in facts:
            if event.kind is EventKind.INGEST:
                self.add(cast("list[dict[str, Any]]", event.data["points"]))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, without whether it is old."""
        return {"newest": list(self.newest), "bests": self.bests.as_json()}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on with what `as_json` returned, when it was of the same specification."""
        self.newest.extend(data["newest"])
        self.bests.restore(data["bests"])
