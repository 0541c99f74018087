"""What is overridden in this kernel, and its restoring."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from notebook_widgets.kernel._pump import CommPump
from notebook_widgets.kernel._subshells import SubshellRouting

if TYPE_CHECKING:
    from notebook_widgets.kernel._override import Override

_BLUESKY = "bluesky.utils"
_log = logging.getLogger(__name__)


class KernelControl:
    """Widget callbacks that run while a cell of ``shell`` blocks; made by `install`, undone by `restore`."""

    current: ClassVar[KernelControl | None] = None
    """The one that is installed in this process."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._overrides: dict[str, Override | None] = {}
        self._pump: CommPump | None = None

    @property
    def ways(self) -> tuple[str, ...]:
        """What is overridden now: ``subshells`` and ``during_task``, one of them, or nothing."""
        return tuple(name for name, override in self._overrides.items() if override is not None)

    def start(self) -> None:
        """Override what this kernel needs. bluesky, 1.6 s to import, is awaited and not imported."""
        self._overrides["subshells"] = SubshellRouting.install(self.shell.kernel)
        self._pump = CommPump.for_kernel(self.shell.kernel)
        if self._pump is None:
            return
        if _BLUESKY in sys.modules:
            self._overrides["during_task"] = self._pump.install()
        else:
            self.shell.events.register("pre_run_cell", self._before_cell)
            self._reach_run_engines(str((self.shell.user_ns.get("In") or [""])[-1]))  # the cell that installs this

    def restore(self) -> None:
        """Put back everything that was overridden; a second call does nothing. Main thread."""
        self._forget_cells()
        for override in self._overrides.values():
            if override is not None:
                override.restore()
        self._overrides.clear()
        if KernelControl.current is self:
            KernelControl.current = None

    def _before_cell(self, info: Any) -> None:
        self._reach_run_engines(getattr(info, "raw_cell", None) or "")

    def _reach_run_engines(self, cell: str) -> None:
        """Override how RunEngines wait as soon as there can be one: one cell may make one and run a plan."""
        if _BLUESKY not in sys.modules:
            if "bluesky" not in cell:
                return
            try:
                importlib.import_module(_BLUESKY)
            except Exception:  # noqa: BLE001 - whatever is wrong with it, the user's own import says so
                return
        self._forget_cells()
        if self._pump is not None:
            self._overrides["during_task"] = self._pump.install()

    def _forget_cells(self) -> None:
        if self._pump is None:
            return
        with contextlib.suppress(ValueError):  # bluesky was there from the start, so it was not registered
            self.shell.events.unregister("pre_run_cell", self._before_cell)


def install(shell: Any = None) -> KernelControl:
    """Let widget callbacks run while a cell of this kernel blocks.

    Outside a kernel, nothing is overridden. A second call changes nothing and returns the same control: it says what
    is overridden (``ways``) and restores it (``restore()``). ``shell`` is by default this process's.

    Examples
    --------
    >>> control = install()
    >>> control.ways  # outside a kernel
    ()
    >>> control.restore()
    """
    if KernelControl.current is not None:
        return KernelControl.current
    if shell is None and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
    control = KernelControl(shell)
    if getattr(shell, "kernel", None) is None:
        return control
    KernelControl.current = control
    try:
        control.start()
    except Exception:  # noqa: BLE001 - an ipykernel unlike any seen: the notebook must go on as without us
        _log.exception("buttons wait for the running cell to end: this kernel could not be prepared")
        control.restore()
    return control


def uninstall() -> None:
    """Restore everything that `install` overrode, if anything."""
    if KernelControl.current is not None:
        KernelControl.current.restore()
