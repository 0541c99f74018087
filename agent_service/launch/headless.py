"""Headless serving: the service listens first, then runs the notebooks, scripts and modules that say what it serves."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent_service import references
from agent_service.errors import ServiceError, UsageError
from agent_service.launch import notebook_file
from agent_service.launch.local import local_config, open_service, serve
from agent_service.launch.process_service import ProcessService
from agent_service.launch.signals import StopSignals
from agent_service.service.config import ServiceConfig, load

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from agent_service.launch.background import BackgroundServer
    from agent_service.service.service import Service

SUFFIXES: Final = (".ipynb", ".py", ".toml")


class Target:
    """One thing to serve: a notebook, a script, a service.toml, or ``module:attribute``.

    Raises `UsageError` if the text, as a person writes it, is none of these, or the file is not there.
    """

    ends_within_s = 2.0
    """How long its code may take to end after an interrupt; then the process ends without it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.suffix = Path(text).suffix
        if self.suffix in SUFFIXES:
            self.path = Path(text).absolute()
            if not self.path.is_file():
                raise UsageError(f"{text} is not there; give the path of a notebook, a script or a service.toml")
            self.name = self.path.stem
        elif ":" in text and all(part.isidentifier() for part in text.replace(":", ".").split(".")):
            self.path = Path.cwd()
            self.name = text.partition(":")[2]
        elif Path(text).is_dir():
            raise UsageError(f"{text} is a folder; give the path of a notebook, a script or a service.toml in it")
        else:
            raise UsageError(
                f"{text} cannot be served; give NOTEBOOK.ipynb, SCRIPT.py, CONFIG.toml or module:attribute"
            )

    def run(self, server: BackgroundServer, *, flags: dict[str, Any]) -> None:
        """Serve it in the main thread as this process's service; `ServiceError` says where and why it failed."""
        if self.suffix == ".toml":
            open_service(load(self.path, flags=flags))
        elif self.suffix == ".ipynb":
            with _in_folder(self.path.parent):
                notebook_file.run(
                    self.path,
                    on_cell=lambda n, of: server.tell(f"running code cell {n} of {of} of {self.path.name}"),
                )
        elif self.suffix == ".py":
            server.tell(f"running {self.path.name}")
            _run_script(self.path)
        else:
            server.tell(f"importing {self.text}")
            self._serve_attribute()

    def attend(self, asked: threading.Event) -> None:
        """Keep the main thread while it is served, until ``asked`` is set."""
        asked.wait()

    def end(self) -> None:
        """Do what is needed before the service ends."""

    def _serve_attribute(self) -> None:
        sys.path.insert(0, str(self.path))
        try:
            thing = references.imported(self.text)
        except references.Unresolved as error:
            raise UsageError(f"{self.text} cannot be imported: {error}") from error
        if isinstance(thing, ServiceConfig):
            open_service(local_config(thing))
        else:
            serve({self.name.replace(".", "-"): thing})


def run(targets: Sequence[Target], *, flags: dict[str, Any], on_ready: Callable[[str, Service], None]) -> None:
    """Listen, run the targets in turn, and serve until Ctrl-C or SIGTERM, which may come at any time. Main thread.

    A service.toml among the targets configures the service; ``flags`` are values of ``[service]`` from the command
    line, None if not given. ``on_ready`` is called with the URL and the service when everything is served. Raises
    `ServiceError` if a target failed or nothing is served; the service is ended then.
    """
    ordered = sorted(targets, key=lambda target: target.suffix != ".toml")
    first = ordered[0]
    config = load(first.path if first.suffix == ".toml" else None, flags=flags)
    files = [target.path for target in targets if target.suffix in SUFFIXES]
    if len(files) == len(targets):
        config = config.of_files(files, state=config.state_in_file)
    process_service = ProcessService(config, name=first.name)
    server, code_ended = process_service.server, threading.Event()

    def heard(count: int) -> None:
        if count > 1:
            server.end()
        else:
            within_s = max(target.ends_within_s for target in targets)
            insisting = partial(_insist, process_service, code_ended, within_s)
            threading.Thread(target=insisting, name="insist", daemon=True).start()

    with StopSignals(heard) as signals:
        try:
            with signals.interrupting():
                # a service.toml says what service it is that the first of the others opens
                for target in ordered[1:] if first.suffix == ".toml" else ordered:
                    target.run(server, flags=flags)
                if server.service is None and first.suffix == ".toml":
                    first.run(server, flags=flags)
            if not signals.asked.is_set():
                on_ready(server.url, _served(server, targets))
                with signals.interrupting():
                    ordered[-1].attend(signals.asked)
        except KeyboardInterrupt:
            if not signals.asked.is_set():  # the code raised it itself
                raise
        finally:
            for target in ordered:
                target.end()
            code_ended.set()
            process_service.close()


def _served(server: BackgroundServer, targets: Sequence[Target]) -> Service:
    """Return the service, ready from now on, if there is one."""
    if server.service is None:
        names = ", ".join(target.text for target in targets)
        raise UsageError(
            f"{names} serves nothing; let a cell that runs headless say %agent_serve my_agent, or call "
            "agent_service.serve({...})"
        )
    server.tell(None)
    return server.service


def _insist(process_service: ProcessService, code_ended: threading.Event, within_s: float) -> None:
    """End the process although its code ignores an interrupt."""
    if not code_ended.wait(within_s):
        process_service.close()
        message = "stopped; the code that was being run did not heed the interrupt"
        print(message, file=sys.stderr, flush=True)  # noqa: T201 - the last word of the process
        os._exit(0)


def _run_script(path: Path) -> None:
    sys.path.insert(0, str(path.parent))
    before = sys.argv[:]
    sys.argv[:] = [str(path)]
    try:
        with script_errors(path.name, path):
            runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv[:] = before


@contextlib.contextmanager
def script_errors(name: str, path: Path) -> Generator[None]:
    """Say where a script raised; a script that ends itself without a fault has run."""
    try:
        yield
    except ServiceError as error:
        raise type(error)(f"{name}: {error.detail}") from error
    except SystemExit as error:
        if error.code not in (None, 0):
            raise ServiceError(f"{name} ended with exit code {error.code}") from error
    except Exception as error:
        raise ServiceError(f"{name}{_where(path, error)}: {type(error).__name__}: {error}") from error


def _where(path: Path, error: BaseException) -> str:
    """Return the last line of the script itself on the way to an error."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


@contextlib.contextmanager
def _in_folder(folder: Path) -> Generator[None]:
    """Be in a notebook's folder while it runs, as in Jupyter."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
