"""The startup namespace: where devices and plans are found by name.

It is a module, a script, or the simulated beamline, and it is live: a name is looked up when it is used, so a device
that was removed since is an unknown device then.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent_service import live
from agent_service.errors import UnknownDevice, UnknownPlan, UnknownType, UsageError
from agent_service.near import near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

BUILT_IN: Final = {"acquire": "agent_service.plans:acquire"}
"""Plans that every namespace has, unless it has its own of that name; named, as they stand above this module."""

_SHOWN: Final = 20


class Namespace:
    """Devices and plans by name. May be used from any thread.

    Parameters
    ----------
    names
        The names, live: a module's ``__dict__``, for example.
    source
        What a person calls it, for messages.

    Examples
    --------
    >>> Namespace({}, source="an empty namespace").device("motor")
    Traceback (most recent call last):
    agent_service.errors.UnknownDevice: there is no device 'motor' in an empty namespace; it has none
    """

    def __init__(self, names: Mapping[str, object], *, source: str) -> None:
        self._names = names
        self.source = source

    @property
    def devices(self) -> list[str]:
        """Names of the devices there are now."""
        return sorted(name for name, one in self._public() if _is_device(one))

    @property
    def plans(self) -> list[str]:
        """Names of the plans, as far as one can tell: the built-in ones, and generator functions."""
        from inspect import isgeneratorfunction  # noqa: PLC0415 - needed for a list in a message only

        found = {name for name, one in self._public() if isgeneratorfunction(one)}
        return sorted(found | set(BUILT_IN))

    def device(self, name: str) -> Any:
        """Return the device that bears ``name`` in the namespace, or that calls itself so.

        Raises
        ------
        UnknownDevice
            When there is none; names what is near and what there is.
        """
        found = self._names.get(name)
        if found is None:
            found = next((one for _, one in self._public() if _is_device(one) and _own_name(one) == name), None)
        if found is None:
            there = self.devices
            raise UnknownDevice(f"there is no device {name!r} in {self.source}; {near(name, there)}{_listed(there)}")
        if not _is_device(found):
            raise UnknownDevice(f"{name!r} in {self.source} is of type {type(found).__name__}, not a device to read")
        return found

    def actuator(self, name: str) -> Any:
        """Return the device ``name``, if it can be set and plans and documents know it by that name.

        Raises
        ------
        UnknownDevice
            When there is none, it has no ``set``, or its own name is another.
        """
        found = self.device(name)
        if not hasattr(found, "set"):
            raise UnknownDevice(f"the device {name!r} has no set, so it cannot be an actuator; name it as a sensor")
        if _own_name(found) != name:
            # plans take a position by device.name, and documents hold the readback under it
            raise UnknownDevice(f"the device {name!r} calls itself {_own_name(found)!r}; name it so as an actuator")
        return found

    def plan(self, name: str) -> Callable[..., Any]:
        """Return a plan: a name in the namespace, ``module:callable``, ``live:NAME``, or a built-in one. May import.

        Raises
        ------
        UnknownPlan
            When there is none, or it cannot be called.
        """
        found = self._names.get(name)
        if found is None and ":" in (reference := BUILT_IN.get(name, name)):
            found = _imported(reference)
        if found is None:
            there = self.plans
            raise UnknownPlan(f"there is no plan {name!r} in {self.source}; {near(name, there)}{_listed(there)}")
        if not callable(found) or isinstance(found, type):
            raise UnknownPlan(f"{name!r} in {self.source} is of type {type(found).__name__}, not a plan to call")
        return found

    def _public(self) -> list[tuple[str, object]]:
        # a copy: the user's own code may change the namespace meanwhile
        return [(name, one) for name, one in dict(self._names).items() if not name.startswith("_")]


def load(startup: str | None, *, default: Callable[[], Mapping[str, object]]) -> Namespace:
    """Load the startup namespace. Runs the user's code and may take seconds: call it from a worker thread.

    Parameters
    ----------
    startup
        A module's name, the path of a script (``.py``), or None for ``default``.
    default
        Makes the namespace of the simulated beamline.

    Raises
    ------
    UsageError
        When there is no such module or script, or it raises: which one, where, and what.
    """
    if startup is None:
        return Namespace(default(), source="the simulated beamline")
    try:
        module = _run_script(Path(startup)) if startup.endswith(".py") else importlib.import_module(startup)
    except (Exception, SystemExit) as error:
        raise UsageError(_why(startup, error)) from error
    return Namespace(module.__dict__, source=f"startup {startup!r}")


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
    said = " ".join(str(error).split())
    return f"the startup {kind} {startup!r} raised {type(error).__name__}: {said}{where}"


def _imported(reference: str) -> object:
    if live.is_live(reference):
        try:
            return live.find(reference)
        except UnknownType as error:
            raise UnknownPlan(f"plan: {error.detail}") from None
    module, _, attribute = reference.partition(":")
    try:
        found: object = importlib.import_module(module)
    except Exception as error:
        said = " ".join(str(error).split())
        raise UnknownPlan(f"plan {reference!r}: importing {module!r} raised {type(error).__name__}: {said}") from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise UnknownPlan(f"plan {reference!r}: the module {module!r} has no {attribute!r}")
    return found


def _own_name(one: object) -> str:
    return str(getattr(one, "name", ""))


def _is_device(one: object) -> bool:
    # asked of the class: a namespace may hold proxies and lazy modules that answer to any attribute
    return (
        not isinstance(one, type) and (hasattr(type(one), "read") or hasattr(type(one), "set")) and bool(_own_name(one))
    )


def _listed(there: Iterable[str]) -> str:
    names = list(there)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"it has {', '.join(names[:_SHOWN])}{more}" if names else "it has none"
