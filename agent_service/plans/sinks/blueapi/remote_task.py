"""A plan at a blueapi, from its waiting task to its fate: it begins at most once, whoever dies meanwhile.

blueapi begins a task by its id, and each id at most once: it refuses one that runs or has ended. If the request to
begin got no answer, the task counts as begun; it is looked up, and asked again while it still waits. A task that is no
longer wanted is deleted; once that is confirmed, it has not begun. If blueapi has forgotten a task, as after a reload
of its environment, only documents can tell its fate; it is never measured again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.errors import BackendUnavailable, ServiceError, texts
from agent_service.plans.sinks.blueapi.rest import BEGIN_S, Begin, LostAnswer
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_service.plans.sinks.blueapi.rest import BlueapiRest, Task
    from agent_service.plans.sinks.blueapi.task_plan import TaskPlan
    from agent_service.plans.sinks.unknown_fate import UnknownFates

_SOON_S: Final = 0.02
_SELDOM_S: Final = 2.0
_TENTH: Final = 0.1
"""A task is looked at after that part of the time that it has taken so far, between the two above."""

_DOUBT_S: Final = 1.0
"""How long a task whose beginning brought no answer is looked at before it is asked to begin once more."""

_DOCUMENTS_S: Final = 15.0
"""How long the documents of a run may follow the end of its task."""

_QUIET_S: Final = 0.25
"""How long no document comes after the last one of a plan that does not return the uids of its runs."""


class RemoteTask:
    """One plan of the line, carried out; belongs to the event loop.

    Parameters
    ----------
    rest
        The blueapi.
    plan
        The plan.
    params
        What the task's plan is called with.
    session
        The instrument session to measure in.
    turn
        Whether it may begin at this moment; ends it where that is forbidden.
    wanted
        The same, and ends nothing.
    say
        Takes why it does not go on, None when it does.
    fates
        What decides on a plan whose task blueapi has forgotten.
    """

    def __init__(  # noqa: PLR0913 - what there is to know, by name
        self,
        rest: BlueapiRest,
        plan: TaskPlan,
        *,
        name: str,
        params: Mapping[str, Any],
        session: str,
        turn: Callable[[], bool],
        wanted: Callable[[], bool],
        say: Callable[[str | None], None],
        fates: UnknownFates,
    ) -> None:
        self._rest = rest
        self._plan = plan
        self._name = name
        self._params = params
        self._session = session
        self._turn = turn
        self._wanted = wanted
        self._say = say
        self._fates = fates
        self._asked_at = time.monotonic()

    async def post(self) -> None:
        """Make a task of the plan that waits at blueapi, so that a service that comes back finds it."""
        plan = self._plan
        if plan.post_unsure:
            plan.adopt(await self._rest.tasks())
        if plan.task_id is None:
            plan.post_unsure = True
            plan.task_id = await self._rest.post(self._name, self._params, self._session)

    async def carry_out(self) -> PlanResult | None:
        """Let the plan begin, and return how it ended; None when it is not to begin now."""
        plan = self._plan
        try:
            if plan.begun and plan.task_id is None:  # it was taken up
                if not await self._find():
                    return await self._lost(plan.made_at)
                if not plan.begun:  # it waits there: its turn comes
                    return self._unwanted()
            if not plan.begun and not await self._begin():
                return self._unwanted()  # that was said as it was asked to begin
            return await self._follow()
        except ServiceError as error:  # blueapi does not take it
            plan.begun = False
            plan.end(PlanResult(ExitStatus.FAIL, error.detail))
            return None

    # --- to begin

    def _unwanted(self) -> PlanResult | None:
        """Return how a plan ended that never began, if it is to wait for no other turn."""
        plan = self._plan
        if plan.abort_reason is not None:
            return PlanResult(ExitStatus.ABORT, plan.abort_reason)
        return None if plan.taken_back is None else PlanResult(ExitStatus.ABORT, plan.taken_back, begun=False)

    async def _begin(self) -> bool:
        """Let it begin as soon as it may; return whether it did."""
        plan, rest, since = self._plan, self._rest, time.monotonic()
        if plan.posting is not None:
            await asyncio.wait({plan.posting})
        while self._is_turn():
            try:
                if not await self._is_free():
                    await plan.wait(_pause(since))
                    continue
                if plan.task_id is None:
                    await self.post()
                if not self._is_turn():  # a guardrail, or a person, may have come to forbid it
                    break
                plan.begun = True  # whatever becomes of this request
                self._say(None)
                answer = await rest.begin(str(plan.task_id))
            except LostAnswer as error:
                self._say(f"it is not known whether the plan began: {error.detail}")
                plan.begun = await self._did_begin()
            except BackendUnavailable as error:
                plan.begun = False
                self._say(error.detail)
            else:
                plan.begun = answer is Begin.BEGUN or (answer is Begin.GONE and await self._is_known())
            if plan.begun:
                self._asked_at = time.monotonic()
                return True
            await plan.wait(_pause(since))
        return False

    def _is_turn(self) -> bool:
        return self._unwanted() is None and self._turn()

    async def _is_free(self) -> bool:
        """Return whether nothing runs there; say what does."""
        state = await self._rest.state()
        if state == "IDLE":
            return True
        active = await self._rest.active()
        task = None if active is None else await self._rest.task(active)
        what = "a task" if task is None else f"plan {task.plan!r}"
        if state == "PAUSED":
            self._say(f"blueapi is paused in {what}; resume or abort that there")
        else:
            self._say(f"blueapi is busy with {what} ({state.lower()})")
        return False

    async def _did_begin(self) -> bool:
        """Return whether a task began that was asked to and brought no answer; it counts as begun until that is known.

        blueapi may be about to carry that request out. While the plan is wanted it is asked again, else its task is
        deleted; one that waits still when no request can be on its way any more did not begin.
        """
        plan, deleted = self._plan, False
        asked_at = lost_at = time.monotonic()
        while True:
            try:
                if deleted:
                    return await self._is_active()
                task = await self._task()
                if task is None or not task.pending:
                    return True  # forgotten: it may have been under way by then
                if time.monotonic() - lost_at > BEGIN_S:
                    return False
                if self._unwanted() is not None or not self._wanted():
                    deleted = await self._rest.delete(task.id)
                elif time.monotonic() - asked_at > _DOUBT_S:
                    asked_at = time.monotonic()
                    if await self._rest.begin(task.id) is Begin.BEGUN:
                        return True
            except BackendUnavailable as error:
                self._say(f"it is not known whether the plan began: {error.detail}")
                asked_at = time.monotonic()
                lost_at = asked_at if isinstance(error, LostAnswer) else lost_at
            await plan.wait(_TENTH)

    async def _is_active(self) -> bool:
        """Return whether a task that was deleted had begun by then: it goes on all the same, or has ended."""
        began = await self._rest.active() == self._plan.task_id or bool(self._plan.runs.starts)
        if not began:
            self._plan.task_id = None
        return began

    async def _is_known(self) -> bool:
        """Return whether a task that waits no more is still known: somebody else let it begin, or documents say so."""
        try:
            known = await self._task() is not None or bool(self._plan.runs.starts)
        except BackendUnavailable:
            return True
        if not known:
            self._plan.task_id = None  # its environment was reloaded, or a person deleted it: it never began
        return known

    async def _find(self) -> bool:
        """Look for the task of a plan that an earlier service handed over, however long that takes."""
        plan = self._plan
        while True:
            try:
                tasks = await self._rest.tasks()
            except BackendUnavailable as error:
                self._say(f"it is not known whether the plan began: {error.detail}")
                await plan.wait(_pause(plan.made_at))
                continue
            self._say(None)
            plan.adopt(tasks)
            return plan.task_id is not None

    # --- to its end

    async def _follow(self) -> PlanResult:
        plan = self._plan
        away_since: float | None = None
        while True:
            try:
                await self._abort_if_asked()
                task = await self._task()
                paused = task is not None and task.complete and task.interrupted and await self._rest.state() != "IDLE"
            except BackendUnavailable as error:
                away_since = away_since or time.monotonic()
                self._say(f"{error.detail}; the plan under way there goes on, as far as anybody knows")
                if time.monotonic() - away_since > _SELDOM_S and (result := self._by_documents()) is not None:
                    return result
                await plan.wait(_SELDOM_S / 2)
                continue
            away_since = None
            if task is None:
                return await self._lost(time.monotonic())
            self._say("a person paused the plan at blueapi; resume or abort it there" if paused else None)
            if task.complete and not paused:
                return await self._settle(task)
            await plan.wait(_pause(self._asked_at))

    async def _abort_if_asked(self) -> None:
        """Abort what runs, if that is this plan's task at this moment and somebody asked for it."""
        plan = self._plan
        if plan.abort_reason is None or plan.task_id is None:
            return
        task = await self._task()
        if task is not None and not task.pending and not task.complete and await self._rest.active() == plan.task_id:
            await self._rest.abort(plan.abort_reason)

    async def _settle(self, task: Task) -> PlanResult:
        """Return how a plan ended whose task is complete, once its documents are here."""
        self._fates.known()
        plan, outcome = self._plan, task.outcome
        if not plan.order.suggestion_id:
            return _moved(outcome, plan.abort_reason)
        uids = _uids(outcome.get("result"))
        done = outcome.get("outcome") == "success"
        while not uids and await plan.wait(
            _QUIET_S
        ):  # nobody says how many runs there are: no more may be on their way
            pass
        plan.runs.made = max(len(uids), len(plan.runs.starts), int(done))
        if plan.runs.made and not plan.taken_up:
            await self._documents(time.monotonic() + _DOCUMENTS_S)
        uids = tuple(dict.fromkeys((*plan.runs.uids, *uids)))
        if task.interrupted:
            if plan.abort_reason is None:
                self._fates.stopped("ended our plan")
            stopped = plan.runs.result()
            if stopped is not None and stopped.exit_status is ExitStatus.SUCCESS:  # what was measured so far counts
                return stopped
            return PlanResult(ExitStatus.ABORT, plan.abort_reason or "a person ended the plan at blueapi", uids)
        if not done:
            return PlanResult(ExitStatus.FAIL, why_failed(outcome), uids)
        if not uids and not plan.taken_up:
            return PlanResult(ExitStatus.FAIL, "the plan made no run, or its documents did not come")
        return plan.runs.result() or PlanResult(ExitStatus.SUCCESS, "", uids)

    async def _lost(self, since: float) -> PlanResult:
        """Return how a plan ended whose task blueapi has forgotten: what its documents say, or that nobody knows."""
        plan = self._plan
        self._say("blueapi has forgotten the plan's task (was its environment reloaded?); its documents are waited for")
        while (result := self._by_documents()) is None:
            nowhere_s = time.monotonic() - since
            if (result := self._fates.verdict(plan, nowhere_s=nowhere_s, over=False)) is not None:
                return result
            await plan.wait(_pause(since))
        return result

    async def _documents(self, deadline: float) -> None:
        """Wait until the runs that are known of have their stop documents."""
        while self._by_documents() is None and (left_s := deadline - time.monotonic()) > 0:
            await self._plan.wait(left_s)

    def _by_documents(self) -> PlanResult | None:
        """Return how the plan ended as its documents tell, as far as they can."""
        runs = self._plan.runs
        runs.says_done = runs.made is not None
        return runs.result()

    async def _task(self) -> Task | None:
        return None if self._plan.task_id is None else await self._rest.task(self._plan.task_id)


def _pause(since: float) -> float:
    """Return for how long not to look: a part of the time since then."""
    return min(max(_SOON_S, (time.monotonic() - since) * _TENTH), _SELDOM_S)


def _moved(outcome: Mapping[str, Any], abort_reason: str | None) -> PlanResult:
    if outcome.get("outcome") == "success":
        return PlanResult(ExitStatus.SUCCESS)
    if abort_reason is not None:
        return PlanResult(ExitStatus.ABORT, abort_reason)
    return PlanResult(ExitStatus.FAIL, why_failed(outcome))


def why_failed(outcome: Mapping[str, Any]) -> str:
    """Return what a plan raised, by what blueapi says of its task; without its broker it ends whatever it runs."""
    reason = f"{outcome.get('type')}: {outcome.get('message')}"
    if "publishing event" in reason:  # what it says besides is of itself, and of each task before
        return (
            "the broker of blueapi did not take its documents, and blueapi ended the plan; start the broker again: "
            "blueapi looks for it every 10 s"
        )
    return texts.one_line(reason)


def _uids(result: object) -> tuple[str, ...]:
    """Return the uids of runs that a plan returned, as bluesky's plans do."""
    if isinstance(result, str):
        return (result,)
    listed = cast("list[object]", result) if isinstance(result, list) else []
    return tuple(uid for uid in listed if isinstance(uid, str))
