"""Running a start-up script: its code, then what it registered to run at the start, its tasks, and its end."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import UsageError
from agent_service.launch.headless import Target, script_errors
from agent_service.launch.legacy.names import names_of
from agent_service.launch.legacy.tasks import ScriptTasks
from agent_service.launch.local import open_service
from agent_service.launch.local_config import local_config
from agent_service.service.script_variables import ScriptVariable, ScriptVariables

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.launch.background import BackgroundServer

SCRIPT_PATH: Final = "BS_AGENT_STARTUP_SCRIPT_PATH"
MODULE_NAME: Final = "BS_AGENT_STARTUP_MODULE_NAME"

SCRIPT_MODULE: Final = "startup_script"
"""The name of the script's module, as 0.4.0 has it: so nothing runs that is for ``__main__`` only."""

PV_TYPES: Final = ("str", "int", "float", "bool")

_log = logging.getLogger("agent_service.script")


class StartupScript(Target):
    """A start-up script, or a module, to serve.

    Raises `UsageError` when the script is not there.
    """

    suffix = ""
    ends_within_s = 10.0

    def __init__(self, script: str | None = None, *, module: str | None = None) -> None:
        self._module = module
        if script is not None:
            self.path = Path(script).expanduser().absolute()
            if not self.path.is_file():
                raise UsageError(f"{script} is not there; give the path of a start-up script of bluesky-adaptive 0.x")
            self.text, self.name = script, self.path.stem
        elif module is not None:
            self.path, self.text, self.name = Path.cwd(), module, module.rpartition(".")[2]
        self._variables = ScriptVariables()
        self._tasks = ScriptTasks()
        self._at_start: list[Callable[[], object]] = []
        self._at_end: list[Callable[[], object]] = []
        self._names = contextlib.ExitStack()

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> StartupScript | None:
        """Return what 0.4.0's variables name, None when they name nothing; `UsageError` when they name two."""
        script, module = environment.get(SCRIPT_PATH) or None, environment.get(MODULE_NAME) or None
        if script and module:
            raise UsageError(f"{SCRIPT_PATH} and {MODULE_NAME} name two things to serve; unset one of them")
        return cls(script, module=module) if script or module else None

    def run(self, server: BackgroundServer, *, flags: dict[str, Any]) -> None:
        """Run the script, and then what it registered to run at the start; it has the main thread."""
        open_service(local_config())
        if server.service is not None:
            self._variables = server.service.script_variables
        self._variables.script = self.text
        self._names.enter_context(names_of(self._server_names()))
        if sys.__stdin__ is None:  # scripts look at it
            sys.__stdin__ = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for as long as the process lives
        server.tell(f"running {self.text}")
        with script_errors(self.text, self.path):
            self._load()
            for function in self._at_start:
                server.tell(f"running {_called(function)} of {self.text}")
                function()

    def attend(self, asked: threading.Event) -> None:
        """Run the tasks that are for the main thread."""
        self._tasks.run(asked)

    def end(self) -> None:
        """Run what the script registered to run at the end, each whatever became of the others."""
        for function in self._at_end:
            try:
                function()
            except BaseException:  # noqa: BLE001 - the script's own code
                _log.exception("%s, at the end of %s, failed", _called(function), self.text)
        self._names.close()

    def _load(self) -> None:
        folder = str(self.path if self._module else self.path.parent)
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        if self._module:
            importlib.import_module(self._module)
            return
        module = sys.modules[SCRIPT_MODULE] = ModuleType(SCRIPT_MODULE)
        module.__file__ = str(self.path)
        sys.argv[:] = [str(self.path)]
        exec(compile(self.path.read_bytes(), str(self.path), "exec"), vars(module))  # noqa: S102 - what we are asked for

    def _server_names(self) -> dict[str, Any]:
        def startup_decorator(func: Callable[[], object]) -> Callable[[], object]:
            """Let a function without parameters run when the script has been run, in the order of the script."""
            self._at_start.append(func)
            return func

        def shutdown_decorator(func: Callable[[], object]) -> Callable[[], object]:
            """Let a function without parameters run when the service ends, in the order of the script."""
            self._at_end.append(func)
            return func

        return {
            "register_variable": self._register,
            "start_task": self._tasks.start,
            "startup_decorator": startup_decorator,
            "shutdown_decorator": shutdown_decorator,
        }

    def _register(  # noqa: PLR0913 - as the scripts call it
        self,
        name: str,
        obj: object = None,
        attr_or_key: str | None = None,
        *,
        getter: Callable[[], object] | None = None,
        setter: Callable[[Any], object] | None = None,
        pv_type: str | None = None,
        pv_max_length: int | None = None,
    ) -> None:
        """Register a variable; see `ScriptVariable`. Raises `TypeError` for what is of a wrong type."""
        wanted: Sequence[tuple[str, object, type, str]] = (
            ("name", name, str, "a text"),
            ("attr_or_key", attr_or_key, str, "a text"),
            ("pv_type", pv_type, str, "a text"),
            ("pv_max_length", pv_max_length, int, "a whole number"),
        )
        for parameter, value, kind, words in wanted:
            if not isinstance(value, kind) and (value is not None or parameter == "name"):
                raise TypeError(f"{parameter} of variable {name!r} is {words}, not a {type(value).__name__}")
        for parameter, function in (("getter", getter), ("setter", setter)):
            if function is not None and not callable(function):
                raise TypeError(f"{parameter} of variable {name!r} is a function, not a {type(function).__name__}")
        self._variables.add(
            ScriptVariable(name, obj, attr_or_key, getter, setter, pv_type=pv_type, pv_max_length=pv_max_length)
        )


def _called(function: object) -> str:
    return str(getattr(function, "__name__", "a function"))


def script_of(options: Sequence[str], environment: Mapping[str, str]) -> StartupScript | None:
    """Return the script that the command line names by ``--legacy``, else that of 0.4.0's environment, if any."""
    if len(options) > 1:
        raise UsageError(f"{' and '.join(options)} are two start-up scripts; serve each in a process of its own")
    if environment.get("BS_AGENT_START_IOC_SERVER", "").lower() in ("y", "yes", "t", "true", "on", "1"):
        os.environ.setdefault("AGENT_SERVICE_EPICS__PREFIX", environment.get("BS_AGENT_IOC_PREFIX", "agent_ioc"))
    return StartupScript(options[0]) if options else StartupScript.of_environment(environment)
