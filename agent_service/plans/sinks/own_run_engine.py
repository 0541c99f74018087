"""The service's own RunEngine: made, subscribed to, and called for one plan after the other.

What bluesky needs, each seen by running it: the same thread calls, resumes and, while paused, aborts a RunEngine; while
it runs, another thread aborts it. A pause and an abort make the pending call raise ``RunEngineInterrupted``. A
subscriber that raises aborts the run.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import Conflict, OutOfBounds, ServiceError, texts
from agent_service.plans import startup
from agent_service.plans.sinks.suspenders import Suspenders
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Coroutine, Generator

    from agent_service.plans.sinks.run_engine_backlog import PlanBacklog, PlanJob
    from agent_service.protocols import Document

_log = logging.getLogger(__name__)

_TRANSITION_S: Final = 0.01
"""How often to look again while the RunEngine is between two states."""

LOOP_END_S: Final = 2.0
"""How long to wait for the RunEngine's event loop to end."""


class OwnRunEngine:
    """One RunEngine, as its driver calls it and as a `RunEngineSource` subscribes to it.

    Parameters
    ----------
    backlog
        Knows the plan under way, and who wants to pause or abort it.
    notify
        Called, in some thread, when the backlog's status has changed.
    loop, configure
        As for `RunEngineDriver`.

    Attributes
    ----------
    run_engine
        Bluesky's; None before it is made.
    broken
        Why there is none to measure with, if there is none.
    suspenders
        What watches its suspenders.
    """

    def __init__(
        self,
        backlog: PlanBacklog,
        notify: Callable[[], None],
        loop: asyncio.AbstractEventLoop | None,
        configure: Callable[[Any], None],
    ) -> None:
        self.run_engine: Any = None
        self.broken: str | None = None
        self.suspenders = Suspenders(backlog, notify)
        self._backlog = backlog
        self._notify = notify
        self._loop = loop
        self._configure = configure
        self._callback: Callable[[str, Document], None] | None = None

    def subscribe(self, callback: Callable[[str, Document], None]) -> int:
        """Call ``callback`` with every document, in the RunEngine's thread; return a token. It has one subscriber."""
        self._callback = callback
        return 0

    def unsubscribe(self, token: int) -> None:
        """Let the subscriber go."""
        self._callback = None

    def ask(self, answer: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
        """Return what a coroutine of a device returns, awaited where plans await it; blocks, not for this event loop.

        Raises
        ------
        TimeoutError
            It did not end in time, and is cancelled.
        """
        from bluesky.run_engine import get_bluesky_event_loop  # noqa: PLC0415 - see make

        loop = get_bluesky_event_loop() if self.run_engine is None else self.run_engine.loop
        if loop is None or not loop.is_running():  # no RunEngine yet: nobody else awaits for the device, either
            return asyncio.run(asyncio.wait_for(answer, timeout_s))
        asked = asyncio.run_coroutine_threadsafe(answer, loop)
        try:
            return asked.result(timeout_s)
        except TimeoutError:
            asked.cancel()
            raise

    # --- in threads of their own: the RunEngine answers when its loop is free, and a device may keep that busy

    def request_pause(self) -> None:
        """Ask the plan that runs to pause at its next checkpoint."""
        from bluesky.run_engine import TransitionError  # noqa: PLC0415 - see make

        try:
            self.run_engine.request_pause(defer=True)
        except TransitionError:
            _log.debug("the plan ended, or paused by itself, before it could be asked to pause")

    def interrupt(self, job: PlanJob) -> None:
        """Abort a running plan; a paused one is aborted in the driver's thread, by `_go_on`.

        One that is halted was aborted before: what it waits for is called off, and `_entered` lets no more of it pass.
        """
        from bluesky.run_engine import TransitionError  # noqa: PLC0415 - see make

        if job.halted:
            engine = self.run_engine
            engine.loop.call_soon_threadsafe(engine._task.cancel)  # noqa: SLF001 - bluesky aborts a plan once
            return
        while self._backlog.current is job and self.run_engine.state != "paused":
            if self.run_engine.state == "running":
                try:
                    self.run_engine.abort(job.abort_reason)
                except TransitionError:
                    _log.debug("the plan ended, or paused, before it could be aborted")
                else:
                    return
            time.sleep(_TRANSITION_S)

    # --- in the driver's thread

    def make(self, scan_id: int) -> None:
        """Make it, its runs numbered on from ``scan_id``; where that fails, `broken` says why."""
        try:
            self.run_engine = self._made(scan_id)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - told everybody who wants a plan run
            why = error.detail if isinstance(error, ServiceError) else texts.describe(error)
            _log.error("the RunEngine could not be made: %s", why, exc_info=error.__cause__ or error)
            self.broken = f"the RunEngine could not be made: {why}; mend it and start the service again"

    def end(self) -> None:
        """Let go of it, and of its event loop if that is its own."""
        if self.run_engine is not None:
            self.run_engine.clear_suspenders()  # their signals live on
            if self._loop is None:
                _dismantle(self.run_engine)

    def _made(self, scan_id: int) -> Any:
        # imported here: bluesky takes a third of a second, and the service is up before
        from bluesky import run_engine  # noqa: PLC0415

        others = run_engine.get_bluesky_event_loop()
        engine: Any = run_engine.RunEngine({}, loop=self._loop, context_managers=[], call_returns_result=True)
        if others is not None and others.is_running():
            # a RunEngine takes the process's bluesky loop over; one that was here before (a notebook's) keeps it
            run_engine.set_bluesky_event_loop(others)
        engine.md["scan_id"] = scan_id
        engine.subscribe(self._on_document)
        self._configure(engine)
        last = engine.md.get("scan_id", 0)  # of a PersistentDict, perhaps
        engine.md["scan_id"] = max(last, scan_id) if isinstance(last, int) else last
        for command, carry_out in engine._command_registry.items():  # noqa: SLF001 - bluesky lists their names alone
            engine.register_command(command, _contained(carry_out))
        engine.preprocessors.append(self._entered)  # the last one is the outermost, and sees all messages
        self.suspenders.watch(engine)
        return engine

    def run(self, job: PlanJob) -> PlanResult:
        """Run a plan to its end, and return how it ended."""
        if self.broken is not None:
            return PlanResult(ExitStatus.FAIL, self.broken)
        try:
            return job.result(self._execute(job))
        except OutOfBounds as error:
            return PlanResult(ExitStatus.REJECTED, error.detail)
        except ServiceError as error:
            if isinstance(error, Conflict) and not job.begun:  # taken back, or not to begin now, when its turn came
                return PlanResult(ExitStatus.ABORT, error.detail, begun=False)
            return job.result(ExitStatus.FAIL, error.detail)
        except BaseException as error:  # noqa: BLE001 - whatever a plan raises is its result, and this thread goes on
            return job.result(ExitStatus.FAIL, startup.describe(error), traceback=texts.traceback_of(error))

    def _execute(self, job: PlanJob) -> ExitStatus:
        """Run a plan to its end, through pauses, and return the RunEngine's exit status."""
        from bluesky.utils import RunEngineInterrupted  # noqa: PLC0415 - see make

        plan = job.build()
        try:
            ended = ExitStatus(self.run_engine(plan, **job.md).exit_status)
        except RunEngineInterrupted:
            ended = ExitStatus.ABORT
        while self.run_engine.state != "idle":
            self._backlog.note_paused(job)
            self._notify()
            try:
                ended = self._go_on(job)
            except RunEngineInterrupted:
                ended = ExitStatus.ABORT
        return ended

    def _go_on(self, job: PlanJob) -> ExitStatus:
        """Wait until somebody resumes or aborts a paused plan, do that, and return the exit status."""
        from bluesky.run_engine import TransitionError  # noqa: PLC0415 - see make

        decision = self._backlog.await_decision(job)
        try:
            if decision == "resume":
                return ExitStatus(self.run_engine.resume().exit_status)
            self.run_engine.abort(job.abort_reason)
        except TransitionError:
            _log.debug("an abort overtook the pause")
        else:
            # an abort that met the pause on its way returns at once; the plan's end is still to be waited for
            while self.run_engine.state not in {"idle", "paused"}:
                time.sleep(_TRANSITION_S)
        return ExitStatus.ABORT

    # --- in the RunEngine's thread

    def _entered(self, plan: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Wrap a plan: from its first message on it can be paused and aborted; what was asked before counts now."""
        from bluesky.preprocessors import msg_mutator  # noqa: PLC0415 - see make
        from bluesky.utils import Msg, PlanHalt, RequestAbort  # noqa: PLC0415 - see make

        def with_reason(message: Any) -> Any:
            if job is not None and job.halted:
                raise PlanHalt  # any other exception the plan could take for one more failure
            # bluesky's run_wrapper closes an aborted run without saying why
            closes = message.command == "close_run" and message.kwargs.get("exit_status") == "abort"
            if not closes or message.kwargs.get("reason") or job is None or job.abort_reason is None:
                return message
            return message._replace(kwargs={**message.kwargs, "reason": job.abort_reason})

        job = self._backlog.current
        asked = "go" if job is None else self._backlog.begin(job)
        if asked == "abort":
            raise RequestAbort
        if asked == "pause":
            yield Msg("pause")
        try:
            return (yield from msg_mutator(plan, with_reason))
        except (Exception, GeneratorExit, asyncio.CancelledError):  # bluesky takes these
            raise
        except BaseException as error:
            raise RuntimeError(f"the plan raised {texts.describe(error)}") from error  # as in `_contained`

    def _on_document(self, name: str, document: Document) -> None:
        try:
            job = self._backlog.current
            if job is not None and name == "start":
                job.runs[document["uid"]] = ("", "the run was left open")
            elif job is not None and name == "stop":
                job.runs[document["run_start"]] = (document["exit_status"], document.get("reason", ""))
            if self._callback is not None:
                self._callback(name, document)
        except Exception:  # noqa: BLE001 - an exception in a subscriber would abort the run
            _log.exception("a %s document was not handed over", name)


def _contained(carry_out: Callable[[Any], Coroutine[Any, Any, Any]]) -> Callable[[Any], Coroutine[Any, Any, Any]]:
    """Return what carries a command out, and raises what ends no event loop.

    An exception beside those that bluesky takes, as ``SystemExit`` of a device, would end the RunEngine's event loop
    or leave its state at "running", and every later plan would wait for ever.
    """

    async def contained(message: Any) -> Any:
        try:
            return await carry_out(message)
        except (Exception, asyncio.CancelledError):  # bluesky takes these
            raise
        except BaseException as error:
            whose = f" of {name}" if (name := getattr(message.obj, "name", "")) else ""
            raise RuntimeError(f"{message.command}{whose} raised {texts.describe(error)}") from error

    return contained


def _dismantle(engine: Any) -> None:
    """End the RunEngine's event loop and its thread, which bluesky itself leaves to the end of the process."""
    from bluesky import run_engine  # noqa: PLC0415 - see make

    loop: asyncio.AbstractEventLoop = engine.loop
    thread: threading.Thread = engine._th  # noqa: SLF001 - the only reference there is to it

    async def wind_up() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_default_executor()

    try:
        asyncio.run_coroutine_threadsafe(wind_up(), loop).result(LOOP_END_S)
    except TimeoutError:
        _log.warning("the RunEngine's tasks did not end within %.0f s", LOOP_END_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LOOP_END_S)
    if not thread.is_alive():
        loop.close()
    if run_engine.get_bluesky_event_loop() is loop:
        run_engine.set_bluesky_event_loop(None)
