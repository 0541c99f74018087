"""Comm messages in the subshell that the front end asked for, while the main thread is blocked (ipykernel 7.4)."""

# ruff: noqa: SLF001 - ipykernel offers no other way in; what is used here is looked at first, in _missing

from __future__ import annotations

import inspect
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from notebook_widgets.kernel._override import Override

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_S: Final = 0.05
"""How long a main thread may take to answer before it counts as blocked."""

_log = logging.getLogger(__name__)


class SubshellRouting:
    """Decide which shell handles a comm message.

    ipykernel 7.4 sends a comm message to the shell that last sent something on that comm, mostly the main one, so that
    an ``await`` there sees the answer (ipykernel pull request 1565). So it ignores the subshell that JupyterLab asked
    for, and a button pressed during a blocking cell waits. Here the kernel's choice stands while that shell can act on
    the message. Else the front end's choice counts: when the main thread is blocked, or the chosen subshell is gone, as
    after the page was reloaded.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._probe = threading.Event()
        self._probe.set()

    @classmethod
    def install(cls, kernel: Any) -> Override | None:
        """Override ipykernel's choice of the shell; return what undoes it, or None where there is nothing to do."""
        base = cast("type", getattr(sys.modules.get("ipykernel.comm.comm"), "BaseComm", object))
        method: Callable[..., Any] | None = vars(base).get("_reply_subshell_for")
        if method is None:
            return None
        if missing := _missing(kernel, method):
            _log.warning("buttons wait for the running cell to end: this ipykernel has no %s", missing)
            return None
        return Override(base, "_reply_subshell_for", cls(kernel).route)

    def route(self, original: Callable[..., str | None], comm: Any, data: object, asked: str | None) -> str | None:
        """Return the id of the subshell that handles a message, None for the main shell; in the shell channel's thread.

        ``original`` is ipykernel's own method of ``comm``, which looks in ``data`` for the id of a request; ``asked``
        is the subshell that the front end asked for, None for the main shell.
        """
        chosen = original(comm, data, asked)
        if chosen is None:
            return asked if asked is not None and self._blocked() else None
        return chosen if chosen in self._kernel.shell_channel_thread.manager.list_subshell() else asked

    def _blocked(self) -> bool:
        """Tell whether the main thread runs something and does not answer."""
        if not self._kernel._main_asyncio_lock.locked():
            return False
        if self._probe.is_set():
            # One question at a time: while it is not answered the thread is known to be blocked, without waiting again.
            self._probe = threading.Event()
            self._kernel.io_loop.add_callback(self._probe.set)
            return not self._probe.wait(PROBE_S)
        return True


def _missing(kernel: Any, method: Callable[..., Any]) -> str:
    """Name what we need and this kernel does not have, or return an empty string."""
    if list(inspect.signature(method).parameters) != ["self", "data", "default"]:
        return "_reply_subshell_for(self, data, default)"
    manager = getattr(getattr(kernel, "shell_channel_thread", None), "manager", None)
    needed = {
        "subshell manager": callable(getattr(manager, "list_subshell", None)),
        "_main_asyncio_lock": callable(getattr(getattr(kernel, "_main_asyncio_lock", None), "locked", None)),
        "io_loop": callable(getattr(getattr(kernel, "io_loop", None), "add_callback", None)),
    }
    return ", ".join(name for name, present in needed.items() if not present)
