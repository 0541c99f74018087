"""How the outcome of an agent's runs is found: by field, or by the user's function."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent_service.documents import outcomes
from agent_service.models import ID_KEY
from agent_service.models.objectives import Goals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from agent_service.agents.agent import HostedAgent
    from agent_service.documents.runs import Run
    from agent_service.models import Value


class Evaluation:
    """Finds outcomes for one agent. ``archived(uid, timeout_s)`` returns when a run is in the catalogue."""

    def __init__(self, agent: HostedAgent, *, archived: Callable[[str, float], Awaitable[None]]) -> None:
        self._agent = agent
        self._archived = archived

    @property
    def takes_every_run(self) -> bool:
        """Whether the evaluate function takes all runs of a suggestion."""
        return self._agent.brain.traits.takes in ("runs", "uids")

    async def outcome_of(self, runs: Sequence[Run], point: Mapping[str, Value], *, id_: str) -> dict[str, Any]:
        """Find the outcome of runs: by field, or by the user's function, which may want them in the catalogue.

        By name, and the standard errors that the function knows under ``_sem``.
        """
        spec, takes = self._agent.spec, self._agent.brain.traits.takes
        if not spec.evaluate:
            outcome: dict[str, Any] = await asyncio.to_thread(outcomes.by_field, runs[0], spec.outcomes)
        else:
            subjects: list[Any] = list(runs)
            if takes in ("uid", "uids"):
                subjects = [run.uid for run in runs]
                for uid in subjects:
                    await self._archived(uid, spec.timeouts.evaluate)
            subject = subjects if self.takes_every_run else subjects[0]
            outcome = (await self._agent.evaluate(subject, [{**point, ID_KEY: id_}]))[0]
        outcomes.check_evaluated(outcome, point.keys(), Goals.of(spec).needed)
        return outcome
