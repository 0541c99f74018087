"""The thread that drives the service's own RunEngine: plans wait, run one by one, and are paused and aborted here."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

from agent_service.plans.sinks.own_run_engine import LOOP_END_S, OwnRunEngine
from agent_service.plans.sinks.run_engine_backlog import PlanBacklog
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agent_service.models import QueueStatus
    from agent_service.plans.sinks.run_engine_backlog import PlanJob

_log = logging.getLogger(__name__)


class DocumentQueue(Protocol):
    """The documents on their way: a `DocumentIntake`, or who hands them to one in another process."""

    @property
    def full(self) -> bool:
        """Whether no plan should begin."""
        ...

    @property
    def backlog(self) -> int:
        """How many documents wait."""
        ...

    def barrier(self, passed: Callable[[], None]) -> None:
        """Call ``passed`` when all documents so far were delivered."""
        ...

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once it is not `full`."""
        ...


class RunEngineDriver:
    """One RunEngine in one daemon thread, and the plans that wait for it. Its methods may be called from any thread.

    The RunEngine is made in that thread after `start`, so that nobody waits for the imports. A driver runs once.

    Parameters
    ----------
    intake
        Where its documents go: nobody hears of a plan's end before them, and no plan begins while it is full.
    loop
        The event loop that the devices are connected on, see `bluesky_loop`; it goes on when the driver ends. None: one
        of its own.
    configure
        Called with the RunEngine, in the driver's thread, when it is made. What it raises is told, and nothing is
        measured.

    Attributes
    ----------
    engine
        The RunEngine, to subscribe to and to ask.
    scan_id
        Number of the last run, read when the RunEngine is made; it counts on from there.
    """

    def __init__(
        self,
        intake: DocumentQueue,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        configure: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.scan_id = 0
        self._intake = intake
        self._backlog = PlanBacklog()
        self._notify: Callable[[], None] = lambda: None
        self.engine = OwnRunEngine(self._backlog, lambda: self._notify(), loop, configure)  # noqa: PLW0108 - see `start`
        self._controls: list[threading.Thread] = []
        self._controls_lock = threading.Lock()
        self._thread = threading.Thread(target=self._main, name="run-engine-driver", daemon=True)

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits, from memory."""
        return self._backlog.status

    @property
    def broken(self) -> str | None:
        """Why there is no RunEngine to measure with, if there is none."""
        return self.engine.broken

    @property
    def being_made(self) -> bool:
        """Whether the RunEngine is still being made: nothing has moved, and the imports cannot be called off."""
        return self.engine.run_engine is None and self.broken is None and self._thread.is_alive()

    def start(self, notify: Callable[[], None]) -> None:
        """Start the thread; ``notify`` is called from some thread whenever `status` changed."""
        self._notify = notify
        self._thread.start()

    def submit(self, job: PlanJob) -> None:
        """Queue a plan; raises `QueueHeld` when the queue is held."""
        if self._backlog.submit(job):
            self._notify()

    def withdraw(self, job: PlanJob) -> bool:
        """Take a waiting plan back, and return whether it was still waiting; one that runs goes on."""
        withdrawn = self._backlog.withdraw(job)
        if withdrawn:
            self._notify()
        return withdrawn

    def pause(self) -> None:
        """Hold the next plan back, and ask the one that runs to stop at its next checkpoint."""
        ask = self._backlog.pause("paused by request")
        self._notify()
        if ask is not None:
            self._detach(self.engine.request_pause)

    def resume(self) -> None:
        """Go on, from paused and from held; without a RunEngine it stays held."""
        if self.broken is None:
            self._backlog.resume()
            self._notify()

    def latch(self, reason: str) -> None:
        """Hold the queue with nothing to abort: at the start of a service that ended held."""
        self._backlog.hold(reason)
        self._notify()

    def abort(self, reason: str) -> None:
        """Hold the queue, abort the plan under way, and give the waiting ones back as aborted."""
        self._backlog.hold(reason)
        self._abort_all(reason, halts=True)

    def close(self, reason: str) -> None:
        """Take no more plans, abort the one under way so that stop documents are written, and end the thread."""
        self._backlog.close(reason)
        self._abort_all(reason)

    def halt(self, reason: str) -> None:
        """End the plan under way without its clean-up; it was aborted before."""
        self._backlog.wait_idle(0)
        self._abort_all(reason, halts=True)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no plan runs, is paused or being aborted, and return whether that is so; blocks.

        A plan that goes on although it was aborted is overdue then: aborted again, it ends without its clean-up.
        """
        idle = self._backlog.wait_idle(timeout_s)
        if not idle:
            self._notify()
        return idle

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end, and return whether it did; blocks."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self._thread.is_alive() and self._backlog.current is not None:
            _log.error("the plan under way did not end within %.1f s; its devices may still be busy", timeout_s)
        return not self._thread.is_alive()

    # --- in threads of their own: the RunEngine answers when its loop is free, and a device may keep that busy

    def _detach(self, call: Callable[[], None]) -> None:
        thread = threading.Thread(target=call, name="run-engine-control", daemon=True)
        with self._controls_lock:
            thread.start()
            self._controls = [*(control for control in self._controls if control.is_alive()), thread]

    def _abort_all(self, reason: str, *, halts: bool = False) -> None:
        withdrawn, interrupt = self._backlog.abort(reason, halts=halts)
        if interrupt is not None:
            self._detach(lambda: self.engine.interrupt(interrupt))
        for job in withdrawn:
            job.done(PlanResult(ExitStatus.ABORT, reason, begun=False))
        self._notify()

    # --- in the driver's thread

    def _main(self) -> None:
        self.engine.make(self.scan_id)
        if self.broken is not None:
            self.latch(self.broken)
        while (job := self._backlog.next_job(self._may_begin)) is not None:
            self._notify()
            result = self.engine.run(job)
            self.engine.suspenders.clear()
            self._backlog.release()
            self._notify()
            self._intake.barrier(lambda done=job.done, result=result: done(result))
        with self._controls_lock:
            controls = self._controls
        for thread in controls:
            # while the RunEngine's loop still answers it
            thread.join(LOOP_END_S)
        self.engine.end()

    def _may_begin(self) -> bool:
        """Return whether the next plan may begin; waits for what keeps it from that, and returns False then."""
        if not self._intake.full:
            return self.engine.suspenders.free()
        self._backlog.suspend(f"{self._intake.backlog} documents wait to be written; no further plan begins until then")
        self._notify()
        self._intake.when_room(self._backlog.look_again)
        self._backlog.wait_for_release(lambda: not self._intake.full)
        self._backlog.suspend(None)
        self._notify()
        return False
