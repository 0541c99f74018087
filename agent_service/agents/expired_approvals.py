"""Approvals that have expired: what was approved and has not begun waits for a person again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from agent_service.errors import IllegalTransition
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from agent_service.agents.agent import HostedAgent
    from agent_service.models import Suggestion


async def take_back_expired(agent: HostedAgent) -> None:
    """Let what was approved and has not begun wait for a person again, when its approval has expired."""
    for suggestion in agent.record.open_in(SuggestionState.APPROVED):
        if agent.guardrails.approvals.expires_in_s(suggestion) == 0:
            with contextlib.suppress(IllegalTransition):  # somebody decided meanwhile
                await _take_back(agent, suggestion)


async def _take_back(agent: HostedAgent, suggestion: Suggestion) -> None:
    record, lasts_s = agent.record, agent.spec.loop.approval_expires_s
    # all that there is to say of it, as when it was proposed: who follows the events may not have heard that
    about: dict[str, Any] = {
        "point": suggestion.point,
        "plan": suggestion.plan,
        "by": record.proposed_by[suggestion.id],
        **({"extra": suggestion.extra} if suggestion.extra else {}),
        **({"by_hand": True} if suggestion.proposed_by else {}),
    }
    reason = f"the approval by {suggestion.approved_by or 'a person'} expired after {lasts_s:g} s: approve it again"
    await agent.facts.advance(suggestion.id, SuggestionState.PROPOSED, **about, again=True, reason=reason)
