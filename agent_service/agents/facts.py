"""Writes the facts of an agent: those that its state machines allow, and that are folded into its record."""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Any

from agent_service.agents.call_lock import FairLock
from agent_service.agents.sent_points import TAKES_OUTCOME
from agent_service.errors import AgentFault, BackendUnavailable, ServiceError, texts
from agent_service.models import ID_KEY, EventKind
from agent_service.models.state_machines import (
    ALIVE,
    OPEN,
    AgentState,
    SuggestionState,
    check_agent,
    check_person,
    check_suggestion,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from agent_service.agents.beam_time import BeamTime
    from agent_service.agents.brain_restarts import Restart, RestartPolicy
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.journal import JournalLog
    from agent_service.models import Suggestion

Fact = tuple[EventKind, dict[str, Any]]


class AgentFacts:
    """Writes the facts of one agent, one transition at a time; belongs to the event loop.

    Each method raises `BackendUnavailable` when the journal cannot be written, and then nothing has changed.
    """

    def __init__(self, record: AgentRecord, journal: JournalLog, beam_time: BeamTime) -> None:
        self._record = record
        self._journal = journal
        self._beam_time = beam_time
        self._states = FairLock()
        self.fates = FairLock()  # held while a fate is decided and written
        self._began_at: dict[str, float] = {}
        self._took_s: dict[str, float] = {}

    def refuse_requests(self, fault: str | None) -> None:
        """Let no request wait behind a fact that waits for the journal; None: let them wait again."""
        self._states.refuse_requests(fault)
        self.fates.refuse_requests(fault)

    async def become(self, state: AgentState, reason: str | None = None, **more: Any) -> None:
        """Write that the agent is in ``state`` now; `IllegalTransition` when there is no such transition."""
        async with self._states:
            await self._become(state, reason, **more)

    async def become_in_turn(self, *steps: tuple[AgentState, dict[str, Any]]) -> None:
        """Write that the agent went through several states, all or none; each with its ``reason`` and whatever more."""
        async with self._states:
            state = self._record.state
            for following, _ in steps:
                check_agent(state, following)
                state = following
            await self.write([(EventKind.AGENT_STATE, {"state": following, **more}) for following, more in steps])
            self._beam_time.follow(state)

    async def become_from(
        self, states: Collection[AgentState], state: AgentState, reason: str | None = None, **more: Any
    ) -> bool:
        """Write that the agent is in ``state`` now, if it still is in one of ``states``; return whether it was.

        The state that it is in already, with another reason, is no step; with the same reason, it is not said again.
        """
        async with self._states:
            if self._record.state not in states:
                return False
            is_step = state is not self._record.state
            if is_step or more or (reason and texts.one_line(reason)) != self._record.reason:
                await self._become(state, reason, is_step=is_step, **more)
            return True

    async def _become(self, state: AgentState, reason: str | None, *, is_step: bool = True, **more: Any) -> None:
        if is_step and not more.get("removed"):  # a removal is the end in any state
            check_agent(self._record.state, state)
        line = None if reason is None else texts.one_line(reason)
        await self._append(EventKind.AGENT_STATE, {"state": state, "reason": line, **more})
        self._beam_time.follow(state)

    async def failed(
        self, error: ServiceError, restarts: RestartPolicy, *, during: str | None = None
    ) -> Restart | None:
        """Write that the agent failed, or is ``starting`` again if ``restarts`` allows; nothing when it is ending.

        Returns the restart that is due, if one is.
        """
        where = "" if during is None else f"{during} failed: "
        last_error = {
            "code": error.code,
            "message": f"{during}: {error.detail}" if during else error.detail,
            "traceback": error.traceback if isinstance(error, AgentFault) else None,
        }
        async with self._states:
            record = self._record
            if record.state not in ALIVE:
                return None
            before = restarts.as_before(record)
            restart = restarts.next(record, error)
            if restart is None:
                reason = f"{where}{error.detail}{restarts.in_vain()}"
                await self._become(AgentState.FAILED, reason, error=last_error)
                return None
            restarts.survive(error)
            reason = f"restarting after {where}{error.detail} {restart.sentence}"
            as_before = before.model_dump(mode="json")
            await self._become(AgentState.STARTING, reason, error=last_error, restart_as=as_before)
            restarts.began(restart)
            return restart

    async def advance(
        self, suggestion_id: str, state: SuggestionState, *, by_person: bool = False, **data: Any
    ) -> Suggestion:
        """Write the next fate of a suggestion, with ``data`` beside it; ``fault=True`` counts towards ``max_failures``.

        A decision ``by_person`` is possible only for what is not in the queue yet. Raises `IllegalTransition` when its
        fate does not allow that.
        """
        async with self.fates:
            before = self._record.suggestion(suggestion_id).state
            check_suggestion(before, state)
            if by_person:
                check_person(before, state)
            if data.get("reason"):  # a plan's, a person's, or a document's
                data["reason"] = texts.one_line(str(data["reason"]))
            fact = {"id": suggestion_id, "state": state, **data, **self._timed(suggestion_id, before)}
            if by_person and state is SuggestionState.APPROVED:
                fact["word"] = True
            await self._append(EventKind.SUGGESTION_STATE, fact)
            if state is SuggestionState.RUNNING:
                self._began_at[suggestion_id] = time.monotonic()
            else:
                self._forget_time(suggestion_id)
        return self._record.suggestions[suggestion_id]

    async def note_runs(self, suggestion_id: str, run_uids: Sequence[str]) -> None:
        """Write that the plan of a suggestion has ended, and which runs it made: after a crash that is known."""
        async with self.fates:
            if self._record.suggestion(suggestion_id).state is SuggestionState.RUNNING:
                fact = {"id": suggestion_id, "state": SuggestionState.RUNNING, "run_uid": run_uids[0]}
                await self._append(EventKind.SUGGESTION_STATE, {**fact, "run_uids": list(run_uids)})

    async def ingested(self, fact: dict[str, Any], suggestion_ids: Sequence[str], run_uids: Sequence[str]) -> None:
        """Write what the brain was told, and the fates of the suggestions that it is about, all or nothing."""
        async with self.fates:
            fates: list[Fact] = []
            ingested = {point[ID_KEY]: point for point in fact["points"] if point.get(ID_KEY)}
            for suggestion_id in suggestion_ids:
                suggestion = self._record.suggestion(suggestion_id)
                if suggestion.state in TAKES_OUTCOME:
                    late, timed = _late(suggestion, run_uids), self._timed(suggestion_id, suggestion.state)
                    fate = {"id": suggestion_id, "state": SuggestionState.INGESTED, **late, **timed}
                    if suggestion.outcome is None:  # by hand, or of a run that came late
                        fate["outcome"] = _outcome(suggestion, ingested[suggestion_id])
                    fates.append((EventKind.SUGGESTION_STATE, fate))
            await self.write([(EventKind.INGEST, fact), *fates])
            for suggestion_id in suggestion_ids:
                self._forget_time(suggestion_id)

    async def propose_again(self, suggestion: Suggestion) -> None:
        """Write that the point of a suggestion that was interrupted is to be measured as another suggestion."""
        again = {"id": str(uuid.uuid4()), "state": SuggestionState.PROPOSED, "point": suggestion.point, "by": "loop"}
        extra = {"extra": suggestion.extra} if suggestion.extra else {}
        await self._append(
            EventKind.SUGGESTION_STATE, {**again, "plan": suggestion.plan, "retry_of": suggestion.id, **extra}
        )

    def post_approved(self, suggestion_id: str, reason: str) -> None:
        """Let it be written behind that a suggestion is approved again; nothing if the journal takes nothing now."""
        fact = {"id": suggestion_id, "state": SuggestionState.APPROVED, "reason": reason}
        with contextlib.suppress(BackendUnavailable):
            self._journal.post(EventKind.SUGGESTION_STATE, self._record.spec.name, fact)

    async def void(self, suggestion: Suggestion, reason: str) -> str:
        """Write that a run does not count, and that its point is approved again as another suggestion: return its id.

        A person's word for the point holds for that one too. All in one commit, so that no kill loses the point.
        """
        async with self.fates:
            old = self._record.suggestion(suggestion.id)
            check_suggestion(old.state, SuggestionState.ABANDONED)
            again: dict[str, Any] = {"id": str(uuid.uuid4()), "point": old.point, "plan": old.plan, "retry_of": old.id}
            again |= {"extra": old.extra} if old.extra else {}
            again |= {"by_hand": True} if old.proposed_by else {}
            word = {"word": True} if old.id in self._record.approved_by_person else {}
            fates: list[dict[str, Any]] = [
                {**again, "state": SuggestionState.PROPOSED, "by": self._record.proposed_by[old.id]},
                {"id": again["id"], "state": SuggestionState.APPROVED, **word},
                {
                    "id": old.id,
                    "state": SuggestionState.ABANDONED,
                    "reason": texts.one_line(f"{reason}; its point is measured again"),
                    "void": True,
                    **self._timed(old.id, old.state),
                },
            ]
            await self.write([(EventKind.SUGGESTION_STATE, fate) for fate in fates])
            self._forget_time(old.id)
        return again["id"]

    async def configured(self, **data: Any) -> None:
        """Write a change of the agent's configuration."""
        await self._append(EventKind.CONFIG, data)

    async def write(self, facts: Sequence[Fact]) -> None:
        """Write several facts, all or nothing."""
        for written in self._journal.post_together(self._record.spec.name, facts):  # one commit: all fail, or none
            await written

    async def _append(self, kind: EventKind, data: dict[str, Any]) -> None:
        await self._journal.append(kind, self._record.spec.name, data)

    # how long runs take -------------------------------------------------------------------------------------------

    def run_ended(self, suggestion_id: str) -> None:
        """Note that the plan of a suggestion has ended: what follows, as finding its outcome, takes no beam time."""
        if (began_at := self._began_at.get(suggestion_id)) is not None:
            self._took_s[suggestion_id] = time.monotonic() - began_at

    def _timed(self, suggestion_id: str, before: SuggestionState) -> dict[str, float | None]:
        """Return how long the run took, by a clock that nobody sets; None when it began before a restart."""
        if before is not SuggestionState.RUNNING:
            return {}
        if suggestion_id not in self._took_s:
            self.run_ended(suggestion_id)
        return {"run_time_s": self._took_s.get(suggestion_id)}

    def _forget_time(self, suggestion_id: str) -> None:
        self._began_at.pop(suggestion_id, None)
        self._took_s.pop(suggestion_id, None)


def _outcome(suggestion: Suggestion, point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outcome in what the brain was told of a suggestion: what is neither its point nor the brain's own."""
    return {key: value for key, value in point.items() if key not in {ID_KEY, *suggestion.point, *suggestion.extra}}


def _late(suggestion: Suggestion, run_uids: Sequence[str]) -> dict[str, Any]:
    """Return what to say of a suggestion whose outcome comes after its end; nothing of any other."""
    if suggestion.state in OPEN:
        return {}
    late: dict[str, Any] = {"reason": f"its outcome came late: it was {suggestion.state} ({suggestion.reason or ''})"}
    return {**late, "run_uid": run_uids[0]} if len(run_uids) == 1 else late
