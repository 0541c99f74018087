"""Comm messages handled by the main thread while it waits for a RunEngine."""

# ruff: noqa: SLF001 - ipykernel and pyzmq offer no other way in; what is used here is looked at first, in _missing

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from notebook_widgets.kernel._override import Override

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_S: Final = 0.02
"""How often a waiting main thread looks for messages."""

AT_ONCE: Final = 50
"""Messages handled before the thread looks again whether the plan has ended."""

_COMM: Final = frozenset({"comm_open", "comm_msg", "comm_close"})
_log = logging.getLogger(__name__)


class CommPump:
    """Handle comm messages in the main thread while a plan runs; every other message waits its turn.

    A RunEngine runs its plan in a thread of its own; ``RE(plan)`` only waits, in ``during_task.block(event)``. This
    overrides the class of the default one, `bluesky.utils.DefaultDuringTask`, so every RunEngine has it, whenever and
    wherever it was made. It leaves a user's own ``during_task``, and bluesky's way with a Qt backend of matplotlib, for
    Qt needs the main thread too.

    No event loop is nested: the thread reads ``stream``, the ``ZMQStream`` of the kernel's shell messages, and returns
    messages that are no comm messages before the cell goes on, in order. SIGINT interrupts the wait as before, so the
    RunEngine still pauses.
    """

    def __init__(self, kernel: Any, stream: Any) -> None:
        self._kernel = kernel
        self._stream = stream

    @classmethod
    def for_kernel(cls, kernel: Any) -> CommPump | None:
        """Return a pump for this kernel, or None, with a line in the log, where one cannot work."""
        thread = getattr(kernel, "shell_channel_thread", None)
        if thread is None:
            stream = getattr(kernel, "shell_stream", None)
        else:
            pair = getattr(getattr(thread, "manager", None), "_shell_channel_to_main", None)
            stream = getattr(pair, "to_stream", None)
        if missing := _missing(kernel, stream):
            _log.warning("buttons wait for the running plan to end: this ipykernel has no %s", missing)
            return None
        return cls(kernel, stream)

    def install(self) -> Override | None:
        """Override how RunEngines wait; return what undoes it, or None when this bluesky has another way of waiting.

        ``bluesky.utils`` must have been imported.
        """
        task = getattr(sys.modules["bluesky.utils"], "DefaultDuringTask", None)
        if task is None or "block" not in vars(task):
            _log.warning("buttons wait for the running plan to end: this bluesky has no DefaultDuringTask.block")
            return None
        return Override(task, "block", self.block)

    def block(self, original: Callable[..., None], task: object, blocking_event: threading.Event) -> None:
        """Wait until ``blocking_event`` is set, as ``task``, a RunEngine's ``during_task``, does in ``original``.

        The RunEngine sets it when the plan ended or paused; ``original`` waits outside the main thread, and where Qt
        must run.
        """
        if threading.current_thread() is not threading.main_thread() or _qt_is_shown():
            original(task, blocking_event)
            return
        stream, held = self._stream, list[Any]()
        receive = stream._recv_callback

        def sort(frames: list[Any]) -> None:
            if not self._handled(frames):
                held.append(frames)

        try:
            stream.on_recv(sort, copy=False)
            while not blocking_event.wait(PERIOD_S):
                stream.flush(limit=AT_ONCE)
        except OSError:
            _log.warning("the kernel's message stream closed while a plan ran")
            blocking_event.wait()
        finally:
            with contextlib.suppress(OSError):
                stream.on_recv(receive, copy=False)
            # Before the kernel's loop runs again, or a message that comes between would overtake these.
            for frames in held:
                stream._run_callback(receive, frames)

    def _handled(self, frames: list[Any]) -> bool:
        """Handle a comm message as the kernel would; return False for any other, which is left as it is."""
        kernel = self._kernel
        try:
            idents, parts = kernel.session.feed_identities(frames, copy=False)
            if kernel.session.unpack(parts[1].bytes)["msg_type"] not in _COMM:
                return False
            message = kernel.session.deserialize(parts, content=True, copy=False)
        except (ValueError, IndexError, KeyError, TypeError):
            return False  # not a message, or one that the kernel itself shall refuse
        cell_ident, cell = kernel._parent_ident["shell"], kernel.get_parent("shell")
        kernel.set_parent(idents, message, channel="shell")
        kernel._publish_status("busy", "shell")
        try:
            kernel.shell_handlers[message["header"]["msg_type"]](self._stream, idents, message)
        except Exception:  # noqa: BLE001 - a user's callback; it must not end the plan's wait
            _log.exception("a widget's callback failed")
        finally:
            for output in (sys.stdout, sys.stderr):
                output.flush()
            kernel._publish_status("idle", "shell")
            kernel.set_parent(cell_ident, cell, channel="shell")
            # The front end takes the last status for the kernel's: the cell still runs.
            kernel._publish_status("busy", "shell")
        return True


def _qt_is_shown() -> bool:
    matplotlib = sys.modules.get("matplotlib")
    return matplotlib is not None and "qt" in str(matplotlib.get_backend()).lower()


def _missing(kernel: Any, stream: Any) -> str:
    """Name what we need and this kernel does not have, or return an empty string."""
    session = getattr(kernel, "session", None)
    handlers = getattr(kernel, "shell_handlers", {})
    parents = getattr(kernel, "_parent_ident", {})
    needed = {
        "message stream": all(
            hasattr(stream, name) for name in ("on_recv", "flush", "_recv_callback", "_run_callback")
        ),
        "session": all(hasattr(session, name) for name in ("feed_identities", "unpack", "deserialize")),
        "parent": all(hasattr(kernel, name) for name in ("get_parent", "set_parent")) and "shell" in parents,
        "_publish_status": hasattr(kernel, "_publish_status"),
        "comm handlers": handlers.keys() >= _COMM,
    }
    return ", ".join(name for name, present in needed.items() if not present)
