"""What an agent's loop proposes: points of its brain, asked for while a plan runs if they may be, and filler points."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Final

from agent_service.agents import guardrail_checks
from agent_service.agents.fillers import Fillers
from agent_service.agents.record.suggestions import FILLER
from agent_service.agents.tasks import Role, WorkBehind
from agent_service.models import EventKind
from agent_service.models.state_machines import AgentState, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.agents.agent import HostedAgent
    from agent_service.models import Point, Suggestion

READY_WITHIN_S: Final = 0.02
"""How long a brain that is nearly done is waited for before a filler point is measured instead."""

FILLS_AGAIN_S: Final = 5.0
"""How long after there was no filler point the next one is looked for, which may cost another agent a point."""

_NOT_READY: Final = "a filler point: the brain was not ready"

_S = SuggestionState


class Proposals:
    """Asks the brain of one agent for points, in the background; belongs to the event loop.

    No more are open at a time than ``loop.max_pending`` says and the brain can have; where none is open, it is asked
    for ``loop.n_points``.
    """

    def __init__(self, agent: HostedAgent, *, find: Callable[[str], HostedAgent]) -> None:
        self._agent = agent
        self._fillers = Fillers(agent, find=find)
        self._asked_at = 0.0
        self._silent_at: tuple[int, int] | None = None  # what it knew when it had nothing to suggest
        self._asking = WorkBehind(agent.tasks, Role.ASK)
        self._finding: asyncio.Task[Point | None] | None = None
        self._fills_at = 0.0

    @property
    def pending(self) -> bool:
        """Whether the brain is being asked, or an error of that is to be raised."""
        return self._asking.pending

    async def settle(self, *, quietly: bool = False) -> None:
        """Wait until the brain has answered; raise what went wrong, unless ``quietly``."""
        await self._asking.settle(quietly=quietly)

    @property
    def unapproved(self) -> list[Suggestion]:
        """The loop's own suggestions that are not approved yet."""
        return [suggestion for suggestion in self._own_open() if suggestion.state is _S.PROPOSED]

    # the brain ----------------------------------------------------------------------------------------------------

    def ask(self) -> bool:
        """Begin to ask the brain for as many points as may be open now; return whether it is being asked."""
        if self.pending:
            return True
        n_points = self._wanted()
        if n_points:
            self._asked_at = time.monotonic()
            self._asking.begin(lambda: self._ask(n_points))
        return bool(n_points)

    def ask_ahead(self) -> None:
        """Do what `ask` does while a plan is under way, once all that was measured before has been told."""
        agent = self._agent
        if agent.spec.loop.max_pending == 1 or self.pending or agent.tasks.under_way(Role.OUTCOME):
            return
        if agent.record.state is not AgentState.RUNNING or agent.conditions.unmet or agent.brain.stop_reason:
            return
        if not guardrail_checks.spent(agent.guardrails.now, agent.guardrails.history):
            self.ask()

    def _wanted(self) -> int:
        """Return how many points the brain is to be asked for."""
        agent, loop = self._agent, self._agent.spec.loop
        if not agent.brain.is_there or not agent.brain.traits.suggests or self._silent_at == self._told:
            return 0
        n_points = loop.n_points
        if is_open := self._pending_points():
            most = agent.brain.traits.most_pending
            n_points = min(n_points, min(loop.max_pending, most or loop.max_pending) - is_open)
        return max(0, min(n_points, self._runs_left(n_points)))

    @property
    def _told(self) -> tuple[int, int]:
        """Which brain it is, and how often it was told something: with neither changed it has nothing new to say."""
        return self._agent.brain.builds, self._agent.brain.tellings

    def _runs_left(self, most: int) -> int:
        """Return how many more may be measured, those that are open included as if they succeeded."""
        record, max_runs = self._agent.record, self._agent.spec.loop.max_runs
        if max_runs is None:
            return most
        fillers = sum(suggestion.filler for suggestion in record.open.values())
        return max_runs - record.done - max(0, self._pending_points() - fillers)

    def _pending_points(self) -> int:
        """Return how many points are to be measured, or are measured or told now, as far as anybody waits for them."""
        record = self._agent.record
        waiting = record.open_in(_S.PROPOSED, _S.APPROVED)
        by_itself = sum(record.proposed_by[suggestion.id] in ("loop", FILLER) for suggestion in waiting)
        return by_itself + len(self._agent.tasks.under_way(Role.PLAN, Role.OUTCOME))

    def _own_open(self) -> list[Suggestion]:
        record = self._agent.record
        return [suggestion for suggestion in record.open.values() if record.proposed_by[suggestion.id] == "loop"]

    async def _ask(self, n_points: int) -> None:
        agent = self._agent
        tellings, is_open = self._told, bool(self._own_open())
        batch = await agent.suggest(n_points, by="loop", approve=True)
        if not batch and agent.brain.waits is None and agent.spec.listen == "own" and not is_open:
            agent.brain.stop_reason = "the agent has nothing more to suggest"
        self._silent_at = None if batch else tellings

    # filler points ------------------------------------------------------------------------------------------------

    def stop_filling(self) -> None:
        """Give up a filler point that is being found; the call of another agent's brain goes on."""
        self._finding = None

    @property
    def fills(self) -> bool:
        """Whether a filler point may be measured while the brain is not ready."""
        agent = self._agent
        if not agent.spec.loop.filler or agent.guardrails.approvals.may_be_needed or agent.brain.stop_reason:
            return False
        busy = agent.tasks.under_way(Role.ASK, Role.OUTCOME)
        is_time = time.monotonic() >= self._fills_at
        return bool(is_time and busy and not self._asking.errors and self._runs_left(1) > 0)

    @property
    def fills_in_s(self) -> float | None:
        """How long to wait until a filler point is looked for again; None if none is."""
        left = self._fills_at - time.monotonic()
        return left if left > 0.0 else 0.0 if self.fills else None

    async def fill(self) -> bool:
        """Wait for the brain a moment, then approve a filler point; return whether the loop is to look again."""
        agent = self._agent
        if await self._is_ready_soon():
            return True
        if guardrail_checks.spent(agent.guardrails.now, agent.guardrails.history):
            return False
        finding = self._finding = self._finding or agent.tasks.begin(Role.FILL, self._fillers.next())
        changed = agent.changed()
        if not finding.done():  # another agent's brain may take long
            await asyncio.wait({finding, changed}, return_when=asyncio.FIRST_COMPLETED)
        if not finding.done():
            return True
        self._finding = None
        if (point := finding.result()) is None:
            self._fills_at = time.monotonic() + FILLS_AGAIN_S
            return False
        if agent.record.state is not AgentState.RUNNING or not self.fills:
            return True
        new = {"id": str(uuid.uuid4()), "point": point, "plan": agent.spec.plan, "by": FILLER, "reason": _NOT_READY}
        fates = [{**new, "state": _S.PROPOSED}, {"id": new["id"], "state": _S.APPROVED}]
        await agent.facts.write([(EventKind.SUGGESTION_STATE, fate) for fate in fates])
        return True

    async def _is_ready_soon(self) -> bool:
        """Wait for the brain a moment, unless it thinks for longer already; return whether anything has changed."""
        asked = self._agent.tasks.under_way(Role.ASK)
        within_s = READY_WITHIN_S - (time.monotonic() - self._asked_at if asked else 0.0)
        if within_s <= 0.0:
            return False
        changed = self._agent.changed()
        busy = asked or self._agent.tasks.under_way(Role.OUTCOME)
        await asyncio.wait({*busy, changed}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        return changed.done() or any(task.done() for task in busy)
