"""Jobs: calls of agents that go on after an answer 202, until they end or somebody cancels them.

Every long call runs in its own task, so neither a client that goes away nor an early answer ends it. It becomes a job
when the caller does not want to wait longer; before that, it has no id and is not listed.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from agent_service.context import watched_by
from agent_service.errors import BackendUnavailable, CallCancelled, Conflict, DeadlineExceeded, NotFound, ServiceError
from agent_service.models import CallProgress, EventKind, Job, JobState, Problem, utcnow
from agent_service.models.problems import described, unforeseen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from datetime import datetime

    from pydantic import BaseModel, JsonValue

    from agent_service.journal import JournalLog


_log = logging.getLogger(__name__)

KEPT: Final = 200
"""Finished jobs that are kept; the oldest are forgotten first."""

KEPT_FOR: Final = timedelta(hours=1)
"""How long a finished job is kept."""

CANCELLED_WITHIN_S: Final = 10.0

MAX_CALLS: Final = 100
"""Most calls of one agent that may be under way or wait for their turn; beyond, a call is refused."""


@dataclass(eq=False, slots=True)
class Work:
    """One long call of an agent, ``call`` as the end of its path; a job when it has an id.

    ``cancel`` ends it, whatever it is doing, and its task ends then by itself; it raises `Conflict` when that cannot
    be.
    """

    agent: str
    call: str
    cancel: Callable[[Work], Awaitable[None]]
    request_id: str | None = None
    id: str | None = None
    begun: bool = False
    progress: CallProgress | None = None
    created_at: datetime = field(default_factory=utcnow)
    finished_at: datetime | None = None
    task: asyncio.Task[Any] = field(init=False)
    on_begin: Callable[[Work], None] = field(init=False)

    def began(self) -> None:
        """Note that its turn has come."""
        if not self.begun:
            self.begun = True
            self.on_begin(self)

    def progressed(self, progress: CallProgress) -> None:
        """Note how far it is."""
        self.progress = progress

    @property
    def state(self) -> JobState:
        """Its state as a job."""
        if not self.task.done():
            return JobState.RUNNING if self.begun else JobState.PENDING
        error = CallCancelled("") if self.task.cancelled() else self.task.exception()
        if isinstance(error, CallCancelled):
            return JobState.CANCELLED
        return JobState.SUCCEEDED if error is None else JobState.FAILED

    def shown(self) -> Job:
        """Return it as the API shows it."""
        state = self.state
        return Job(
            id=self.id or "",
            agent=self.agent,
            call=self.call,
            state=state,
            progress=self.progress,
            result=self._result() if state is JobState.SUCCEEDED else None,
            problem=self._problem() if state.finished and state is not JobState.SUCCEEDED else None,
            created_at=self.created_at,
            finished_at=self.finished_at,
        )

    def _result(self) -> JsonValue:
        result: BaseModel = self.task.result()
        return result.model_dump(mode="json")

    def _problem(self) -> Problem:
        if self.task.cancelled():
            error: BaseException | None = CallCancelled(f"{self.call} was cancelled; nothing happened")
        else:
            error = self.task.exception()
        known = error if isinstance(error, ServiceError) else unforeseen(self.request_id)
        return described(known, request_id=self.request_id)


class JobDesk:
    """Runs long calls and keeps those that became jobs; belongs to the event loop."""

    def __init__(self, journal: JournalLog, *, stopping: asyncio.Event, touch: Callable[[str], None]) -> None:
        self._journal = journal
        self._stopping = stopping
        self._touch = touch
        self._jobs: dict[str, Work] = {}
        self._under_way: set[Work] = set()
        self._calls: Counter[str] = Counter()
        self._stopped: asyncio.Task[bool] | None = None

    def begin(self, work: Work, call: Coroutine[Any, Any, object]) -> None:
        """Begin a call in a task of its own; `Conflict` when too many calls of the agent wait already."""
        if self._calls[work.agent] >= MAX_CALLS:
            call.close()
            raise Conflict(
                f"{MAX_CALLS} calls of agent {work.agent!r} are under way or wait already; let them end, or cancel some"
            )
        with watched_by(work):
            work.task = asyncio.create_task(call, name=f"{work.call}:{work.agent}")
        work.on_begin = self._changed
        self._calls[work.agent] += 1
        self._under_way.add(work)
        work.task.add_done_callback(lambda _: self._ended(work))

    async def wait(self, work: Work, wait_s: float) -> bool:
        """Return whether a call ended within the time; `BackendUnavailable` when the service ends first."""
        if not work.task.done():
            if self._stopped is None:
                self._stopped = asyncio.create_task(self._stopping.wait(), name="jobs:stopping")
            await asyncio.wait({work.task, self._stopped}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set() and not work.task.done():
                raise BackendUnavailable(
                    "the service is stopping; the agent's history will say whether this was finished before"
                )
        return work.task.done()

    async def within(self, work: Work, timeout_s: float) -> Any:
        """Return what a begun call returns, or raise `DeadlineExceeded`, and withdraw it unless its turn has come."""
        if await self.wait(work, timeout_s):
            return work.task.result()
        if not work.begun:
            work.task.cancel()
        raise DeadlineExceeded(
            f"agent {work.agent!r} did not answer within {timeout_s:g} s: it is busy; allow more with timeout_s, or "
            "leave fresh out for what it showed last"
        )

    def promise(self, work: Work) -> Job:
        """Make a call a job, which can be looked up and cancelled from here on."""
        work.id = str(uuid.uuid4())
        self._jobs[work.id] = work
        self._touch(work.agent)
        self._changed(work)
        return work.shown()

    def jobs(self, agent: str | None = None) -> list[Job]:
        """Return the jobs, oldest first; those of one agent if given."""
        self._forget()
        return [work.shown() for work in self._jobs.values() if agent in (None, work.agent)]

    def find(self, job_id: str) -> Work:
        """Return the call of a job, or raise `NotFound`."""
        self._forget()
        if job_id not in self._jobs:
            raise NotFound(
                f"there is no job {job_id}: a job is kept for {KEPT_FOR.total_seconds() / 3600:g} h after its end, and "
                "not across a restart of the service; the agent's history says what came of it"
            )
        return self._jobs[job_id]

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job, and return it when it has ended, or after a while: a run under way ends first."""
        work = self.find(job_id)
        if work.task.done():
            raise Conflict(f"job {job_id} is {work.state} already; there is nothing to cancel")
        await work.cancel(work)
        await asyncio.wait({work.task}, timeout=CANCELLED_WITHIN_S)
        return work.shown()

    async def ended(self) -> None:
        """Wait for the calls under way, those that wait for their turn too."""
        if self._under_way:
            await asyncio.wait({work.task for work in self._under_way})

    async def close(self) -> None:
        """End the calls. Nothing is written: what the journal says of each is true."""
        tasks: list[asyncio.Task[Any]] = [work.task for work in self._under_way]
        if self._stopped is not None:
            tasks.append(self._stopped)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, work: Work) -> None:
        work.finished_at = utcnow()
        self._under_way.discard(work)
        self._calls[work.agent] -= 1
        if not self._calls[work.agent]:
            del self._calls[work.agent]
        error = None if work.task.cancelled() else work.task.exception()
        if work.id is None:
            return
        if error is not None and not isinstance(error, ServiceError):
            _log.error("job %s (request %s) failed", work.id, work.request_id, exc_info=error)
        self._changed(work)
        self._forget()

    def _changed(self, work: Work) -> None:
        if work.id is not None:
            shown = work.shown().model_dump(mode="json", exclude={"agent", "result", "problem"})
            self._journal.publish(EventKind.JOB, work.agent, shown)

    def _forget(self) -> None:
        """Forget finished jobs that are too old, or too many."""
        now = utcnow()
        finished = [work for work in self._jobs.values() if work.finished_at is not None]
        finished.sort(key=lambda work: work.finished_at or now)
        for i, work in enumerate(finished):
            too_many = i < len(finished) - KEPT
            if too_many or now - (work.finished_at or now) > KEPT_FOR:
                self._jobs.pop(work.id or "", None)
