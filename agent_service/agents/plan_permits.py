"""Whether a plan or a move may begin now: what the guardrails and the devices say when its turn has come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_service.agents import guardrail_checks
from agent_service.errors import OutOfBounds
from agent_service.models.state_machines import AgentState, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.conditions import Conditions
    from agent_service.agents.lifecycle import AgentLifecycle
    from agent_service.agents.positions import LastPositions
    from agent_service.models import Point, ServiceGuardrails
    from agent_service.plans.plan_queue import PlanQueue
    from agent_service.protocols import PlanOrder

_NO_WHOLES: Final[Mapping[str, Sequence[str]]] = {}


class PlanPermits:
    """Permits plans of agents, at their turn and when a person approves one."""

    def __init__(
        self,
        lives: Mapping[str, AgentLifecycle],
        *,
        queue: PlanQueue,
        positions: LastPositions,
        limits: ServiceGuardrails,
        conditions: Conditions,
    ) -> None:
        self._lives = lives
        self._queue = queue
        self._positions = positions
        self._limits = limits
        self._conditions = conditions

    def may_begin(self, order: PlanOrder) -> bool:
        """Return whether an agent wants its plan to begin now; raises `OutOfBounds` for a point forbidden by now."""
        life = self._lives.get(order.agent)
        if life is None or life.state is not AgentState.RUNNING or self._conditions.unmet:
            return False
        self._check_turn(order, {})
        return True

    def may_be_early(self, order: PlanOrder) -> bool:
        """Return whether a plan may be permitted while the one before it runs: no rule looks at that one."""
        life = self._lives.get(order.agent)
        return life is not None and not guardrail_checks.one_by_one(life.agent.guardrails.now)

    def ask_devices(self, order: PlanOrder) -> None:
        """Ask the devices when a plan's turn has come, before `permit`; blocks, in the driver's thread.

        Raises `OutOfBounds` when one states limits that forbid its position by now, or refuses it.
        """
        if (life := self._lives.get(order.agent)) is not None:
            life.agent.guardrails.check_turn(order.point)

    def permit(self, order: PlanOrder, places: Mapping[str, float], wholes: Mapping[str, Sequence[str]]) -> None:
        """Look at the guardrails when a plan's or a move's turn has come, right before it begins; from any thread.

        Its actuators count as sent to its point from here on. ``places`` are where they say that they are, as far as
        they do; ``wholes`` names by actuator the devices that it is a part of. Raises `OutOfBounds` when a guardrail
        forbids it by now.
        """
        self._check_turn(order, places, wholes)
        self._positions.sent(order.point)

    def _check_turn(
        self, order: PlanOrder, places: Mapping[str, float], wholes: Mapping[str, Sequence[str]] = _NO_WHOLES
    ) -> None:
        life = self._lives.get(order.agent)
        if life is None:
            raise OutOfBounds(f"there is no agent {order.agent!r} any more, so nobody says what its plan may do")
        life.agent.guardrails.check_approval(order.suggestion_id)
        guardrail_checks.check_parts(wholes, life.agent.spec.guardrails, self._limits)
        before = life.agent.guardrails.history
        history = replace(
            before,
            plan=order.plan,
            positions=dict(before.positions),
            places=places,
            runs=before.runs - 1,  # it is counted already
        )
        guardrail_checks.check(order.point, life.agent.guardrails.now, history)

    async def check_press(self, agent: HostedAgent, point: Point) -> None:
        """Raise `OutOfBounds` unless a person may approve a point.

        What is judged at its turn only: a step, while something else is to move before it; and whatever changes until
        then. ``max_runs_per_minute`` forbids nothing.
        """

        def history(places: Mapping[str, float]) -> guardrail_checks.RunHistory:
            before = agent.guardrails.history
            waiting = len(agent.record.open_in(SuggestionState.APPROVED))
            known = replace(before, places=places) if self._at_rest() else replace(before, positions={}, places={})
            return replace(known, runs=before.runs + waiting)

        await agent.guardrails.check_press(point, history)

    def _at_rest(self) -> bool:
        """Whether nothing moves, nor is to move before what is approved next."""
        status = self._queue.status
        moving = (SuggestionState.APPROVED, SuggestionState.SUBMITTED, SuggestionState.RUNNING)
        waiting = any(life.agent.record.open_in(*moving) for life in self._lives.values())
        return status.current is None and not status.pending and not waiting
