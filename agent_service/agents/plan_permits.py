"""Whether a plan or a move may begin now: what the guardrails and the devices say when its turn has come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent_service.agents import guardrail_checks
from agent_service.agents.approvals import EXPIRED
from agent_service.agents.device_limits import wholes_by_ways
from agent_service.agents.guardrails_in_force import elsewhere
from agent_service.errors import NotYet, OutOfBounds
from agent_service.models.state_machines import AgentState, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.conditions import Conditions
    from agent_service.agents.lifecycle import AgentLifecycle
    from agent_service.agents.positions import LastPositions
    from agent_service.models import Point, ServiceGuardrails
    from agent_service.plans.plan_queue import PlanQueue
    from agent_service.protocols import DeviceWords, PlanOrder


class PlanPermits:
    """Permits plans of agents, at their turn and when a person approves one.

    ``leads()`` says whether no other service can be at the journal now, and begin the same.
    """

    def __init__(  # noqa: PLR0913 - what there is to ask
        self,
        lives: Mapping[str, AgentLifecycle],
        *,
        queue: PlanQueue,
        positions: LastPositions,
        limits: ServiceGuardrails,
        conditions: Conditions,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._lives = lives
        self._queue = queue
        self._positions = positions
        self._limits = limits
        self._conditions = conditions
        self._leads = leads

    def may_begin(self, order: PlanOrder) -> bool:
        """Return whether an agent wants its plan to begin now; raises `OutOfBounds` for a point forbidden by now."""
        life = self._lives.get(order.agent)
        if life is None or life.state is not AgentState.RUNNING or self._conditions.unmet or not self._leads():
            return False
        if life.agent.guardrails.approvals.has_expired(order.suggestion_id):
            return False
        self._check_turn(order, {})
        return True

    def may_be_early(self, order: PlanOrder) -> bool:
        """Return whether a plan may be permitted while the one before it runs: no rule looks at what that one does.

        A rule across actuators looks at where those are that the point does not move.
        """
        if (life := self._lives.get(order.agent)) is None:
            return False
        rails = life.agent.guardrails.now
        return not guardrail_checks.one_by_one(rails) and not elsewhere(rails.rules, list(order.point))

    def ask_devices(self, order: PlanOrder) -> None:
        """Ask the devices when a plan's turn has come, before `permit`; blocks, in the driver's thread.

        Raises `OutOfBounds` when one states limits that forbid its position by now, or refuses it.
        """
        if (life := self._lives.get(order.agent)) is not None:
            life.agent.guardrails.check_turn(order.point)

    def heard_devices(self, order: PlanOrder, words: DeviceWords) -> bool:
        """Do what `ask_devices` does by what devices said already, on the event loop; False: they are to be asked.

        Raises `OutOfBounds` as that.
        """
        life = self._lives.get(order.agent)
        return life is None or life.agent.guardrails.heard_devices(order.point, words)

    def permit(
        self,
        order: PlanOrder,
        places: Mapping[str, float],
        wholes: Mapping[str, Sequence[str]] | None = None,
        *,
        begins: bool = True,
    ) -> None:
        """Look at the guardrails when a plan's or a move's turn has come, right before it begins; from any thread.

        Its actuators count as sent to its point from here on; where it may not begin after all, ``begins`` is False,
        and `note_begun` says it when it has. ``places`` are where they say that they are, as far as
        they do; ``wholes`` names by actuator the devices that it is a part of; None: the devices are elsewhere, and the
        ways to them tell (``motor.user_setpoint`` is a part of ``motor``). Raises `OutOfBounds` when a guardrail
        forbids it by now, `NotYet` when its agent does not run now, or a condition is not met: it may begin later.
        """
        self._check_running(order)
        self._check_turn(order, places, wholes)
        if begins:
            self.note_begun(order)

    def note_begun(self, order: PlanOrder) -> None:
        """Note that a plan or a move has begun: its actuators were sent to its point. From any thread."""
        self._positions.sent({name: value for name, value in order.point.items() if name in order.actuators})

    def _check_running(self, order: PlanOrder) -> None:
        if not order.suggestion_id:  # a person's move
            return
        if not self._leads():
            raise NotYet("another service may lead by now: the lease on the journal is over")
        if unmet := self._conditions.unmet:
            raise NotYet(unmet)
        if (life := self._lives.get(order.agent)) is not None and life.state is not AgentState.RUNNING:
            raise NotYet(f"the agent is {life.state}")
        if life is not None and life.agent.guardrails.approvals.has_expired(order.suggestion_id):
            raise NotYet(EXPIRED)

    def _check_turn(
        self, order: PlanOrder, places: Mapping[str, float], wholes: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        if not order.suggestion_id and not order.despite_conditions and (unmet := self._conditions.unmet):
            raise OutOfBounds(f"nothing moved: when its turn had come, a condition was not met ({unmet})")
        life = self._lives.get(order.agent)
        if life is None:
            raise OutOfBounds(f"there is no agent {order.agent!r} any more, so nobody says what its plan may do")
        life.agent.guardrails.check_approval(order.suggestion_id)
        if wholes is None:
            wholes = wholes_by_ways(order.actuators, life.agent.spec.names)
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

    async def check_press(self, agent: HostedAgent, point: Point, *, before: int = 0) -> None:
        """Raise `OutOfBounds` unless a person may approve a point, after as many others as the same press approves.

        What is judged at its turn only: a step, while something else is to move before it; and whatever changes until
        then. ``max_runs_per_minute`` forbids nothing.
        """

        def history(places: Mapping[str, float]) -> guardrail_checks.RunHistory:
            now = agent.guardrails.history
            waiting = before + len(agent.record.open_in(SuggestionState.APPROVED))
            still = not before and self._at_rest()
            known = replace(now, places=places) if still else replace(now, positions={}, places={})
            return replace(known, runs=now.runs + waiting)

        await agent.guardrails.check_press(point, history)

    def _at_rest(self) -> bool:
        """Whether nothing moves, nor is to move before what is approved next."""
        status = self._queue.status
        moving = (SuggestionState.APPROVED, SuggestionState.SUBMITTED, SuggestionState.RUNNING)
        waiting = any(life.agent.record.open_in(*moving) for life in self._lives.values())
        return status.current is None and not status.pending and not waiting
