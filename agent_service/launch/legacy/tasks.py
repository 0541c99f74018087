"""The tasks that a start-up script starts: in threads of their own, or in order in the main thread."""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent_service import context

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKS_EVERY_S: Final = 0.1

_log = logging.getLogger("agent_service.script")

Started = tuple[str, str, str, dict[str, Any]]
"""What ``start_task`` returns: ``accepted`` or not, why not, the uid of the task, and about the task."""


@dataclass(frozen=True, slots=True)
class Task:
    """A call to come."""

    uid: str
    target: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self) -> None:
        """Call it; what it raises is logged, for nobody waits for it."""
        try:
            self.target(*self.args, **self.kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - the script's own code, sys.exit in it too
            called = getattr(self.target, "__qualname__", repr(self.target))
            _log.exception("task %s of the start-up script failed: %s", self.uid, called)


class ScriptTasks:
    """Runs tasks; `start` may be called from any thread, `run` in the main thread.

    None are accepted before `run` and after it: so the script's own start and end are not disturbed.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._accepts = False

    def start(
        self,
        target: Callable[..., object],
        *args: Any,
        run_in_background: bool = True,
        task_uid: str | None = None,
        **kwargs: Any,
    ) -> Started:
        """Begin a task in a thread of its own, or put it behind those that wait for the main thread.

        Returns at once; see `Started`. What cannot be called is an ``error``. It acts for whoever starts it.
        """
        uid, submitted_at = task_uid or str(uuid.uuid4()), time.time()
        about = {"task_uid": uid, "time_submit": submitted_at, "run_in_background": run_in_background}
        if not self._accepts:
            why = "the start-up script is not ready, or ends; start tasks from getters, setters and other tasks"
            _log.warning("task %s was rejected: %s", uid, why)
            return "rejected", why, uid, about
        if not callable(target):
            why = f"a task is a function, not a {type(target).__name__}; give the function and its arguments apart"
            _log.warning("task %s was not started: %s", uid, why)
            return "error", why, uid, about
        run = context.for_whom(Task(uid, target, args, kwargs).run)
        if run_in_background:
            threading.Thread(target=run, name=f"task {uid[-12:]}", daemon=True).start()
        else:
            self._waiting.put(run)
        return "accepted", "", uid, about

    def run(self, asked: threading.Event) -> None:
        """Run the tasks that wait for the main thread, one after the other, until ``asked`` is set."""
        self._accepts = True
        try:
            while not asked.is_set():
                try:
                    run = self._waiting.get(timeout=_LOOKS_EVERY_S)
                except queue.Empty:
                    continue
                run()
        finally:
            self._accepts = False
