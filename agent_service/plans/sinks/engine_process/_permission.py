"""Whether a plan of the RunEngine's process may begin: the guardrails say it, here, when its turn comes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from agent_service.errors import NotYet, OutOfBounds
from agent_service.plans.sinks.engine_process._messages import packed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.documents.intake import DocumentIntake
    from agent_service.plans.sinks.engine_process._link import EngineLink
    from agent_service.plans.sinks.engine_process._messages import Question
    from agent_service.protocols import DeviceWords, PlanOrder

_log = logging.getLogger(__name__)


class Permits(Protocol):
    """What the guardrails say of a plan whose turn comes. See `agents.plan_permits`."""

    def may_be_early(self, order: PlanOrder) -> bool:
        """Return whether a plan may be permitted while the one before it runs."""
        ...

    def ask_devices(self, order: PlanOrder) -> None:
        """Raise `OutOfBounds` when devices forbid a plan; blocks."""
        ...

    def heard_devices(self, order: PlanOrder, words: DeviceWords) -> bool:
        """Do what `ask_devices` does by what devices said already; False: they are to be asked."""
        ...

    def permit(
        self, order: PlanOrder, places: Mapping[str, float], wholes: Mapping[str, Sequence[str]], *, begins: bool
    ) -> None:
        """Raise `OutOfBounds` when a guardrail forbids a plan, `NotYet` when it is not to begin now.

        Unless it ``begins`` at once it may be taken back still.
        """
        ...

    def note_begun(self, order: PlanOrder) -> None:
        """Note that a plan has begun that was permitted before."""
        ...


class Permission:
    """Answers the process when it asks for a plan; ``full`` says why none begins though its turn has come.

    Belongs to the event loop.
    """

    def __init__(
        self, link: EngineLink, permits: Callable[[], Permits], intake: DocumentIntake, on_change: Callable[[], None]
    ) -> None:
        self.full: str | None = None
        self._link = link
        self._answers: set[asyncio.Task[None]] = set()
        self._permits = permits
        self._intake = intake
        self._on_change = on_change
        self._early: dict[int, PlanOrder] = {}

    def note_begun(self, number: int) -> None:
        """Note that a plan has begun; what was permitted early before it has begun earlier, or never does."""
        for early in [early for early in self._early if early <= number]:
            order = self._early.pop(early)
            if early == number:
                self._permits().note_begun(order)

    def answer(self, number: int, order: PlanOrder, question: Question, *, paused: bool) -> None:
        """Say whether a plan may begin; False, while the one before it runs, is to ask again."""
        for begun in question.begun:
            self.note_begun(begun)

        async def work() -> None:
            early = question.found is None
            verdict = False if early and paused else await self._verdict(order, question)
            if early and verdict is True:
                self._early[number] = order
            self._link.send(("permitted", number, early, verdict))

        task = asyncio.ensure_future(work())
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _verdict(self, order: PlanOrder, question: Question) -> Any:
        early, words = question.found is None, question.words
        try:
            wholes = question.wholes
            if wholes is None or (early and (self._intake.full or not self._permits().may_be_early(order))):
                return False
            if self._intake.full:
                await self._has_room()
            if words is None or not self._permits().heard_devices(order, words):
                await asyncio.to_thread(self._permits().ask_devices, order)
            self._permits().permit(order, question.found or {}, wholes, begins=not early)
        except (OutOfBounds, NotYet) as error:
            return False if early else packed(error)
        except Exception as error:  # noqa: BLE001 - told as the plan's failure
            _log.exception("whether a plan may begin could not be said")
            return packed(error)
        return True

    async def _has_room(self) -> None:
        room = asyncio.Event()
        self.full = f"{self._intake.backlog} documents wait to be written; no further plan begins until then"
        self._on_change()
        self._intake.when_room(room.set)
        await room.wait()
        self.full = None
        self._on_change()
