"""The desk at which approved suggestions are claimed, renewed and released: between the routes and the sink."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from agent_service import context
from agent_service.errors import BackendUnavailable, Conflict, Forbidden
from agent_service.models import Claim
from agent_service.models.state_machines import AgentState, SuggestionState
from agent_service.service.keys import Scope

if TYPE_CHECKING:
    from agent_service.agents.supervisor import Supervisor
    from agent_service.models import ClaimRequest, ReleaseRequest, RenewRequest, Suggestion
    from agent_service.plans.sinks.claim_leases import Claims
    from agent_service.plans.sinks.claimed_plan import ClaimedPlan
    from agent_service.protocols import PlanOrder
    from agent_service.service.keys import Key

_ENDED: Final = frozenset({AgentState.STOPPED, AgentState.FAILED})
_UNDER_WAY: Final = frozenset({SuggestionState.SUBMITTED, SuggestionState.RUNNING})

SETTLES_WITHIN_S: Final = 5.0
"""How long an answer to a release waits for the suggestion's fate to be written."""


class ClaimDesk:
    """Hands plans out to whoever measures; belongs to the event loop."""

    def __init__(self, claims: Claims, supervisor: Supervisor, stopping: asyncio.Event) -> None:
        self._claims = claims
        self._supervisor = supervisor
        self._stopping = stopping

    async def claim(self, request: ClaimRequest, key: Key) -> Claim | None:
        """Claim a suggestion, or wait for one; None when none came, or the agent it would come from has ended.

        What was claimed before and is ``done`` is released first. Raises `NotFound` for an unknown agent, `Conflict`
        for who may not claim here, `BackendUnavailable` when the claim cannot be written: it is none then.
        """
        if (done := request.done) is not None:
            self.refuse_stranger(done.id, key, to="release it")
            with contextlib.suppress(Conflict):  # it was told before, or its claim ran out: the documents say the rest
                self._claims.done(done.id, done.runs)
        name = request.agent
        if name is not None:
            self._supervisor.agent(name)

        def over() -> bool:
            life = None if name is None else self._supervisor.lives.get(name)
            return name is not None and (life is None or life.state in _ENDED)

        claiming = asyncio.ensure_future(
            self._claims.claim(
                name,
                by=context.acting() or "",
                lease_s=request.lease_s,
                wait_s=request.wait_s,
                over=over,
                fits=lambda order: _fits(order, request),
                says_done=request.says_done,
                session=request.session,
            )
        )
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({claiming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            order = claiming.result() if claiming.done() else None
        finally:
            claiming.cancel()
            stopping.cancel()
        if order is None:
            return None
        try:
            await self._supervisor.queue.facts.write_claim(
                "claim",
                order.suggestion_id,
                agent=order.agent,
                lease_s=request.lease_s,  # for a service after this one
                says_done=request.says_done,
            )
            claimed = self._claims.renew(order.suggestion_id)
        except Conflict:  # its fate was decided otherwise meanwhile
            return None
        except BaseException:
            with contextlib.suppress(Conflict):
                self._claims.release(order.suggestion_id, how="unused", reason="")
            raise
        return self._answer(claimed)

    def renew(self, suggestion_id: str, request: RenewRequest, key: Key) -> Claim:
        """Begin a lease anew; `Conflict` where nobody holds a claim, `Forbidden` where another key does."""
        self._supervisor.owner(suggestion_id)
        if (holder := self._claims.holder(suggestion_id)) not in (None, key.name):
            raise Forbidden(_not_theirs(suggestion_id, holder, "renew it"))
        return self._answer(self._claims.renew(suggestion_id, request.lease_s))

    def refuse_stranger(self, suggestion_id: str, key: Key, *, to: str) -> None:
        """Raise `Forbidden` when another key holds a claim, unless this one has the scope ``approve``."""
        holder = self._claims.holder(suggestion_id)
        if holder not in (None, key.name) and Scope.APPROVE not in key.scopes:
            raise Forbidden(f"{_not_theirs(suggestion_id, holder, to)}; or a key with the scope 'approve'")

    async def release(self, suggestion_id: str, request: ReleaseRequest, key: Key) -> Suggestion:
        """End a claim, and return the suggestion with its fate; of a plan that is done, as it is by now.

        Raises as `renew`; a key with the scope ``approve`` may release what another one holds.
        """
        owner = self._supervisor.owner(suggestion_id)
        self.refuse_stranger(suggestion_id, key, to="release it")
        if request.how == "done":
            self._claims.done(suggestion_id, request.runs)
            return owner.record.suggestion(suggestion_id)
        who = context.person()
        reason = request.reason or f"released by {'who claimed it' if who == context.A_PERSON else who} ({request.how})"
        self._claims.release(suggestion_id, how=request.how, reason=reason)
        with contextlib.suppress(BackendUnavailable):  # whoever measures must be able to say that it ended
            await self._supervisor.queue.facts.write_claim(
                "release", suggestion_id, agent=owner.name, reason=reason, how=request.how
            )
        clock = asyncio.get_running_loop()
        deadline = clock.time() + SETTLES_WITHIN_S
        while request.how != "unused" and owner.record.suggestion(suggestion_id).state in _UNDER_WAY:
            if (left := deadline - clock.time()) <= 0:
                break
            await asyncio.wait({owner.changed()}, timeout=left)
        return owner.record.suggestion(suggestion_id)

    def _answer(self, claimed: ClaimedPlan) -> Claim:
        order = claimed.order
        suggestion = self._supervisor.owner(order.suggestion_id).record.suggestion(order.suggestion_id)
        return Claim(
            **suggestion.model_dump(),
            actuators=list(order.actuators),
            sensors=list(order.sensors),
            md=self._claims.metadata(order),
            lease_s=claimed.lease.duration_s,
        )


def _fits(order: PlanOrder, request: ClaimRequest) -> bool:
    moves = request.actuators is None or set(order.actuators) <= set(request.actuators)
    return moves and request.tag in (None, order.tag)


def _not_theirs(suggestion_id: str, holder: str | None, to: str) -> str:
    return f"suggestion {suggestion_id} is claimed with the key {holder!r}, and only that one may {to}"
