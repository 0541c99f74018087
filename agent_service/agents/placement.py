"""Where agents live: which executor an agent gets, and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from agent_service.brains.allowed_modules import ANY, Listed
from agent_service.brains.factory import BrainFactory
from agent_service.errors import AgentFault, FieldError, InvalidInput
from agent_service.executors.pickling import pickled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.models import AgentSpec
    from agent_service.protocols import Executor


class Place(NamedTuple):
    """An executor for an agent, its name, why it is that one, None when the agent asked for it, and what to import."""

    name: str
    executor: Executor
    reason: str | None = None
    libraries: tuple[str, ...] = ()


class Placement:
    """Chooses executors, each under the name that `AgentSpec.executor` has for it; belongs to the event loop.

    The first that is isolated and the first that is not are what ``auto`` chooses from: an isolated one in a
    ``headless`` service, which has its process to itself, another in one that is a guest in a notebook or script, whose
    objects its agents may share. ``listed`` is whose code agents may be.
    """

    def __init__(self, executors: Mapping[str, Executor], *, headless: bool, listed: Listed = ANY) -> None:
        self._executors = executors
        self._isolated = next(name for name, executor in executors.items() if executor.isolated)
        self._shared = next(name for name, executor in executors.items() if not executor.isolated)
        self._headless = headless
        self._listed = listed

    @property
    def shared(self) -> Executor:
        """What hosts code in the service's own process, with what is there."""
        return self._executors[self._shared]

    def brain_factory(self, spec: AgentSpec) -> BrainFactory:
        """Return what makes an agent's brain. See `BrainFactory.of`."""
        return BrainFactory.of(spec, self._listed)

    def expected(self, spec: AgentSpec) -> Place:
        """Return where an agent will probably live; from memory, without looking at its objects."""
        if spec.executor != "auto":
            return self._place(spec.executor)
        if spec.memory_limit_mb is not None:
            return self._place(self._isolated, "auto: only a process can be given a memory limit")
        if not self._headless:
            return self._place(self._shared, "auto: the service shares its process with a notebook or script")
        if (why := self._executors[self._isolated].why_not()) is not None:
            return self._place(self._shared, f"auto: {why}")
        return self._place(self._isolated, "auto: the service is headless")

    async def choose(self, factory: BrainFactory) -> Place:
        """Return where an agent is to live; `InvalidInput` says why when that is a process of its own and cannot be."""
        spec, place = factory.spec, self.expected(factory.spec)
        why = place.executor.why_not()
        if why is None and place.executor.needs_pickle and factory.has_live_objects:
            try:
                await asyncio.to_thread(pickled, factory)
            except AgentFault as error:
                why = error.detail
        if why is None:
            if not place.executor.isolated:
                return place
            return place._replace(libraries=await asyncio.to_thread(factory.libraries))
        if spec.executor != "auto" or spec.memory_limit_mb is not None:
            message = f'{why}; set executor = "{self._shared}", without memory_limit_mb'
            raise InvalidInput(f"agent {spec.name!r}: {message}", errors=[FieldError("executor", message)])
        return self._place(self._shared, f"auto: {why}")

    async def close(self) -> None:
        """End the executors, the last first."""
        for executor in reversed(list(self._executors.values())):
            await executor.close()

    def _place(self, name: str, reason: str | None = None) -> Place:
        return Place(name, self._executors[name], reason)
