"""The plans that wait for the RunEngine, and whether the next may begin: paused, held, closing. It imports no bluesky.

Threads: people ask through the driver from any thread; one driver thread takes plans out. A condition guards all of it,
and no other code is called under it.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from agent_service.errors import QueueHeld
from agent_service.models import QueueState, QueueStatus
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable


_GOES_ON: Final = "its plan has not ended yet; stop everything once more to end it without its clean-up"
_GOES_ON_HALTED: Final = "its plan does not end, for a device or the plan holds the RunEngine up"


@dataclass(slots=True, eq=False)
class PlanJob:
    """A plan to run.

    Parameters
    ----------
    build
        Makes the plan; called in the driver's thread when its turn has come. A `ServiceError` says why there is none.
    done
        Called once, from some thread, with how it ended; it returns at once and never raises.
    label
        Id of the suggestion it measures, or None.
    md
        Metadata for each of its start documents; it wins over the plan's own.
    needs_run
        Whether to end without a run is a failure.
    begun
        Whether the plan's first message was asked for: from then on the RunEngine itself can be paused and aborted.
    pause_asked
        Whether somebody asked for its next pause; else the plan paused itself.
    abort_reason
        Why it is to be aborted, if it is.
    overdue
        Whether it went on although it was aborted: its clean-up is long, or it took the abort for a failure.
    halted
        Whether it is to be ended without its clean-up.
    runs
        ``(exit_status, reason)`` of each run it made, by uid; the status is empty while the run is open.
    """

    build: Callable[[], Any]
    done: Callable[[PlanResult], None]
    label: str | None = None
    md: dict[str, Any] = field(default_factory=dict[str, Any])
    needs_run: bool = True
    begun: bool = False
    pause_asked: bool = False
    abort_reason: str | None = None
    overdue: bool = False
    halted: bool = False
    runs: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])

    def result(self, ended: ExitStatus, why: str = "", *, traceback: str | None = None) -> PlanResult:
        """Return how it ended.

        Parameters
        ----------
        ended
            What the RunEngine says.
        why
            What was raised, in one line, or nothing.
        traceback
            Of that, as text.
        """
        status, reason = self._verdict(ended, why)
        if self.abort_reason is not None and status is not ExitStatus.SUCCESS:
            status, reason = ExitStatus.ABORT, self.abort_reason
        by_itself = status is ExitStatus.ABORT and self.abort_reason is None
        shown = traceback if status is ExitStatus.FAIL else None
        return PlanResult(status, reason, tuple(self.runs), asked=not by_itself, traceback=shown)

    def _verdict(self, ended: ExitStatus, why: str) -> tuple[ExitStatus, str]:
        bad = next((run for run in self.runs.values() if run[0] != ExitStatus.SUCCESS), None)
        if why:
            return ExitStatus.FAIL, why
        if ended is ExitStatus.ABORT:
            return ExitStatus.ABORT, (bad and bad[1]) or "the plan asked for a pause where it cannot be resumed"
        if len(self.runs) > 1 and all(status for status, _ in self.runs.values()):
            return ExitStatus.SUCCESS, ""  # which of them counts, the failed one or another, is not ours to say
        if bad is not None:
            return ExitStatus.of_run(bad[0]), bad[1] or f"the run ended with exit_status {bad[0] or ExitStatus.FAIL}"
        if self.needs_run and not self.runs:
            return ExitStatus.FAIL, "the plan made no run"
        return ExitStatus.SUCCESS, ""


class PlanBacklog:
    """The plans that wait and the one that runs. Its methods may be called from any thread.

    Attributes
    ----------
    current
        The plan that runs, if one does; for reading.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[PlanJob] = deque()
        self.current: PlanJob | None = None
        self._paused: str | None = None
        self._held: str | None = None
        self._suspended: str | None = None
        self._closing: str | None = None

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits. Held goes before paused, that before suspended, and that before running."""
        with self._changed:
            current = self.current
            state, reason = QueueState.IDLE if current is None else QueueState.RUNNING, None
            if self._held is not None:
                state, reason = QueueState.HELD, self._held
                if current is not None and current.overdue:
                    reason = f"{reason}; {_GOES_ON_HALTED if current.halted else _GOES_ON}"
            elif self._paused is not None:
                also = f"; besides, it is suspended: {self._suspended}" if self._suspended else ""
                state, reason = QueueState.PAUSED, f"{self._paused}{also}"
            elif self._suspended is not None:
                state, reason = QueueState.SUSPENDED, self._suspended
            label = None if current is None else current.label
            return QueueStatus(kind="run_engine", state=state, reason=reason, pending=len(self._waiting), current=label)

    def submit(self, job: PlanJob) -> bool:
        """Queue a plan, and return whether it was taken: a closing queue gives it back aborted.

        Raises
        ------
        QueueHeld
            When the queue is held.
        """
        with self._changed:
            if self._held is not None:
                raise QueueHeld(f"the plan queue is held: {self._held}; resume the queue first", legal=["resume"])
            closing = self._closing
            if closing is None:
                self._waiting.append(job)
                self._changed.notify_all()
                return True
        job.done(PlanResult(ExitStatus.ABORT, closing, begun=False))
        return False

    def withdraw(self, job: PlanJob) -> bool:
        """Take a waiting plan back, and return whether it was still waiting; one that runs goes on."""
        with self._changed:
            if job not in self._waiting:
                return False
            self._waiting.remove(job)
            self._changed.notify_all()
            return True

    def pause(self, reason: str) -> PlanJob | None:
        """Let no other plan begin; return the one that has begun and is to be asked to pause, if any."""
        with self._changed:
            if self._held is not None or self._paused is not None:
                return None
            self._paused = reason
            self._changed.notify_all()
            job = self.current
            if job is None or not job.begun or job.abort_reason is not None:
                return None
            job.pause_asked = True
            return job

    def resume(self) -> None:
        """Go on, from paused and from held."""
        with self._changed:
            self._paused = self._held = None
            self._changed.notify_all()

    def hold(self, reason: str) -> None:
        """Refuse plans until `resume`; those that wait go on waiting."""
        with self._changed:
            self._held, self._paused = reason, None
            self._changed.notify_all()

    def close(self, reason: str) -> None:
        """Take no more plans, for good."""
        with self._changed:
            self._closing = reason
            self._changed.notify_all()

    def abort(self, reason: str, *, halts: bool = False) -> tuple[list[PlanJob], PlanJob | None]:
        """Empty the queue and mark the plan under way; with ``halts`` one that is overdue does not clean up any more.

        Returns
        -------
        withdrawn, interrupt
            The plans that waited, and the one that has begun and is to be interrupted, if any.
        """
        with self._changed:
            withdrawn = list(self._waiting)
            self._waiting.clear()
            job = self.current
            if job is None or (job.abort_reason is not None and not (halts and job.overdue)):
                return withdrawn, None
            job.halted = job.abort_reason is not None
            job.abort_reason = job.abort_reason or reason
            self._changed.notify_all()
            return withdrawn, job if job.begun else None

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until there is no current plan, and return whether that is so; blocks.

        One that goes on although it was aborted is overdue then.
        """
        with self._changed:
            idle = self._changed.wait_for(lambda: self.current is None, timeout_s)
            if self.current is not None and self.current.abort_reason is not None:
                self.current.overdue = True
            return idle

    # --- asked by the driver

    def next_job(self, free: Callable[[], bool] = lambda: True) -> PlanJob | None:
        """Wait for a plan that may begin and make it the current one; None when the queue closes.

        Parameters
        ----------
        free
            Called when there is one: whether the RunEngine is free to begin it. It may wait, with `wait_for_release`;
            meanwhile the plan still counts as waiting, and can be taken back.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing is not None or self._ready)
                if self._closing is not None:
                    return None
            if not free():
                continue
            with self._changed:
                if self._closing is None and self._ready:
                    self.current = self._waiting.popleft()
                    return self.current

    @property
    def _ready(self) -> bool:
        return bool(self._waiting) and self._paused is None and self._held is None

    def suspend(self, reason: str | None) -> None:
        """Note why the RunEngine is suspended; None when it is not any more."""
        with self._changed:
            self._suspended = reason
            self._changed.notify_all()

    def wait_for_release(self, released: Callable[[], bool]) -> None:
        """Wait until a suspension is over, or no plan may begin in any case. See `look_again`."""
        with self._changed:
            self._changed.wait_for(lambda: released() or self._closing is not None or not self._ready)

    def look_again(self) -> None:
        """Let whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    def release(self) -> None:
        """Let go of the current plan: it ended."""
        with self._changed:
            self.current = None
            self._changed.notify_all()

    def begin(self, job: PlanJob) -> Literal["abort", "pause", "go"]:
        """Mark a plan as begun, and return what was asked for meanwhile: ``abort``, ``pause`` or ``go``."""
        with self._changed:
            job.begun = True
            if job.abort_reason is not None:
                return "abort"
            job.pause_asked = self._paused is not None
            return "pause" if job.pause_asked else "go"

    def note_paused(self, job: PlanJob) -> None:
        """Note that a plan has paused. Nobody may have asked for it, or have resumed since."""
        with self._changed:
            if not job.pause_asked and self._paused is None:
                self._paused = "the plan paused itself"
            job.pause_asked = False

    def await_decision(self, job: PlanJob) -> Literal["resume", "abort"]:
        """Wait until somebody decides on a paused plan; return ``resume`` or ``abort``."""
        with self._changed:
            self._changed.wait_for(
                lambda: job.abort_reason is not None or (self._paused is None and self._held is None)
            )
            return "resume" if job.abort_reason is None else "abort"
