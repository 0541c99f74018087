"""The startup: a module, a script, or the simulated beamline, whose names are devices and plans."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from agent_service import texts
from agent_service.errors import UsageError
from agent_service.listed import ANY, Listed
from agent_service.namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType


def load(startup: str | None, *, default: Callable[[], Mapping[str, object]], listed: Listed = ANY) -> Namespace:
    """Load the startup namespace. Runs the user's code and may take seconds: call it from a worker thread.

    Parameters
    ----------
    startup
        A module's name, the path of a script (``.py``), or None for ``default``.
    default
        Makes the namespace of the simulated beamline.
    listed
        Where plans that are named ``module:callable`` must be defined.

    Raises
    ------
    UsageError
        When there is no such module or script, or it raises: which one, where, and what.
    """
    if startup is None:
        return Namespace(default(), source="the simulated beamline", listed=listed)
    try:
        module = _run_script(Path(startup)) if startup.endswith(".py") else importlib.import_module(startup)
    except (Exception, SystemExit) as error:
        raise UsageError(_why(startup, error)) from error
    return Namespace(module.__dict__, source=f"startup {startup!r}", listed=listed)


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
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _why(startup: str, error: BaseException) -> str:
    kind = "script" if startup.endswith(".py") else "module"
    if isinstance(error, FileNotFoundError) and error.filename == str(Path(startup)):
        return f"the startup script {startup} does not exist; set startup in [run_engine] to a script or a module"
    if isinstance(error, ModuleNotFoundError) and error.name and f"{startup}.".startswith(f"{error.name}."):
        return (
            f"the startup module {startup!r} cannot be imported: there is no module {error.name!r}; install it, put "
            "its folder on PYTHONPATH, or give the path of a script"
        )
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "importlib" not in one.filename]
    frame = next((one for one in reversed(frames) if one.filename != __file__), None)
    where = f" ({Path(frame.filename).name}, line {frame.lineno})" if frame else ""
    said = texts.one_line(str(error))
    return f"the startup {kind} {startup!r} raised {type(error).__name__}: {said}{where}"
