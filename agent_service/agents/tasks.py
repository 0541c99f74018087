"""The tasks of one agent, under one owner: nothing that an agent does is begun, awaited or cancelled elsewhere."""

from __future__ import annotations

import asyncio
import contextvars
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from agent_service import context
from agent_service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Role(StrEnum):
    """What a task of an agent is for; plans and facts end with the task that began them."""

    BEGIN = "begin"
    BUILD = "build"
    LOOP = "agent"
    RESTART = "restart"
    REBUILD = "rebuild"
    CATCH_UP = "catch-up"
    PROCESS_DEATH = "process-death"
    PLAN = "plan"
    FACT = "fact"
    OUTCOME = "outcome"
    ASK = "ask"
    FILL = "fill"
    SAVE = "save"


class AgentTasks:
    """Owns the tasks of one agent, and calls ``on_end`` when one has ended; belongs to the event loop."""

    def __init__(self, name: str, *, on_end: Callable[[], None]) -> None:
        self._name = name
        self._on_end = on_end
        self._tasks: dict[asyncio.Task[Any], Role] = {}

    def begin(self, role: Role, work: Coroutine[Any, Any, T], *, for_request: bool = False) -> asyncio.Task[T]:
        """Begin a task; it acts for the service itself, and its facts wait for a full disk.

        One ``for_request`` acts for the request that begins it, and is followed by its job: a request waits for no
        disk.
        """
        surroundings = contextvars.copy_context()
        if not for_request:
            surroundings.run(context.enter_background)
        task = asyncio.create_task(work, name=f"{role}:{self._name}", context=surroundings)
        self._tasks[task] = role
        task.add_done_callback(self._ended)
        return task

    def under_way(self, *roles: Role) -> set[asyncio.Task[Any]]:
        """Return the tasks of these roles that have not ended, those of all roles if none is given."""
        return {task for task, role in self._tasks.items() if not task.done() and (not roles or role in roles)}

    def cancel(self, *roles: Role) -> None:
        """Cancel the tasks of these roles, or all; never the one that calls this."""
        for task in self.under_way(*roles) - {asyncio.current_task()}:
            task.cancel()

    async def wait(self, *roles: Role) -> None:
        """Return when the tasks of these roles have ended, or all; never for the one that calls this."""
        if tasks := self.under_way(*roles) - {asyncio.current_task()}:
            await asyncio.wait(tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        self._on_end()


class WorkBehind:
    """Work of one role beside an agent's loop, which `settle` raises the errors of; belongs to the event loop."""

    def __init__(self, tasks: AgentTasks, role: Role) -> None:
        self._tasks = tasks
        self._role = role
        self.errors: list[Exception] = []  # to be raised

    @property
    def pending(self) -> bool:
        """Whether some is under way, or an error of it is to be raised."""
        return bool(self._tasks.under_way(self._role) or self.errors)

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Begin some; nothing of it is made when it is cancelled before its first step."""
        return self._tasks.begin(self._role, self._do(work))

    async def settle(self, *, quietly: bool = False) -> None:
        """Wait until none is under way; raise what went wrong, unless ``quietly``."""
        await self._tasks.wait(self._role)
        errors, self.errors = self.errors, []
        for error in errors:
            if not (quietly and isinstance(error, ServiceError)):
                raise error

    async def _do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - `settle` raises it in the loop
            self.errors.append(error)
