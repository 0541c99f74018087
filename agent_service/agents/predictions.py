"""What a brain believes of points that nobody measured: asked between its calls, and kept for who asks the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from agent_service.agents import sent_points
from agent_service.brains.adapter import BrainAdapter
from agent_service.errors import AgentFault, InvalidPoint, NotFound
from agent_service.models import Prediction, utcnow
from agent_service.models.own_names import to_own

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.agents.brain import HostedBrain
    from agent_service.agents.brain_keeper import BrainKeeper
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.brains.messages import Predicted
    from agent_service.models import Point, Value

_AT_ONCE: Final = 500
"""Points of one call: what a suggest or an ingest that comes meanwhile waits for."""

_KEPT: Final = 8
"""Answers that are kept until the brain is told something: several people look at the same pictures."""

_ATTEMPTS: Final = 3
"""How often it is asked anew because it was told something between two parts; then the parts differ by that."""


class Predictions:
    """Asks the brain of one agent what it believes; belongs to the event loop."""

    def __init__(self, record: AgentRecord, brain: HostedBrain, keeper: BrainKeeper) -> None:
        self._record = record
        self._brain = brain
        self._keeper = keeper
        self._kept: dict[str, Prediction] = {}
        self._kept_of: tuple[int, int, int] | None = None

    async def of(self, points: Sequence[Mapping[str, Value]]) -> Prediction:
        """Return what the brain believes of points, when its turn comes; the means are empty while it knows too little.

        Raises `InvalidPoint` for what is no point of the agent's space, `NotFound` when the brain has no ``predict``,
        `AgentFault` when that raised or returned something else; the agent goes on.
        """
        spec = self._record.spec
        checked = [_checked(index, point, self._record) for index, point in enumerate(points)]
        if not self._brain.traits.predicts:
            raise NotFound(f"agent type {spec.type!r} has no predict method; give it one to see what it believes")
        key = json.dumps(checked, sort_keys=True)
        before, parts = self._known, list["Predicted"]()
        for _ in range(_ATTEMPTS):
            before = self._known
            if (kept := self._find(key)) is not None:
                return kept
            parts = [await self._ask(checked[at : at + _AT_ONCE]) for at in range(0, len(checked), _AT_ONCE)]
            if self._known == before:
                break
        answer = _joined(parts, self._record.ingests)
        if self._known == before:
            self._keep(key, answer)
        return answer

    @property
    def _known(self) -> tuple[int, int, int]:
        """Changes when the brain is another, or was told something."""
        return self._brain.builds, self._brain.tellings, self._record.ingests

    async def _ask(self, points: Sequence[Point]) -> Predicted:
        async with self._brain.call_lock:
            part = await self._keeper.call(BrainAdapter.predict, points, timeout_s=self._record.spec.timeouts.report)
        if part.fault is not None:
            raise AgentFault(part.fault)
        return part

    def _find(self, key: str) -> Prediction | None:
        if self._kept_of != self._known:
            self._kept.clear()
        return self._kept.get(key)

    def _keep(self, key: str, answer: Prediction) -> None:
        self._kept_of = self._known
        self._kept[key] = answer
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]


def _checked(index: int, point: Mapping[str, Value], record: AgentRecord) -> Point:
    try:
        return sent_points.fitting(to_own(point, record.spec), record.spec)
    except InvalidPoint as error:
        raise InvalidPoint(f"point {index}: {error.detail}", errors=error.errors) from None


def _joined(parts: Sequence[Predicted], n_ingests: int) -> Prediction:
    columns: list[dict[str, list[float]]] = [{}, {}]
    if all(part.mean for part in parts):
        for column, of in zip(columns, ("mean", "std"), strict=True):
            for outcome in parts[0].mean:
                column[outcome] = [value for part in parts for value in getattr(part, of)[outcome]]
    worth: list[Any] = [part.acquisition for part in parts]
    acquisition = [value for part in worth for value in part] if all(worth) else None
    return Prediction(mean=columns[0], std=columns[1], acquisition=acquisition, n_ingests=n_ingests, at=utcnow())
