"""The suspenders of the service's RunEngine: whether one has tripped, before a plan and in the middle of it.

A plan waits in the queue while one has, so that it can be taken back, and its guardrails are looked at when it begins.
A suspension in the middle of a plan is bluesky's own; it is heard of by the two messages that begin and end it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.plans.sinks.run_engine_backlog import PlanBacklog

_NO_REASON: Final = "a suspender tripped"

_log = logging.getLogger(__name__)


class Suspenders:
    """Watches the suspenders of one RunEngine, and tells the queue.

    Parameters
    ----------
    queue
        The queue of the plans.
    notify
        Called, in some thread, when the queue's status has changed.
    """

    def __init__(self, queue: PlanBacklog, notify: Callable[[], None]) -> None:
        self._queue = queue
        self._notify = notify
        self._engine: Any = None
        self._reasons: list[str] = []

    def watch(self, engine: Any) -> None:
        """Begin, with a RunEngine that is made and configured."""
        commands = engine._command_registry  # noqa: SLF001 - nothing public tells how a command is run
        begin, end, wait_for = (commands[name] for name in ("_start_suspender", "_resume_from_suspender", "wait_for"))
        self._engine = engine

        async def began(message: Any) -> Any:
            self._note([*self._reasons, texts.one_line(str(message.args[2] or _NO_REASON))])
            return await begin(message)

        async def ended(message: Any) -> Any:
            self._note(self._reasons[:-1])
            return await end(message)

        async def waits(message: Any) -> Any:
            job = self._queue.current
            if job is None or job.begun:
                return await wait_for(message)
            # one tripped since `free` looked: the RunEngine waits for it before the plan's first message, and is to be
            # stopped as if that had come
            if self._queue.begin(job) == "abort":
                from bluesky.utils import RequestAbort  # noqa: PLC0415 - bluesky is imported by the driver

                raise RequestAbort
            self._note([_why(self._tripped())])
            try:
                return await wait_for(message)
            finally:
                self._note([])

        engine.register_command("_start_suspender", began)
        engine.register_command("_resume_from_suspender", ended)
        engine.register_command("wait_for", waits)

    def free(self) -> bool:
        """Return whether no suspender keeps a plan from beginning; waits for those that do, and returns False then."""
        tripped = self._tripped()
        if not tripped:
            return True
        released = asyncio.run_coroutine_threadsafe(_all(tripped), self._engine.loop)
        released.add_done_callback(lambda _: self._queue.look_again())
        self._note([_why(tripped)])
        self._queue.wait_for_release(released.done)
        released.cancel()
        self._note([])
        return False

    def clear(self) -> None:
        """Forget a suspension whose plan has ended."""
        if self._reasons:
            self._note([])

    def _tripped(self) -> list[tuple[list[Callable[[], Any]], str]]:
        """Return, of each suspender that has tripped, what to wait for and why."""
        if self._engine is None:
            return []
        try:
            return [waits for suspender in self._engine.suspenders if (waits := _waits(suspender))[0]]
        except Exception:  # noqa: BLE001 - of somebody's own kind: the RunEngine asks it too, and tells what it raises
            _log.exception("a suspender could not be asked")
            return []

    def _note(self, reasons: list[str]) -> None:
        before, self._reasons = self._reasons, reasons
        if reasons != before:
            if reasons:
                _log.warning("the RunEngine is suspended: %s", reasons[-1])
            elif self._queue.current is not None or before:
                _log.info("the RunEngine goes on")
            self._queue.suspend(reasons[-1] if reasons else None)
            self._notify()


def _waits(suspender: Any) -> tuple[list[Callable[[], Any]], str]:
    """Return what to wait for and why; nothing when the suspender has not tripped.

    Asked when its signal is recovering, bluesky's own ``get_futures`` makes an event that nobody sets, and with
    which the suspender does not trip again. So it is asked under its lock.
    """
    lock = getattr(suspender, "_lock", None)
    if lock is None:  # somebody's own kind
        return suspender.get_futures()
    with lock:
        if not suspender.tripped:
            return [], ""
        if (event := suspender._ev) is not None:  # noqa: SLF001 - see above
            return [event.wait], suspender._get_justification()  # noqa: SLF001
    waits = suspender.get_futures()  # it tripped before there was a RunEngine
    with lock:
        if suspender.tripped:
            return waits
        suspender._ev = None  # noqa: SLF001
        return [], ""


async def _all(tripped: list[tuple[list[Callable[[], Any]], str]]) -> None:
    await asyncio.gather(*(wait() for waits, _ in tripped for wait in waits))


def _why(tripped: list[tuple[list[Callable[[], Any]], str]]) -> str:
    return "; ".join(texts.one_line(why) for _, why in tripped if why) or _NO_REASON
