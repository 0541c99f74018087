"""One hosted agent: its parts, and the facts that calls of its brain become.

Each call follows one pattern: check, call the brain in its executor, write the facts, answer. The brain's best points,
variables and wish to stop after the call are kept, so that reads never ask it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Literal

from agent_service.agents import guardrail_checks
from agent_service.agents.beam_time import BeamTime
from agent_service.agents.brain import HostedBrain
from agent_service.agents.brain_keeper import BrainKeeper
from agent_service.agents.facts import AgentFacts
from agent_service.agents.guardrails_in_force import GuardrailsInForce
from agent_service.agents.predictions import Predictions
from agent_service.agents.record.replay import untold
from agent_service.agents.sent_points import TAKES_OUTCOME
from agent_service.agents.tasks import AgentTasks
from agent_service.brains.adapter import BrainAdapter
from agent_service.errors import AgentFault, BackendUnavailable, CallCancelled, Conflict, DeadlineExceeded, NotFound
from agent_service.models import ID_KEY, EventKind, Report, Suggestion, Variable
from agent_service.models.state_machines import AgentState, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pydantic import JsonValue

    from agent_service.agents.conditions import Conditions
    from agent_service.agents.device_limits import DeviceLimits
    from agent_service.agents.placement import Placement
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.agents.saved_brains import SavedBrains
    from agent_service.brains.messages import View
    from agent_service.documents.choice import Made
    from agent_service.journal import JournalLog
    from agent_service.models import AgentSpec, AgentStatus, Retold, ServiceGuardrails, Value

_log = logging.getLogger(__name__)

_NOTHING: Final = contextlib.nullcontext()


class HostedAgent:
    """One agent of the service; belongs to the event loop."""

    def __init__(  # noqa: PLR0913 - what its owner hands over, by name
        self,
        record: AgentRecord,
        *,
        journal: JournalLog,
        placement: Placement,
        positions: Mapping[str, float],
        limits: ServiceGuardrails,
        devices: DeviceLimits,
        conditions: Conditions,
        saved_brains: SavedBrains | None = None,
    ) -> None:
        self.record = record
        self.wake = asyncio.Event()  # set at each change, and cleared by the agent's loop
        self.suspended: str | None = None  # why a suspender holds the plans of all agents, if one does
        self.unheard: Callable[[], str | None] | None = None  # why a plan of it that has ended is waited for still
        self.no_filler: str | None = None  # why no filler point could be measured last
        self.conditions = conditions  # of the service; while one is not met, nothing of the agent's is measured
        self.unevaluated: dict[str, Made] = {}  # by suggestion, the runs whose outcome is still to be found
        self._journal = journal
        self._status: bytes | None = None
        self._status_until = 0.0
        self._changed: asyncio.Future[None] | None = None
        self.tasks = AgentTasks(self.name, on_end=self.mark_changed)
        self.beam_time = BeamTime()
        self.facts = AgentFacts(record, journal, self.beam_time)
        self.guardrails = GuardrailsInForce(record, service=limits, devices=devices, positions=positions)
        self.brain = HostedBrain(
            self.name,
            placement,
            publish=lambda kind, data: journal.publish(kind, self.name, data),
            stirred=self._forget_status,
            changed=self.mark_changed,
        )
        self.keeper = BrainKeeper(
            record,
            facts=self.facts,
            journal=journal,
            brain=self.brain,
            guardrails=self.guardrails,
            tasks=self.tasks,
            beam_time=self.beam_time,
            saved_brains=saved_brains,
        )
        self.predictions = Predictions(record, self.brain, self.keeper)

    # what it is ---------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.record.spec.name

    @property
    def spec(self) -> AgentSpec:
        """Its present specification."""
        return self.record.spec

    def status(self) -> AgentStatus:
        """Return the agent as the API shows it, from memory."""
        place, limits = self.brain.place(self.spec), self.guardrails
        status = self.record.status(executor=place.name, executor_reason=place.reason, busy=self.brain.busy)
        suspended = self.conditions.unmet or self.suspended or (self.unheard and self.unheard())
        if suspended is None and self.brain.waits is not None and not self.record.open_in(SuggestionState.RUNNING):
            suspended = f"the agent waits: {self.brain.waits}"
        if self.record.state is AgentState.STARTING and self.brain.waits is not None:
            suspended = f"the agent waits: {self.brain.waits}"
        elif self.record.state is not AgentState.RUNNING:
            suspended = None
        memory = self.brain.memory_bytes
        times: dict[str, Any] = {"beam_idle": self.beam_time.idle, "think_s": self.beam_time.think_s}
        times["memory_mb"] = None if memory is None else round(memory / 2**20, 1)
        note = self.brain.note or (self.no_filler if self.record.state is AgentState.RUNNING else None)
        waits = {"suspended": suspended, "note": note, "to_approve": limits.approvals.waiting()}
        return status.model_copy(update={**limits.shown, **times, **waits})

    def status_json(self) -> bytes:
        """Return `status` as JSON bytes; they are kept until something changes, for reads are frequent.

        Those of an agent that runs are kept for a second: its beam may be idle meanwhile.
        """
        now = time.monotonic()
        if self._status is None or (self.record.state is AgentState.RUNNING and now > self._status_until):
            self._status = self.status().model_dump_json().encode()
            self._status_until = now + 1.0
        return self._status

    def mark_changed(self) -> None:
        """Let the status be made anew, and the agent's loop look again: something changed."""
        self._status = None
        self.wake.set()
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    def _forget_status(self) -> None:
        self._status = None

    def changed(self) -> asyncio.Future[None]:
        """Return a future that is done at the next change of the agent; share it, never cancel it."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    def log(self, message: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Tell the service's log, and who follows the agent."""
        _log.log(logging.getLevelNamesMapping()[level.upper()], "agent %s: %s", self.name, message)
        self._journal.publish(EventKind.LOG, self.name, {"level": level, "message": message})

    # calls of the brain -------------------------------------------------------------------------------------------

    async def suggest(
        self, n_points: int, *, by: str, approve: bool = False, during: AbstractContextManager[object] = _NOTHING
    ) -> list[Suggestion]:
        """Ask the brain for ``n_points`` points at most; they are ``proposed`` facts when this returns.

        ``by`` is ``loop`` or ``person``: the loop submits only its own. With ``approve``, those that the guardrails
        allow, and no person has to approve, are ``approved`` at once; those they forbid are ``rejected`` in any case.
        ``during`` holds while the brain is asked.
        """
        ids = [str(uuid.uuid4()) for _ in range(n_points)]
        async with self.brain.call_lock:
            with during:
                proposals, view = await self.keeper.call(
                    BrainAdapter.suggest, ids, timeout_s=self.spec.timeouts.suggest
                )
            fact = {"state": SuggestionState.PROPOSED, "plan": self.spec.plan, "by": by, "batch": ids[0]}
            fates = [
                {"id": new.id, "point": new.point, "brain_id": new.brain_id, **fact}
                | ({"extra": dict(new.extra)} if new.extra else {})
                for new in proposals
            ]
            forbidden: list[dict[str, Any]] = []
            with self.brain.told_apart(forgives=BackendUnavailable):
                await self.guardrails.look_again([new.point for new in proposals])
                for new in proposals:
                    if why := guardrail_checks.why_not(new.point, self.guardrails.now):
                        forbidden.append({**new.point, ID_KEY: new.id})
                        fates.append(
                            {"id": new.id, "state": SuggestionState.REJECTED, "reason": why, "fault": by == "loop"}
                        )
                    elif approve and not self.guardrails.approvals.needed(new.point):
                        fates.append({"id": new.id, "state": SuggestionState.APPROVED})
                await self.keeper.written(self.facts.write([(EventKind.SUGGESTION_STATE, fate) for fate in fates]))
            if forbidden:
                view = await self.keeper.call(BrainAdapter.fail, forbidden, timeout_s=self.spec.timeouts.ingest)
        self.brain.remember(view)
        return [self.record.suggestions[new.id] for new in proposals]

    async def ingest(
        self, points: Sequence[Mapping[str, Any]], *, run_uids: Sequence[str] = (), retold: Sequence[Retold] = ()
    ) -> int:
        """Tell the brain outcomes; returns how many points, when they are facts.

        Points are as `sent_points.complete` returns them, or the loop's: actuators, outcomes and perhaps ``_id``;
        ``run_uids`` are the runs that measured them. ``retold`` is one for each point when an earlier agent of this
        name was told them, so that they count once; those of runs that this agent has been told of are left out.
        """
        suggestion_ids = [point[ID_KEY] for point in points if point.get(ID_KEY)]
        async with self.brain.call_lock:
            # looked at again, for this may have waited: an outcome is told once
            if run_uids and all([await self.keeper.told.has_ingested(uid) for uid in run_uids]):
                return 0
            if retold:
                uids = {of.run_uid for of in retold if of.run_uid}
                known = {uid for uid in uids if await self.keeper.told.has_ingested(uid)}
                kept = [(point, of) for point, of in zip(points, retold, strict=True) if of.run_uid not in known]
                points, retold = [point for point, _ in kept], [of for _, of in kept]
                run_uids = list(dict.fromkeys(of.run_uid for of in retold if of.run_uid))
                if not points:
                    return 0
            for suggestion_id in suggestion_ids:
                if self.record.suggestion(suggestion_id).state not in TAKES_OUTCOME:
                    raise Conflict(f"suggestion {suggestion_id} takes no outcome any more; it is decided")
            new = untold(points, retold)
            if new:
                view = await self.keeper.call(BrainAdapter.ingest, new, timeout_s=self.spec.timeouts.ingest)
            else:
                view = await self.keeper.call(BrainAdapter.look, timeout_s=self.spec.timeouts.report)
            best = [point.model_dump(mode="json") for point in view.best]
            fact = {"points": [dict(point) for point in points], "run_uids": list(run_uids), "best": best}
            if retold:
                fact["retold"] = [of.model_dump(mode="json") for of in retold]
            with self.brain.told_apart(forgives=BackendUnavailable):
                await self.keeper.written(self.facts.ingested(fact, suggestion_ids, run_uids))
        self.brain.remember(view)
        return len(points)

    async def fail_suggestion(
        self, suggestion: Suggestion, state: SuggestionState, reason: str, *, by_person: bool = False, **about: Any
    ) -> None:
        """Close a suggestion without an outcome, and tell the brain where it can be told. See `AgentFacts.advance`."""
        point = {**suggestion.point, ID_KEY: suggestion.id}
        with self.brain.told_apart():
            await self.facts.advance(suggestion.id, state, by_person=by_person, reason=reason, **about)
            async with self.brain.call_lock:
                if self.brain.is_there:
                    self.brain.remember(
                        await self.keeper.call(BrainAdapter.fail, [point], timeout_s=self.spec.timeouts.ingest)
                    )

    async def measure_again(self, suggestion: Suggestion, why: str) -> None:
        """Let the point of a suggestion whose run does not count be measured again; the brain knows one suggestion."""
        async with self.brain.call_lock:
            with self.brain.told_apart():
                again = await self.facts.void(suggestion, why)
            if self.brain.is_there:
                await self.keeper.call(BrainAdapter.retry, again, suggestion.id, timeout_s=self.spec.timeouts.ingest)

    async def edit(self, suggestion: Suggestion, point: Mapping[str, Value], *, ahead: bool = False) -> None:
        """Tell the brain that a person approved another point than it suggested.

        With ``ahead`` that is no fact yet: what the brain's code raises is an `AgentFault` and ends nothing.
        """
        async with self.brain.call_lock:
            if self.brain.is_there:
                fatal = (DeadlineExceeded, CallCancelled) if ahead else (AgentFault, DeadlineExceeded, CallCancelled)
                about, timeout_s = (suggestion.id, dict(point)), self.spec.timeouts.ingest
                await self.keeper.call(BrainAdapter.edit, *about, timeout_s=timeout_s, fatal=fatal)

    async def evaluate(self, subject: object, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Let the user's function find the outcomes of a run, in the agent's executor. See `BrainAdapter.evaluate`.

        A function that raises fails the suggestion (`AgentFault`), not the agent. When it takes too long, or its
        process ends, that fails the agent too, whose brain is gone with it.
        """
        async with self.brain.call_lock:
            return await self.keeper.call(
                BrainAdapter.evaluate,
                subject,
                suggestions,
                timeout_s=self.spec.timeouts.evaluate,
                fatal=(DeadlineExceeded, CallCancelled),  # the brain went with the call
            )

    async def report(self) -> Report:
        """Ask the brain what it thinks, and write it down.

        Raises `NotFound` when the brain has no ``report``, `AgentFault` when it raised; also when its report cannot be
        told (it holds itself, for example), and then the agent goes on.
        """
        async with self.brain.call_lock:
            answer = await self.keeper.call(BrainAdapter.report, timeout_s=self.spec.timeouts.report)
        self.brain.remember(answer.view)
        if answer.fault is not None:
            raise AgentFault(answer.fault)
        if answer.report is None:
            raise NotFound(f"agent type {self.spec.type!r} has no report method; give it one to see what it thinks")
        event = await self._journal.append(EventKind.REPORT, self.name, {"report": answer.report})
        return Report(seq=event.seq or 0, at=event.time, report=answer.report)

    async def set_variable(self, name: str, value: Any) -> Variable:
        """Set a variable of the brain when its turn comes."""
        async with self.brain.call_lock:
            view = await self.keeper.call(BrainAdapter.set_variable, name, value, timeout_s=self.spec.timeouts.ingest)
            with self.brain.told_apart(forgives=BackendUnavailable):
                await self.keeper.written(self.facts.write([(EventKind.CONFIG, {"variable": name, "value": value})]))
        self.brain.remember(view)
        return self.brain.variables[name]

    async def look(self) -> View:
        """Ask the brain to show itself now: variables, best points."""
        async with self.brain.call_lock:
            view = await self.keeper.call(BrainAdapter.look, timeout_s=self.spec.timeouts.report)
        self.brain.remember(view)
        return view

    async def call_method(self, name: str, args: Sequence[JsonValue], kwargs: Mapping[str, JsonValue]) -> JsonValue:
        """Call a method that the brain declares, when its turn comes; returns what it returned.

        Raises `NotFound` or `InvalidInput` when it declares none of that name, or the arguments do not fit;
        `AgentFault` when the method raised, or returned what JSON cannot hold: the agent goes on.
        """
        async with self.brain.call_lock:
            called = await self.keeper.call(
                BrainAdapter.call_method, name, args, kwargs, timeout_s=self.spec.timeouts.method
            )
            if not called.replay:
                self.keeper.saver.refuse()
            if not called.raised:
                fact = {"method": name, "args": list(args), "kwargs": dict(kwargs), "replay": called.replay}
                with self.brain.told_apart(forgives=BackendUnavailable):
                    await self.keeper.written(self.facts.write([(EventKind.METHOD, fact)]))
        self.brain.remember(called.view)
        if called.fault is not None:
            raise AgentFault(called.fault, traceback=called.traceback)
        return called.result
