"""The startup: modules, scripts, a folder of them, or the simulated beamline, whose names are devices and plans."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent_service import references
from agent_service.brains.allowed_modules import ANY, Listed
from agent_service.errors import UsageError, texts
from agent_service.plans import ipython_profile
from agent_service.plans.namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

CONFIGURE: Final = "configure_run_engine"
"""Function of a startup that is called with the service's RunEngine."""


def load(
    startup: str | Sequence[str] | None, *, default: Callable[[], Mapping[str, object]], listed: Listed = ANY
) -> Namespace:
    """Load the startup namespace. Runs the user's code and may take seconds: call it from a worker thread.

    ``startup`` is a module's name, the path of a script (``.py``) or of a folder of scripts (see `ipython_profile`),
    several of these, or None for ``default``, which makes the names of the simulated beamline. Raises `UsageError` when
    there is no such module, script or folder, or it raises: which one, where, and what.
    """
    parts = [startup] if isinstance(startup, str) else list(startup or ())
    if not parts:
        return Namespace(default(), source="the simulated beamline", listed=listed)
    *before, (_, names) = [(part, _names_of(part)) for part in parts]
    return Namespace(names, before=before, source=f"startup {', '.join(map(repr, parts))}", listed=listed)


def configurer(namespace: Namespace, reference: str | None) -> tuple[str, Callable[[Any], object]] | None:
    """Return the function that sets the service's RunEngine up, and what it is called; None when there is none.

    It is ``module:function``, or the startup's ``configure_run_engine`` where there is no reference. Raises
    `UsageError` when there is no such function, or it is no plain one.
    """
    if reference is None:
        called, function = f"{CONFIGURE} of {namespace.source}", namespace.find(CONFIGURE)
        if function is None:
            return None
    else:
        called, function = f"configure {reference!r}", _function(reference)
    if not callable(function):
        raise UsageError(f"{called} is of type {type(function).__name__}, not a function of the RunEngine")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UsageError(f"{called} is a coroutine or a plan; write it as a plain function: def {CONFIGURE}(RE): ...")
    return called, function


def describe(error: BaseException) -> str:
    """Return what the user's code raised, in one line with where that was, and the cause that a library wrapped."""
    cause = error
    seen = {id(error)}
    while (inner := cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)) is not None:
        if id(inner) in seen:
            break
        seen.add(id(inner))
        if not _frames(inner):  # the library's own affair
            break
        cause = inner
    text = f"{texts.describe(error)}{_where(error)}"
    return text if cause is error else f"{text}, because of {texts.describe(cause)}{_where(cause)}"


def _where(error: BaseException) -> str:
    """Return where the user's code raised an error: where it called a library, if that raised it."""
    theirs, others = _frames(error), _outside(error)
    return "".join(f" ({Path(frame.filename).name}, line {frame.lineno})" for frame in (theirs or others)[-1:])


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the user's own lines on the way to an error, the innermost last."""
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    return [
        frame
        for frame in _outside(error)
        if not any(frame.filename.startswith(f"{library}{os.sep}") for library in libraries)
    ]


def _outside(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the lines on the way to an error that are not of this package, nor of Python's imports."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    return [frame for frame in frames if not Path(frame.filename).is_relative_to(Path(__file__).parents[1])]


def is_folder(startup: str) -> bool:
    """Return whether a startup is meant as a folder of scripts: a path, or a folder that is no package."""
    path = Path(startup).expanduser()
    return not startup.endswith(".py") and ("/" in startup or (path.is_dir() and not (path / "__init__.py").exists()))


def _names_of(startup: str) -> Mapping[str, object]:
    try:
        if is_folder(startup):
            return ipython_profile.run(Path(startup).expanduser())
        if startup.endswith(".py"):
            return _run_script(Path(startup)).__dict__
        return importlib.import_module(startup).__dict__
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(_why(startup, error)) from error


def _function(reference: str) -> object:
    if not references.is_import(reference):
        raise UsageError(f"configure is {reference!r}; write it as module:function, for example my_beamline:set_up")
    try:
        return references.imported(reference)
    except references.Unresolved as error:
        raise UsageError(f"configure {reference!r}: {error}{_where(error.__cause__ or error)}") from error


def _run_script(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file", str(path))
    name = f"agent_service_startup_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python script")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        # as `python script.py` does: what lies beside a script can be imported by it
        sys.path.insert(0, folder)
    there = getattr(sys.modules.get(path.stem), "__file__", None)
    known_as = [name] if path.stem in sys.modules and there != str(path) else [name, path.stem]
    # by its plain name too: its neighbours import it so, and would make its devices a second time
    sys.modules.update(dict.fromkeys(known_as, module))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        for known_name in known_as:
            del sys.modules[known_name]
        raise
    return module


def _why(startup: str, error: BaseException) -> str:
    kind = "folder" if is_folder(startup) else "script" if startup.endswith(".py") else "module"
    if isinstance(error, FileNotFoundError) and error.filename == str(Path(startup)):
        return f"the startup script {startup} does not exist; set startup in [run_engine] to a script or a module"
    if isinstance(error, ModuleNotFoundError) and error.name and f"{startup}.".startswith(f"{error.name}."):
        return (
            f"the startup module {startup!r} cannot be imported: there is no module {error.name!r}; install it, put "
            "its folder on PYTHONPATH, or give the path of a script"
        )
    return f"the startup {kind} {startup!r} raised {describe(error)}"
