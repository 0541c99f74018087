"""Where agents live: which executor an agent gets, and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from agent_service.brains.factory import BrainFactory
from agent_service.brains.listed import ANY, Listed
from agent_service.errors import AgentFault, FieldError, InvalidInput
from agent_service.executors.process import pickled

if TYPE_CHECKING:
    from agent_service.models import AgentSpec
    from agent_service.protocols import Executor


class Place(NamedTuple):
    """An executor for an agent, and why it is that one; None when the agent asked for it."""

    executor: Executor
    reason: str | None = None


class Placement:
    """Chooses executors; belongs to the event loop.

    Parameters
    ----------
    thread, process
        The executors there are.
    headless
        What ``auto`` means: a process of the agent's own in a service that has its process to itself, a thread in one
        that is a guest in a notebook or script, whose objects its agents may share.
    listed
        Whose code they may be.
    """

    def __init__(self, *, thread: Executor, process: Executor, headless: bool, listed: Listed = ANY) -> None:
        self.thread = thread
        self._process = process
        self._headless = headless
        self._listed = listed

    def brain_factory(self, spec: AgentSpec) -> BrainFactory:
        """Return what makes an agent's brain. See `BrainFactory.of`."""
        return BrainFactory.of(spec, self._listed)

    def expected(self, spec: AgentSpec) -> Place:
        """Return where an agent will probably live; from memory, without looking at its objects."""
        if spec.executor == "thread":
            return Place(self.thread)
        if spec.executor == "process":
            return Place(self._process)
        if spec.memory_limit_mb is not None:
            return Place(self._process, "auto: only a process can be given a memory limit")
        if not self._headless:
            return Place(self.thread, "auto: the service shares its process with a notebook or script")
        if (why := self._process.why_not()) is not None:
            return Place(self.thread, f"auto: {why}")
        return Place(self._process, "auto: the service is headless")

    async def choose(self, factory: BrainFactory) -> Place:
        """Return where an agent is to live.

        Raises
        ------
        InvalidInput
            It is to live in a process of its own and cannot; says why.
        """
        place = self.expected(factory.spec)
        if place.executor is not self._process:
            return place
        why = self._process.why_not()
        if why is None and factory.has_live_objects:
            try:
                await asyncio.to_thread(pickled, factory)
            except AgentFault as error:
                why = error.detail
        if why is None:
            return place
        if factory.spec.executor == "process" or factory.spec.memory_limit_mb is not None:
            said = f'{why}; set executor = "thread", without memory_limit_mb'
            raise InvalidInput(f"agent {factory.spec.name!r}: {said}", errors=[FieldError("executor", said)])
        return Place(self.thread, f"auto: {why}")

    async def close(self) -> None:
        """End the executors."""
        await self._process.close()
        await self.thread.close()
