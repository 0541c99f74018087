"""A folder of startup files, run in order and in one namespace, as IPython runs ``profile_NAME/startup``.

What is Python runs as Python. Magics do no harm here, where there is neither terminal nor screen: those that load code
(``%run``, ``%load_ext``) and those that the files define run; plotting ones do nothing, shell commands (``!ls``) do not
run, and one that fails, or that there is none of, is logged and passed over.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from importlib.util import decode_source
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import UsageError, texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SUFFIXES: Final = (".py", ".ipy")
_FOR_A_SCREEN: Final = ("matplotlib", "pylab", "gui", "clear", "cls", "xmode", "colors")
_FOR_A_SHELL: Final = ("sx", "system", "bash", "sh", "script")

_log = logging.getLogger(__name__)


def files(folder: Path) -> list[Path]:
    """Return the files of a profile in the order in which they run, by name; raise `UsageError` when there are none."""
    if not folder.is_dir():
        raise UsageError(f"the startup folder {folder} does not exist; give the path of a folder of scripts")
    inner = folder / "startup"
    where = inner if inner.is_dir() else folder
    scripts = sorted(path for path in where.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    if not scripts:
        raise UsageError(f"the startup folder {where} holds no .py file; give the folder of an IPython profile")
    return scripts


def run(folder: Path) -> dict[str, object]:
    """Run the files of a profile, and return the names that they made, live; what they raise is raised."""
    paths = files(folder)
    os.environ.setdefault("MPLBACKEND", "agg")
    beside = str(paths[0].parent.resolve())
    if beside not in sys.path:
        sys.path.insert(0, beside)  # what lies beside them can be imported by them
    shell = _shell(ModuleType(f"agent_service_startup_{folder.name}"))
    names: dict[str, object] = shell.user_ns
    names["__name__"] = "__main__"  # as in IPython
    with _GetIpython(shell):
        for path in paths:
            names["__file__"] = str(path)
            exec(_code(path, shell), names)  # noqa: S102 - that is what a startup is
    return names


def _code(path: Path, shell: Any) -> CodeType:
    source = decode_source(path.read_bytes())  # in the encoding that it names, as IPython does
    try:
        return compile(source, str(path), "exec")
    except SyntaxError as error:
        try:
            return compile(shell.transform_cell(source), str(path), "exec")
        except SyntaxError:
            raise error from None


def quiet_config() -> Any:
    """Return IPython's configuration for a shell without a person: no history, no colours, no word on environments."""
    from traitlets.config import Config  # noqa: PLC0415 - only for shells

    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryAccessor.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.warn_venv = False
    return config


def _shell(module: ModuleType) -> Any:
    from IPython.core.interactiveshell import InteractiveShell  # noqa: PLC0415 - only for profiles

    # the one that `get_ipython` returns later on, unless there is one: that of a notebook's kernel
    kind: Any = InteractiveShell
    shell = (kind if kind.initialized() else kind.instance)(config=quiet_config(), user_module=module)
    for name in _FOR_A_SCREEN:
        shell.register_magic_function(do_nothing, "line_cell", name)
    for name in _FOR_A_SHELL:
        shell.register_magic_function(functools.partial(_not_run, f"%{name} "), "line_cell", name)
    shell.system = shell.system_raw = shell.system_piped = functools.partial(_not_run, "!")
    shell.getoutput = functools.partial(_no_output, "!")
    shell.run_line_magic = functools.partial(_run_magic, shell.run_line_magic)
    shell.run_cell_magic = functools.partial(_run_magic, shell.run_cell_magic)
    return shell


def _run_magic(magic: Callable[..., Any], name: str, *words: Any, **more: Any) -> Any:
    try:
        return magic(name, *words, **more)
    except Exception as error:  # noqa: BLE001 - it was for somebody in front of a terminal
        _log.warning("the magic %%%s of the startup was passed over: %s", name, texts.describe(error))
        return None


def do_nothing(*_: Any, **__: Any) -> None:
    """Do nothing, whatever is asked."""


def _not_run(sign: str, *words: Any, **_: Any) -> None:
    _log.info("not run, in the startup: %s%s", sign, " ".join(map(str, words)))


def _no_output(sign: str, *words: Any, **_: Any) -> list[str]:
    _not_run(sign, *words)
    return []


class _GetIpython:
    """Lets ``get_ipython`` return a shell in this thread, for the time of a with block."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._thread = threading.get_ident()
        self._before: Any = None

    def __enter__(self) -> None:
        from IPython.core import getipython  # noqa: PLC0415

        self._before = before = getipython.get_ipython
        self._shell.user_ns["get_ipython"] = lambda: self._shell
        self._put(lambda: self._shell if threading.get_ident() == self._thread else before())

    def __exit__(self, *_: object) -> None:
        self._put(self._before)

    def _put(self, get_ipython: Any) -> None:
        import IPython  # noqa: PLC0415
        from IPython.core import getipython  # noqa: PLC0415

        for module in (IPython, getipython):
            setattr(module, "get_ipython", get_ipython)  # noqa: B010 - pyright forbids the plain way
