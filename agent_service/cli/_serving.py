"""``agent-service serve``: in the foreground, until it is told to stop."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_service.cli._address import StateOption
from agent_service.cli._each import say
from agent_service.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from types import FrameType

    import watchfiles

    from agent_service.launch.legacy.script import StartupScript
    from agent_service.service.config import ServiceConfig
    from agent_service.service.service import Service


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level of log lines."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]...",
            help="NOTEBOOK.ipynb, SCRIPT.py, CONFIG.toml or module:attribute; one or several.",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = None,
    state: StateOption = None,
    legacy: Annotated[
        list[str] | None,
        typer.Option(metavar="SCRIPT", help="Run a start-up script of bluesky-adaptive 0.x's server, unchanged."),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: restart when a file beside the targets changes.")
    ] = False,
    log_format: Annotated[LogFormat, typer.Option(help="json: one object on each line, for a log collector.")] = (
        LogFormat.TEXT
    ),
    log_level: Annotated[LogLevel, typer.Option(help="info: also a line for each request.")] = LogLevel.WARNING,
) -> None:
    """Serve agents until Ctrl-C or SIGTERM."""
    if reload:
        _serve_again_and_again([*(targets or []), *(legacy or [])])
        return
    from agent_service.errors import log_lines
    from agent_service.executors.detached import still_running

    flags = {"host": host, "port": port, "state": None if state is None else state.absolute()}
    log_lines.configure(format=log_format.value, level=log_level.value)
    others = [target for target in targets or () if not target.endswith(".toml")]
    script = None if others and not legacy else _startup_script(legacy or [])
    if others or script:
        _serve_headless(targets or [], flags, script)
    elif targets and len(targets) > 1:
        raise UsageError(f"{' and '.join(targets)} are two services; serve each in a process of its own")
    else:
        _serve_file(Path(targets[0]) if targets else None, flags)
    say("stopped")
    if still_running():  # an import under way does not bear the end of the interpreter
        os._exit(0)


def _serve_file(config: Path | None, flags: dict[str, Any]) -> None:
    from agent_service.service.config import load

    loaded = load(config, flags=flags)
    _say_start(str(config) if config else f"a service on {loaded.service.state}")
    from agent_service.launch.uvicorn_server import run

    def on_ready(url: str, key: str, key_is_new: bool) -> None:
        _tell_ready(loaded, url, key, key_is_new=key_is_new)
        _speak_when_stopped()

    try:
        run(loaded, on_ready=on_ready)
    except InvalidInput as error:
        # an agent in the file that cannot be created: the file is wrong, as with any other value in it
        raise UsageError(f"{config or 'the configuration'}: {error.detail}") from error


def _startup_script(options: list[str]) -> StartupScript | None:
    """Return what is to be served of bluesky-adaptive 0.x, by ``--legacy`` or its variables of the environment."""
    if not options and not any(name.startswith("BS_AGENT_") for name in os.environ):
        return None
    from agent_service.launch.legacy.script import script_of

    return script_of(options, os.environ)


def _serve_headless(targets: list[str], flags: dict[str, Any], script: StartupScript | None) -> None:
    from agent_service.launch import headless

    def on_ready(url: str, service: Service) -> None:
        _tell_ready(service.config, url, service.access.owner_key, key_is_new=service.access.owner_key_is_new)

    served = [headless.Target(target) for target in targets]
    if script is not None:
        if others := [target.text for target in served if target.suffix != ".toml"]:
            raise UsageError(f"{script.text} and {others[0]} each want the main thread; serve them apart")
        served.append(script)
    _say_start(", ".join(target.text for target in served))
    headless.run(served, flags=flags, on_ready=on_ready)


def _say_start(what: str) -> None:
    """Say at once to a person that it starts: imports and a startup may take long."""
    if sys.stderr.isatty():
        say(f"starting {what} ...")


def _tell_ready(config: ServiceConfig, url: str, key: str, *, key_is_new: bool) -> None:
    from agent_service.cli.narrator import Narrator

    print(f"Serving at {url}", flush=True)
    _introduce(config, url, key, key_is_new=key_is_new)
    seen = sys.stdout.isatty() and sys.stderr.isatty()
    Narrator(url, key, say=say, logs_in=seen).start()


def _serve_again_and_again(targets: list[str]) -> None:
    """Serve in a child process, and start that anew whenever a file changes."""
    import watchfiles

    folders = {Path(target).absolute().parent for target in targets if Path(target).suffix} or {Path.cwd()}
    command = [
        sys.executable,
        "-m",
        "agent_service",
        *(argument for argument in sys.argv[1:] if argument != "--reload"),
    ]
    sources = watchfiles.DefaultFilter(
        ignore_paths=[], ignore_dirs=(*watchfiles.DefaultFilter.ignore_dirs, ".agent-service")
    )

    def watched(change: watchfiles.Change, path: str) -> bool:
        return sources(change, path) and Path(path).suffix in (".py", ".ipynb", ".toml")

    watchfiles.run_process(
        *folders,
        target=shlex.join(command),
        target_type="command",
        watch_filter=watched,
        callback=lambda changes: print(f"changed: {', '.join(sorted({Path(changed).name for _, changed in changes}))}"),
    )


def _speak_when_stopped() -> None:
    """Say that a signal was heard: what moves is brought to an end first, which may take seconds.

    The service's event loop hears of signals through a file descriptor and leaves Python's own handler idle.
    """
    echoed = b"\n" if sys.stderr.isatty() else b""  # a terminal's line begins with ^C

    def speak(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):  # an error here would keep the event loop from hearing of the signal
            os.write(2, echoed + b"stopping ...\n")  # print is not safe here: it may have been interrupted itself

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, speak)
        signal.siginterrupt(number, False)


def _introduce(config: ServiceConfig, url: str, key: str, *, key_is_new: bool) -> None:
    """Say where the API page is and where the key; the key itself only to a person's eyes."""
    kept = config.service.state / "api_key"
    if config.api_key is not None:
        where = "API key: that in AGENT_SERVICE_API_KEY"
    elif sys.stdout.isatty():
        where = f"API key: {key} ({'made now, ' if key_is_new else ''}kept in {kept})"
    else:
        where = f"API key: kept in {kept}"
    print(f"API page:   {url}/docs\n{where}\nCtrl-C ends it.", file=sys.stdout if sys.stdout.isatty() else sys.stderr)
