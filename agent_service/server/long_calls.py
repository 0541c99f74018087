"""How long a client waits for a call (``Prefer: wait=S``, RFC 7240), and what it is answered when that is over."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, Header, Request
from fastapi.responses import Response

from agent_service import context
from agent_service.errors import CallCancelled, Conflict
from agent_service.models import Job
from agent_service.server.error_responses import request_id_of
from agent_service.service.jobs import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from pydantic import BaseModel
    from starlette.datastructures import Headers

    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.lifecycle import AgentLifecycle
    from agent_service.service.jobs import JobDesk

DEFAULT_WAIT_S: Final = 10.0
LONGEST_WAIT_S: Final = 300.0
"""More is cut to this: the connection may not live longer, through proxies."""

_WAIT: Final = re.compile(r'wait\s*=\s*"?(\d{1,9}(?:\.\d{1,3})?)"?', re.IGNORECASE)
_ASYNC: Final = re.compile(r"respond-async", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PreferWait:
    """For how many seconds who asks waits, None when they did not say."""

    wait_s: float | None
    request_id: str | None

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of it."""
        return {} if self.wait_s is None else {"Preference-Applied": f"wait={self.wait_s:g}"}

    async def brain(
        self, desk: JobDesk, agent: HostedAgent, call: str, doing: Coroutine[Any, Any, BaseModel]
    ) -> Response:
        """Answer a call of a brain."""
        return await self._answer(desk, brain_work(agent, call, self.request_id), doing)

    async def life(
        self, desk: JobDesk, life: AgentLifecycle, command: str, doing: Callable[[], Awaitable[object]]
    ) -> Response:
        """Answer a command to an agent: with its status, when the transition is done.

        A start or a restart that is cancelled stops the agent, a change of its configuration that is cancelled leaves
        it as it was; a stop cannot be cancelled.
        """
        name = life.agent.name
        called_off: str | None = None

        async def run() -> BaseModel:
            work.began()
            await doing()
            if called_off is not None:
                raise CallCancelled(
                    f"the {command} of agent {name!r} was cancelled by {called_off}; it is {life.state}"
                )
            return life.agent.status()

        async def cancel(work: Work) -> None:
            nonlocal called_off
            if command == "stop":
                raise Conflict(
                    "a stop cannot be cancelled: it waits for the run under way; to end that, abort the queue"
                )
            if command == "patch":
                work.task.cancel()
                return
            called_off = context.person()
            await life.call_off(f"its {command} was cancelled by {called_off}")

        work = Work(name, command, cancel=cancel, request_id=self.request_id)
        return await self._answer(desk, work, run())

    async def _answer(self, desk: JobDesk, work: Work, doing: Coroutine[Any, Any, BaseModel]) -> Response:
        desk.begin(work, doing)
        if await desk.wait(work, DEFAULT_WAIT_S if self.wait_s is None else self.wait_s):
            return model_json(work.task.result(), headers=self.headers)
        job = desk.promise(work)
        return model_json(job, status=202, headers={**self.headers, "Location": f"/api/v1/jobs/{job.id}"})


def brain_work(agent: HostedAgent, call: str, request_id: str | None = None) -> Work:
    """Return a call of a brain: it is withdrawn without harm while it waits, and abandoned when it is under way."""

    async def cancel(work: Work) -> None:
        if not work.begun or agent.brain.call_lock.awaited_by(work):
            work.task.cancel()
        elif agent.brain.call_lock.watcher is work:
            await agent.brain.give_up_call()
        # else it is over, and only being written down

    return Work(agent.name, call, cancel=cancel, request_id=request_id)


def prefer_wait(headers: Headers, request_id: str | None) -> PreferWait:
    """Return how long a client says that it waits; the header may come several times."""
    wait_s = None
    for preference in re.split(r"[,;]", ",".join(headers.getlist("prefer"))):
        if seconds := _WAIT.fullmatch(preference.strip()):
            wait_s = min(float(seconds[1]), LONGEST_WAIT_S)
            break
        if _ASYNC.fullmatch(preference.strip()):
            wait_s = 0.0
    return PreferWait(wait_s, request_id)


async def _prefer_wait(
    request: Request,
    prefer: Annotated[  # for the OpenAPI document
        str | None,
        Header(description="`wait=S`: answer 202 with a job after so many seconds (default 10; 0: at once)"),
    ] = None,
) -> PreferWait:
    return prefer_wait(request.headers, request_id_of(request))


PreferWaitDep = Annotated[PreferWait, Depends(_prefer_wait)]
"""How long the client waits, in a route."""


def takes_long(model: type[Any]) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a call that may take long: 200 with its result, or 202 with a job."""
    applied = {"Preference-Applied": {"schema": {"type": "string"}, "description": "the wait that counted"}}
    location = {"Location": {"schema": {"type": "string"}, "description": "where the job is"}}
    return {
        200: {"model": model, "description": "Done", "headers": applied},
        202: {
            "model": Job,
            "description": "It goes on as a job: the wait was over first",
            "headers": {**applied, **location},
        },
    }


def model_json(body: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with a model, as JSON."""
    return Response(body.model_dump_json(), status_code=status, media_type="application/json", headers=headers)
