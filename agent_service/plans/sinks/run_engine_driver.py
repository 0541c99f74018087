"""The service's own RunEngine, driven by one thread: plans run, pause, resume and are aborted here.

What bluesky asks for, each seen by running it: a RunEngine is called, resumed and, while paused, aborted in one and the
same thread; while it runs, it is aborted from another. A pause and an abort make the pending call raise
``RunEngineInterrupted``. A subscriber that raises aborts the run.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import OutOfBounds, ServiceError, texts
from agent_service.plans.sinks.run_engine_backlog import PlanBacklog, PlanJob
from agent_service.plans.sinks.suspenders import Suspenders
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from agent_service.documents.intake import DocumentIntake
    from agent_service.models import QueueStatus
    from agent_service.protocols import Document

_log = logging.getLogger(__name__)

_TRANSITION_S: Final = 0.01
"""How often to look again while the RunEngine is between two states."""

_LOOP_END_S: Final = 2.0
"""How long to wait for the RunEngine's event loop to end."""


class RunEngineDriver:
    """One RunEngine in one daemon thread, and the plans that wait for it. Its methods may be called from any thread.

    The RunEngine is made in that thread after `start`, so that nobody waits for the imports. A driver runs once.

    It is a RunEngine to subscribe to: see `subscribe`.

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
    scan_id
        Number of the last run, read when the RunEngine is made; it counts on from there.
    """

    def __init__(
        self,
        intake: DocumentIntake,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        configure: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.scan_id = 0
        self._intake = intake
        self._loop = loop
        self._configure = configure
        self._engine: Any = None
        self._broken: str | None = None
        self._queue = PlanBacklog()
        self._suspenders = Suspenders(self._queue, lambda: self._notify())  # noqa: PLW0108 - it is set at the start
        self._notify: Callable[[], None] = lambda: None
        self._callback: Callable[[str, Document], None] | None = None
        self._asides: list[threading.Thread] = []
        self._asides_lock = threading.Lock()
        self._thread = threading.Thread(target=self._main, name="run-engine-driver", daemon=True)

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits, from memory."""
        return self._queue.status

    @property
    def broken(self) -> str | None:
        """Why there is no RunEngine to measure with, if there is none."""
        return self._broken

    @property
    def busy(self) -> bool:
        """Whether a plan runs; not while the RunEngine is still being made, for example."""
        return self._queue.current is not None

    @property
    def being_made(self) -> bool:
        """Whether the RunEngine is still being made: nothing has moved, and the imports cannot be called off."""
        return self._engine is None and self._broken is None and self._thread.is_alive()

    def subscribe(self, callback: Callable[[str, Document], None]) -> int:
        """Call ``callback`` with every document, in the RunEngine's thread; return a token. It has one subscriber."""
        self._callback = callback
        return 0

    def unsubscribe(self, token: int) -> None:
        """Let the subscriber go."""
        self._callback = None

    def start(self, notify: Callable[[], None]) -> None:
        """Start the thread; ``notify`` is called from some thread whenever `status` changed."""
        self._notify = notify
        self._thread.start()

    def submit(self, job: PlanJob) -> None:
        """Queue a plan; raises `QueueHeld` when the queue is held."""
        if self._queue.submit(job):
            self._notify()

    def withdraw(self, job: PlanJob) -> bool:
        """Take a waiting plan back, and return whether it was still waiting; one that runs goes on."""
        withdrawn = self._queue.withdraw(job)
        if withdrawn:
            self._notify()
        return withdrawn

    def pause(self) -> None:
        """Hold the next plan back, and ask the one that runs to stop at its next checkpoint."""
        ask = self._queue.pause("paused by request")
        self._notify()
        if ask is not None:
            self._aside(self._ask_pause)

    def resume(self) -> None:
        """Go on, from paused and from held; without a RunEngine it stays held."""
        if self._broken is None:
            self._queue.resume()
            self._notify()

    def latch(self, reason: str) -> None:
        """Hold the queue with nothing to abort: at the start of a service that ended held."""
        self._queue.hold(reason)
        self._notify()

    def abort(self, reason: str) -> None:
        """Hold the queue, abort the plan under way, and give the waiting ones back as aborted."""
        self._queue.hold(reason)
        self._abort_all(reason)

    def close(self, reason: str) -> None:
        """Take no more plans, abort the one under way so that stop documents are written, and end the thread."""
        self._queue.close(reason)
        self._abort_all(reason)

    def ask(self, answer: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
        """Return what a coroutine of a device returns, awaited where plans await it; blocks, not for this event loop.

        Raises
        ------
        TimeoutError
            It did not end in time, and is cancelled.
        """
        from bluesky.run_engine import get_bluesky_event_loop  # noqa: PLC0415 - see _make_engine

        loop = get_bluesky_event_loop() if self._engine is None else self._engine.loop
        if loop is None or not loop.is_running():  # no RunEngine yet: nobody else awaits for the device, either
            return asyncio.run(asyncio.wait_for(answer, timeout_s))
        asked = asyncio.run_coroutine_threadsafe(answer, loop)
        try:
            return asked.result(timeout_s)
        except TimeoutError:
            asked.cancel()
            raise

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no plan runs, is paused or being aborted, and return whether that is so; blocks."""
        return self._queue.wait_idle(timeout_s)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end, and return whether it did; blocks."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- in threads of their own: the RunEngine answers when its loop is free, and a device may keep that busy

    def _aside(self, call: Callable[[], None]) -> None:
        thread = threading.Thread(target=call, name="run-engine-control", daemon=True)
        with self._asides_lock:
            thread.start()
            self._asides = [*(one for one in self._asides if one.is_alive()), thread]

    def _abort_all(self, reason: str) -> None:
        withdrawn, interrupt = self._queue.abort(reason)
        if interrupt is not None:
            self._aside(lambda: self._interrupt(interrupt))
        for job in withdrawn:
            job.done(PlanResult(ExitStatus.ABORT, reason, begun=False))
        self._notify()

    def _ask_pause(self) -> None:
        from bluesky.run_engine import TransitionError  # noqa: PLC0415 - see _make_engine

        try:
            self._engine.request_pause(defer=True)
        except TransitionError:
            _log.debug("the plan ended, or paused by itself, before it could be asked to pause")

    def _interrupt(self, job: PlanJob) -> None:
        """Abort a running plan; a paused one is aborted in the driver's thread, by `_go_on`."""
        from bluesky.run_engine import TransitionError  # noqa: PLC0415 - see _make_engine

        while self._queue.current is job and self._engine.state != "paused":
            if self._engine.state == "running":
                try:
                    self._engine.abort(job.abort_reason)
                except TransitionError:
                    _log.debug("the plan ended, or paused, before it could be aborted")
                else:
                    return
            time.sleep(_TRANSITION_S)

    # --- in the driver's thread

    def _main(self) -> None:
        try:
            self._engine = self._make_engine()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - said to everybody who wants a plan run
            said = error.detail if isinstance(error, ServiceError) else one_line(error)
            _log.error("the RunEngine could not be made: %s", said, exc_info=error.__cause__ or error)
            self._broken = f"the RunEngine could not be made: {said}; mend it and start the service again"
            self.latch(self._broken)
        while (job := self._queue.take(self._may_begin)) is not None:
            self._notify()
            result = self._perform(job)
            self._suspenders.clear()
            self._queue.release()
            self._notify()
            self._intake.barrier(lambda done=job.done, result=result: done(result))
        with self._asides_lock:
            asides = self._asides
        for thread in asides:
            # while the RunEngine's loop still answers it
            thread.join(_LOOP_END_S)
        if self._engine is not None:
            self._engine.clear_suspenders()  # their signals live on
            if self._loop is None:
                _dismantle(self._engine)

    def _may_begin(self) -> bool:
        """Return whether the next plan may begin; waits for what keeps it from that, and returns False then."""
        if not self._intake.full:
            return self._suspenders.free()
        self._queue.suspend(f"{self._intake.backlog} documents wait to be written; no further plan begins until then")
        self._notify()
        self._intake.when_room(self._queue.look_again)
        self._queue.wait_for_release(lambda: not self._intake.full)
        self._queue.suspend(None)
        self._notify()
        return False

    def _make_engine(self) -> Any:
        # imported here: bluesky takes a third of a second, and the service is up before
        from bluesky import run_engine  # noqa: PLC0415

        others = run_engine.get_bluesky_event_loop()
        engine = run_engine.RunEngine({}, loop=self._loop, context_managers=[], call_returns_result=True)
        if others is not None and others.is_running():
            # a RunEngine takes the process's bluesky loop over; one that was here before (a notebook's) keeps it
            run_engine.set_bluesky_event_loop(others)
        engine.md["scan_id"] = self.scan_id
        engine.subscribe(self._take_document)
        self._configure(engine)
        last = engine.md.get("scan_id", 0)  # of a PersistentDict, perhaps
        engine.md["scan_id"] = max(last, self.scan_id) if isinstance(last, int) else last
        engine.preprocessors.append(self._entered)  # the last one is the outermost, and sees all messages
        self._suspenders.watch(engine)
        return engine

    def _perform(self, job: PlanJob) -> PlanResult:
        if self._broken is not None:
            return PlanResult(ExitStatus.FAIL, self._broken)
        try:
            return job.result(self._execute(job))
        except OutOfBounds as error:
            return PlanResult(ExitStatus.REJECTED, error.detail)
        except ServiceError as error:
            return job.result(ExitStatus.FAIL, error.detail)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plan raises is its result
            return job.result(ExitStatus.FAIL, one_line(error))

    def _execute(self, job: PlanJob) -> ExitStatus:
        """Run a plan to its end, through pauses, and return the RunEngine's exit status."""
        from bluesky.utils import RunEngineInterrupted  # noqa: PLC0415 - see _make_engine

        plan = job.build()
        try:
            ended = ExitStatus(self._engine(plan, **job.md).exit_status)
        except RunEngineInterrupted:
            ended = ExitStatus.ABORT
        while self._engine.state != "idle":
            self._queue.note_paused(job)
            self._notify()
            try:
                ended = self._go_on(job)
            except RunEngineInterrupted:
                ended = ExitStatus.ABORT
        return ended

    def _go_on(self, job: PlanJob) -> ExitStatus:
        """Wait until somebody resumes or aborts a paused plan, do that, and return the exit status."""
        from bluesky.run_engine import TransitionError  # noqa: PLC0415 - see _make_engine

        decision = self._queue.await_decision(job)
        try:
            if decision == "resume":
                return ExitStatus(self._engine.resume().exit_status)
            self._engine.abort(job.abort_reason)
        except TransitionError:
            _log.debug("an abort overtook the pause")
        else:
            # an abort that met the pause on its way returns at once; the plan's end is still to be waited for
            while self._engine.state not in {"idle", "paused"}:
                time.sleep(_TRANSITION_S)
        return ExitStatus.ABORT

    # --- in the RunEngine's thread

    def _entered(self, plan: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Wrap a plan: from its first message on it can be paused and aborted; what was asked before counts now."""
        from bluesky.preprocessors import msg_mutator  # noqa: PLC0415 - see _make_engine
        from bluesky.utils import Msg, RequestAbort  # noqa: PLC0415 - see _make_engine

        def with_reason(message: Any) -> Any:
            # bluesky's run_wrapper closes an aborted run without saying why
            closes = message.command == "close_run" and message.kwargs.get("exit_status") == "abort"
            if not closes or message.kwargs.get("reason") or job is None or job.abort_reason is None:
                return message
            return message._replace(kwargs={**message.kwargs, "reason": job.abort_reason})

        job = self._queue.current
        asked = "go" if job is None else self._queue.begin(job)
        if asked == "abort":
            raise RequestAbort
        if asked == "pause":
            yield Msg("pause")
        try:
            return (yield from msg_mutator(plan, with_reason))
        except (SystemExit, KeyboardInterrupt) as error:
            # either would end the RunEngine's event loop, and every later plan would wait for ever
            raise RuntimeError(f"the plan raised {one_line(error)}") from error

    def _take_document(self, name: str, document: Document) -> None:
        try:
            job = self._queue.current
            if job is not None and name == "start":
                job.runs[document["uid"]] = ("", "the run was left open")
            elif job is not None and name == "stop":
                job.runs[document["run_start"]] = (document["exit_status"], document.get("reason", ""))
            if self._callback is not None:
                self._callback(name, document)
        except Exception:  # noqa: BLE001 - an exception in a subscriber would abort the run
            _log.exception("a %s document was not taken", name)


def one_line(error: BaseException) -> str:
    """Return an exception's type and message in one line, cut where it is long."""
    return f"{type(error).__name__}: {texts.one_line(str(error))}".removesuffix(": ")


def _dismantle(engine: Any) -> None:
    """End the RunEngine's event loop and its thread, which bluesky itself leaves to the end of the process."""
    from bluesky import run_engine  # noqa: PLC0415 - see _make_engine

    loop: asyncio.AbstractEventLoop = engine.loop
    thread: threading.Thread = engine._th  # noqa: SLF001 - the only reference there is to it

    async def wind_up() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_default_executor()

    try:
        asyncio.run_coroutine_threadsafe(wind_up(), loop).result(_LOOP_END_S)
    except TimeoutError:
        _log.warning("the RunEngine's tasks did not end within %.0f s", _LOOP_END_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_LOOP_END_S)
    if not thread.is_alive():
        loop.close()
    if run_engine.get_bluesky_event_loop() is loop:
        run_engine.set_bluesky_event_loop(None)
