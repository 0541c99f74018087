"""One hosted agent: its record, its brain, and the facts that calls of the brain become.

Each call follows one pattern: check, call the brain in its executor, write the facts, answer. What the brain showed of
itself after the call (best points, variables, whether to stop) is kept, so that reads never ask it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from agent_service.agents import guardrails
from agent_service.agents.brain import Brain
from agent_service.agents.points import TAKES_OUTCOME
from agent_service.agents.rails import AgentRails
from agent_service.agents.record.replay import facts_of, untold
from agent_service.agents.restart_policy import Restarts
from agent_service.agents.tasks import AgentTasks, Role
from agent_service.brains.adapter import BrainAdapter
from agent_service.errors import (
    AgentFault,
    BackendUnavailable,
    CallCancelled,
    Conflict,
    DeadlineExceeded,
    NotFound,
    OutOfBounds,
    ServiceError,
    texts,
)
from agent_service.models import ID_KEY, EventKind, Report, Suggestion, Variable
from agent_service.models.states import (
    ALIVE,
    OPEN,
    AgentState,
    SuggestionState,
    check_agent,
    check_suggestion,
    check_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence

    from pydantic import JsonValue

    from agent_service.agents.device_limits import DeviceLimits
    from agent_service.agents.guardrails import Rails
    from agent_service.agents.placement import Placement
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.brains.messages import View
    from agent_service.documents.choice import Made
    from agent_service.journal import JournalLog
    from agent_service.models import AgentSpec, AgentStatus, Retold, ServiceGuardrails

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class HostedAgent:
    """One agent of the service; belongs to the event loop.

    Parameters
    ----------
    record
        What the journal says of it.
    journal
        Where its facts go.
    placement
        Where its brain may live.
    positions
        Where each actuator was last; kept up to date by its owner.
    limits
        Guardrails that hold beside its own.
    devices
        What the devices say of their limits.
    """

    def __init__(  # noqa: PLR0913 - what its owner hands over, by name
        self,
        record: AgentRecord,
        *,
        journal: JournalLog,
        placement: Placement,
        positions: Mapping[str, float],
        limits: ServiceGuardrails,
        devices: DeviceLimits,
    ) -> None:
        self.record = record
        self.fence = AgentRails(lambda: record.spec, service=limits, devices=devices, positions=positions)
        self._limits = limits
        self._began_at: dict[str, float] = {}
        self._took_s: dict[str, float] = {}
        self._positions = positions
        self.wake = asyncio.Event()
        self.suspended: str | None = None
        self.unevaluated: dict[str, Made] = {}
        self.fault: ServiceError | None = None
        self.restarts = Restarts()
        self.on_restart: Callable[[float], None] = lambda pause_s: None
        self._journal = journal
        self._states = asyncio.Lock()
        self._fates = asyncio.Lock()
        self._status: bytes | None = None
        self._changed: asyncio.Future[None] | None = None
        self.tasks = AgentTasks(record.spec.name, on_end=self.touched)
        self.brain = Brain(
            record.spec.name,
            placement,
            publish=lambda kind, told: journal.publish(kind, self.name, told),
            stirred=self._forget_status,
            changed=self.touched,
            died=self._mourn,
        )

    # what it is ---------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.record.spec.name

    @property
    def spec(self) -> AgentSpec:
        """Its present specification."""
        return self.record.spec

    @property
    def rails(self) -> Rails:
        """What holds for it: its own guardrails, those of the service, and what its devices say."""
        return self.fence.now

    @property
    def needs_approval(self) -> bool:
        """Whether a person approves each suggestion of its loop: it says so, or the service does for all."""
        return "required" in (self.spec.loop.approval, self._limits.approval)

    @property
    def standing(self) -> guardrails.Standing:
        """What the guardrails want to know of it beside a point."""
        return guardrails.Standing(
            plan=self.spec.plan,
            positions=self._positions,
            runs=self.record.handed_over,
            run_time_s=self.record.run_time_s,
        )

    def check_word(self, suggestion_id: str) -> None:
        """Raise `OutOfBounds` when a person's approval is needed by now and a suggestion was approved without."""
        if self.needs_approval and suggestion_id and suggestion_id not in self.record.approved_by_person:
            raise OutOfBounds("loop.approval: a person's approval is required by now, and nobody approved this point")

    def status(self) -> AgentStatus:
        """Return the agent as the API shows it, from memory."""
        place, fence = self.brain.place(self.spec), self.fence
        status = self.record.status(executor=place.name, executor_reason=place.reason, busy=self.brain.busy)
        suspended = self.suspended if self.record.state is AgentState.RUNNING else None
        says = {"limits": fence.limits, "no_limits": fence.no_limits, "limits_unread": fence.unread}
        return status.model_copy(update={**says, "suspended": suspended})

    def status_json(self) -> bytes:
        """Return `status` as JSON bytes; they are kept until something changes, for reads are frequent."""
        if self._status is None:
            self._status = self.status().model_dump_json().encode()
        return self._status

    def touched(self) -> None:
        """Something changed: the status is made anew, and the agent's loop looks again."""
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

    # facts --------------------------------------------------------------------------------------------------------

    async def become(self, state: AgentState, reason: str | None = None, **more: Any) -> None:
        """Write the fact that the agent is in ``state`` now.

        Raises
        ------
        IllegalTransition
            When the state machine has no such transition.
        """
        async with self._states:
            await self._become(state, reason, **more)

    async def become_in_turn(self, *steps: tuple[AgentState, dict[str, Any]]) -> None:
        """Write that the agent went through several states, all or none; each with its ``reason`` and whatever more."""
        async with self._states:
            state = self.record.state
            for following, _ in steps:
                check_agent(state, following)
                state = following
            facts = [(EventKind.AGENT_STATE, {"state": following, **more}) for following, more in steps]
            await asyncio.gather(*self._journal.post_together(self.name, facts))

    async def become_from(
        self, states: Collection[AgentState], state: AgentState, reason: str | None = None, **more: Any
    ) -> bool:
        """Write that the agent is in ``state`` now, if it still is in one of ``states``; return whether it was."""
        async with self._states:
            if self.record.state not in states:
                return False
            await self._become(state, reason, **more)
            return True

    async def _become(self, state: AgentState, reason: str | None, **more: Any) -> None:
        if not more.get("removed"):  # a removal is the end in any state
            check_agent(self.record.state, state)
        said = None if reason is None else texts.one_line(reason)
        await self._journal.append(EventKind.AGENT_STATE, self.name, {"state": state, "reason": said, **more})

    async def failed(self, error: ServiceError, *, during: str | None = None) -> None:
        """Write the fact that the agent failed, and discard its brain; does nothing when it is ending anyway.

        With ``on_fault = "restart"`` it is ``starting`` instead, as long as its limit allows, and comes back as it was.
        """
        where = "" if during is None else f"{during} failed: "
        await self.brain.discard()
        self.fault = error
        trace = error.traceback if isinstance(error, AgentFault) else None
        told = {
            "code": error.code,
            "message": f"{during}: {error.detail}" if during else error.detail,
            "traceback": trace,
        }
        async with self._states:
            record = self.record
            if record.state not in ALIVE:
                return
            before = self.restarts.as_before(record)
            restart = self.restarts.next(record, error)
            if restart is None:
                said = f"{where}{error.detail}{self.restarts.in_vain()}"
                await self._become(AgentState.FAILED, said, error=told)
                return
            self.restarts.survive(error)
            said = f"restarting after {where}{error.detail} {restart.sentence}"
            await self._become(AgentState.STARTING, said, error=told, restart_as=before.model_dump(mode="json"))
            self.restarts.began()
        self.on_restart(restart.pause_s)

    async def advance(
        self, suggestion_id: str, state: SuggestionState, *, word: bool = False, **data: Any
    ) -> Suggestion:
        """Write the next fate of a suggestion; ``fault=True`` counts it towards ``max_failures``.

        Parameters
        ----------
        suggestion_id, state
            Which one, and its next fate.
        word
            Whether that is a person's word: it decides only what is not in the queue yet.
        **data
            What else the fact says.

        Raises
        ------
        IllegalTransition
            When its fate does not allow that.
        """
        async with self._fates:
            before = self.suggestion(suggestion_id).state
            check_suggestion(before, state)
            if word:
                check_word(before, state)
            if data.get("reason"):  # a plan's, a person's, or a document's
                data["reason"] = texts.one_line(str(data["reason"]))
            told = {"id": suggestion_id, "state": state, **data, **self._timed(suggestion_id, before)}
            if word and state is SuggestionState.APPROVED:
                told["word"] = True
            await self._journal.append(EventKind.SUGGESTION_STATE, self.name, told)
            if state is SuggestionState.RUNNING:
                self._began_at[suggestion_id] = time.monotonic()
            else:
                self._forget_time(suggestion_id)
        return self.record.suggestions[suggestion_id]

    async def note_runs(self, suggestion_id: str, run_uids: Sequence[str]) -> None:
        """Write that the plan of a suggestion has ended, and which runs it made: after a crash that is known."""
        async with self._fates:
            if self.suggestion(suggestion_id).state is SuggestionState.RUNNING:
                told = {"id": suggestion_id, "state": SuggestionState.RUNNING, "run_uid": run_uids[0]}
                await self._journal.append(EventKind.SUGGESTION_STATE, self.name, {**told, "run_uids": list(run_uids)})

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

    async def propose_again(self, suggestion: Suggestion) -> None:
        """Write that the point of a suggestion that was interrupted is to be measured as another suggestion."""
        again = {"id": str(uuid.uuid4()), "state": SuggestionState.PROPOSED, "point": suggestion.point, "by": "loop"}
        told = {**again, "plan": suggestion.plan, "retry_of": suggestion.id}
        await self._journal.append(EventKind.SUGGESTION_STATE, self.name, told)

    async def configured(self, **data: Any) -> None:
        """Write a change of its configuration."""
        await self._journal.append(EventKind.CONFIG, self.name, data)

    def suggestion(self, suggestion_id: str) -> Suggestion:
        """Return one of its suggestions, or raise `NotFound`."""
        try:
            return self.record.suggestions[suggestion_id]
        except KeyError:
            raise NotFound(f"agent {self.name!r} has no suggestion {suggestion_id}") from None

    # the brain ----------------------------------------------------------------------------------------------------

    async def build(self, *, config: Mapping[str, Any] | None = None, fact: Mapping[str, Any] | None = None) -> None:
        """Build the brain where it will live, and bring it to where the journal says it was.

        Parameters
        ----------
        config
            Another configuration than the record's, to try it before it becomes a fact.
        fact
            What to write when the brain is there, before it is taken: the change of the configuration.

        Raises
        ------
        AgentFault, DeadlineExceeded
            When the brain cannot be built or replayed; the present one, if any, stays then.
        """
        await self.fence.look()
        async with self.brain.turn:
            await self._build(config, fact)

    async def _build(self, config: Mapping[str, Any] | None = None, fact: Mapping[str, Any] | None = None) -> None:
        spec = self.spec if config is None else self.spec.model_copy(update={"config": dict(config)})
        await self.brain.build(
            spec,
            facts=lambda: facts_of(self.record, config=config),
            take=None if fact is None else lambda: self.configured(**fact),
        )
        self.fault = None

    async def suggest(self, n_points: int, *, by: str, approve: bool = False) -> list[Suggestion]:
        """Ask the brain for points; they are ``proposed`` facts when this returns.

        Parameters
        ----------
        n_points
            How many to ask for; the brain may give fewer.
        by
            ``loop`` or ``person``: the loop submits only its own.
        approve
            Whether those that the guardrails allow are ``approved`` at once; the others are ``rejected`` in any case.
        """
        ids = [str(uuid.uuid4()) for _ in range(n_points)]
        async with self.brain.turn:
            proposals, view = await self._call(BrainAdapter.suggest, ids, timeout_s=self.spec.timeouts.suggest)
            fact = {"state": SuggestionState.PROPOSED, "plan": self.spec.plan, "by": by, "batch": ids[0]}
            told = [{"id": one.id, "point": one.point, "brain_id": one.brain_id, **fact} for one in proposals]
            await self.fence.look_again([one.point for one in proposals])
            forbidden = {one.id: why for one in proposals if (why := guardrails.why_not(one.point, self.rails))}
            for one in proposals:
                if one.id in forbidden:
                    why = {"reason": forbidden[one.id], "fault": by == "loop"}
                    told.append({"id": one.id, "state": SuggestionState.REJECTED, **why})
                elif approve:
                    told.append({"id": one.id, "state": SuggestionState.APPROVED})
            await self._write([(EventKind.SUGGESTION_STATE, one) for one in told])
            if forbidden:
                points = [{**one.point, ID_KEY: one.id} for one in proposals if one.id in forbidden]
                view = await self._call(BrainAdapter.fail, points, timeout_s=self.spec.timeouts.ingest)
        self.brain.remember(view)
        return [self.record.suggestions[one.id] for one in proposals]

    async def ingest(
        self, points: Sequence[Mapping[str, Any]], *, run_uids: Sequence[str] = (), retold: Sequence[Retold] = ()
    ) -> int:
        """Tell the brain outcomes; returns how many points, when they are facts.

        Parameters
        ----------
        points
            As `checked` returns them, or from the loop: actuators, outcomes and perhaps ``_id``.
        run_uids
            The runs that measured them.
        retold
            One for each point, when an earlier agent of this name was told them: they count once. Those of runs that
            this agent has been told of are left out.
        """
        told = [one[ID_KEY] for one in points if one.get(ID_KEY)]
        async with self.brain.turn:
            # looked at again, for this may have waited: an outcome is told once
            if run_uids and self.record.ingested_runs.issuperset(run_uids):
                return 0
            if retold:
                known = self.record.ingested_runs
                kept = [(one, of) for one, of in zip(points, retold, strict=True) if of.run_uid not in known]
                points, retold = [one for one, _ in kept], [of for _, of in kept]
                run_uids = list(dict.fromkeys(of.run_uid for of in retold if of.run_uid))
                if not points:
                    return 0
            if closed := [one for one in told if self.suggestion(one).state not in TAKES_OUTCOME]:
                raise Conflict(f"suggestion {closed[0]} takes no outcome any more; it is decided")
            new = untold(points, retold)
            if new:
                view = await self._call(BrainAdapter.ingest, new, timeout_s=self.spec.timeouts.ingest)
            else:
                view = await self._call(BrainAdapter.look, timeout_s=self.spec.timeouts.report)
            best = [one.model_dump(mode="json") for one in view.best]
            fact = {"points": [dict(one) for one in points], "run_uids": list(run_uids), "best": best}
            if retold:
                fact["retold"] = [one.model_dump(mode="json") for one in retold]
            async with self._fates:
                fates = [
                    {
                        "id": one,
                        "state": SuggestionState.INGESTED,
                        **_flagged(self.suggestion(one), run_uids),
                        **self._timed(one, self.suggestion(one).state),
                    }
                    for one in told
                    if self.suggestion(one).state in TAKES_OUTCOME
                ]
                await self._write([(EventKind.INGEST, fact), *((EventKind.SUGGESTION_STATE, one) for one in fates)])
                for one in told:
                    self._forget_time(one)
        self.brain.remember(view)
        return len(points)

    async def fail_suggestion(
        self, suggestion: Suggestion, state: SuggestionState, reason: str, *, fault: bool, word: bool = False
    ) -> None:
        """Close a suggestion without an outcome, and tell the brain where it can be told. See `advance`."""
        await self.advance(suggestion.id, state, word=word, reason=reason, fault=fault)
        point = {**suggestion.point, ID_KEY: suggestion.id}
        async with self.brain.turn:
            if self.brain.is_there:
                self.brain.remember(await self._call(BrainAdapter.fail, [point], timeout_s=self.spec.timeouts.ingest))

    async def edit(self, suggestion: Suggestion, point: Mapping[str, float]) -> None:
        """Tell the brain that a person approved another point than it suggested."""
        async with self.brain.turn:
            if self.brain.is_there:
                await self._call(BrainAdapter.edit, suggestion.id, dict(point), timeout_s=self.spec.timeouts.ingest)

    async def evaluate(self, subject: object, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Let the user's function find the outcomes of a run, in the agent's executor. See `BrainAdapter.evaluate`.

        Raises
        ------
        AgentFault, DeadlineExceeded
            When the function raises: that fails the suggestion, not the agent. When it takes too long, or its process
            ends: that fails the agent too, whose brain is gone with it.
        """
        async with self.brain.turn:
            return await self._call(
                BrainAdapter.evaluate,
                subject,
                suggestions,
                timeout_s=self.spec.timeouts.evaluate,
                fatal=(DeadlineExceeded, CallCancelled),  # the brain went with the call
            )

    async def report(self) -> Report:
        """Ask the brain what it thinks, and write it down.

        Raises
        ------
        NotFound
            When the brain has no ``report``.
        AgentFault
            When it raised; or when its report cannot be told (it holds itself, for example), and the agent goes on.
        """
        async with self.brain.turn:
            said = await self._call(BrainAdapter.report, timeout_s=self.spec.timeouts.report)
        self.brain.remember(said.view)
        if said.fault is not None:
            raise AgentFault(said.fault)
        if said.report is None:
            raise NotFound(f"agent type {self.spec.type!r} has no report method; give it one to see what it thinks")
        event = await self._journal.append(EventKind.REPORT, self.name, {"report": said.report})
        return Report(seq=event.seq or 0, at=event.time, report=said.report)

    async def set_variable(self, name: str, value: Any) -> Variable:
        """Set a variable of the brain when its turn comes."""
        async with self.brain.turn:
            view = await self._call(BrainAdapter.set_variable, name, value, timeout_s=self.spec.timeouts.ingest)
            await self._write([(EventKind.CONFIG, {"variable": name, "value": value})])
        self.brain.remember(view)
        return self.brain.variables[name]

    async def look(self) -> View:
        """Ask the brain to show itself now: variables, best points."""
        async with self.brain.turn:
            view = await self._call(BrainAdapter.look, timeout_s=self.spec.timeouts.report)
        self.brain.remember(view)
        return view

    async def call_method(self, name: str, args: Sequence[JsonValue], kwargs: Mapping[str, JsonValue]) -> JsonValue:
        """Call a method that the brain declares, when its turn comes; returns what it returned.

        Raises
        ------
        NotFound, InvalidInput
            It declares none of that name, or the arguments do not fit.
        AgentFault
            The method raised, or returned what JSON cannot hold; the agent goes on.
        """
        async with self.brain.turn:
            called = await self._call(BrainAdapter.call_method, name, args, kwargs, timeout_s=self.spec.timeouts.method)
            if not called.raised:
                fact = {"method": name, "args": list(args), "kwargs": dict(kwargs), "replay": called.replay}
                await self._write([(EventKind.METHOD, fact)])
        self.brain.remember(called.view)
        if called.fault is not None:
            raise AgentFault(called.fault, traceback=called.traceback)
        return called.result

    def _mourn(self, error: AgentFault) -> None:
        """Let the agent fail: its process ended between calls."""

        async def mourn() -> None:
            async with self.brain.turn:
                if self.brain.is_dead:
                    with contextlib.suppress(BackendUnavailable):  # logged by the journal
                        await self.failed(error)

        self.tasks.begin(Role.PROCESS_DEATH, mourn())

    async def _write(self, facts: Sequence[tuple[EventKind, dict[str, Any]]]) -> None:
        """Write what a call of the brain became, all or nothing; in the turn of the call.

        When that cannot be, the brain knows more than the journal. It is asked nothing before it was built anew.
        """
        try:
            for written in self._journal.post_together(self.name, facts):  # one commit: all fail, or none
                await written
        except BackendUnavailable:
            self._mend(self._rebuild())
            raise

    def _mend(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something be done in the turn that is taken now, before anybody else calls the brain."""
        self.brain.turn.pass_on(self.tasks.begin(Role.REBUILD, work))

    async def _rebuild(self) -> None:
        """Build the brain anew from the facts when all of them are known; lets no exception out."""
        with contextlib.suppress(BackendUnavailable):  # the journal is closed
            await self._journal.settled()
            if self.record.state not in ALIVE or not self.brain.is_there:
                return
            try:
                await self.fence.look()
                await self._build()
            except ServiceError as error:
                await self.failed(error, during="rebuild")

    async def _fail_later(self, error: ServiceError, during: str) -> None:
        with contextlib.suppress(BackendUnavailable):  # the journal is closed
            await self.failed(error, during=during)

    async def call_off_rebuilding(self) -> None:
        """Give up to build the brain anew, if that is under way; there is no brain then."""
        if self.tasks.under_way(Role.REBUILD):
            self.tasks.cancel(Role.REBUILD)
            await self.tasks.wait(Role.REBUILD)
            await self.brain.discard()

    async def _fail_in_turn(self, error: ServiceError, during: str) -> None:
        """Let the agent fail in the turn of a call; when a request may not wait for the fact, it is written behind."""
        try:
            await self.failed(error, during=during)
        except BackendUnavailable:
            self._mend(self._fail_later(error, during))
            raise

    def _require_brain(self) -> None:
        if self.brain.is_there:
            return
        if self.record.restart_as is not None:
            error = Conflict(f"agent {self.name!r} is {self.record.reason}; wait, or stop it", legal=["stop"])
            self.restarts.survive(error)
            raise error
        raise Conflict(f"agent {self.name!r} is {self.record.state}: its brain is not there; start it")

    async def _call(
        self,
        method: Callable[[BrainAdapter, *Ts], R],
        *args: *Ts,
        timeout_s: float,
        fatal: tuple[type[ServiceError], ...] = (AgentFault, DeadlineExceeded, CallCancelled),
    ) -> R:
        """Call the brain; a ``fatal`` error is the agent's end, unless the service itself took the brain away.

        So is the loss of its process in any call.
        """
        self._require_brain()
        try:
            result = await self.brain.call(method, *args, timeout_s=timeout_s)
        except ServiceError as error:
            if isinstance(error, fatal) or (isinstance(error, AgentFault) and error.died):
                await self._fail_in_turn(error, method.__name__)
            raise
        if method in _PROVES_HEALTH:
            self.restarts.succeeded()
        return result


_PROVES_HEALTH: Final = (BrainAdapter.suggest, BrainAdapter.ingest)


def _flagged(suggestion: Suggestion, run_uids: Sequence[str]) -> dict[str, Any]:
    """Return what to say of a suggestion whose outcome comes after its end; nothing of any other."""
    if suggestion.state in OPEN:
        return {}
    late: dict[str, Any] = {"reason": f"its outcome came late: it was {suggestion.state} ({suggestion.reason or ''})"}
    return {**late, "run_uid": run_uids[0]} if len(run_uids) == 1 else late
