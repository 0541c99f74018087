"""The commands of ``agent-service``: to serve, to look, to steer agents, to decide on suggestions, for keys and data.

Each command imports what it needs when it runs: ``--help`` must not wait for Bluesky. A failure is one line on
stderr. Exit code 2 means that the command line, a file or a folder is wrong, 1 that something failed, 130 that Ctrl-C
ended the demo or the watch.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from agent_service._version import __version__
from agent_service.cli import _agents, _inbox
from agent_service.cli._address import StateOption
from agent_service.cli._archive import archive
from agent_service.cli._each import examples, say
from agent_service.cli._export import export
from agent_service.cli._journal import journal
from agent_service.cli._keys import keys
from agent_service.cli._open import open_page
from agent_service.cli._relay import relay
from agent_service.cli._serving import serve
from agent_service.cli._status import devices, status
from agent_service.cli._stop import stop
from agent_service.cli._watch import watch
from agent_service.errors import MAX_DETAIL, ServiceError, UsageError, texts

if TYPE_CHECKING:
    from types import FrameType

EXITS_WITHIN_S: Final = 5.0
"""How long threads that are not ours may hold up the exit, when all is done."""

app = typer.Typer(
    name="agent-service",
    help="Adaptive-experiment agents as a service, for beamlines that run on Bluesky.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> NoReturn:
    """Run the command line and exit."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        # taken out here, so that it may stand before or after the command
        code = app([argument for argument in arguments if argument != "--debug"], standalone_mode=False)
    except ServiceError as error:
        _fail(error, code=2 if isinstance(error, UsageError) else 1, debug=debug)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a person reads one line, not a traceback
        _fail(_of_command_line(error) or error, code=2 if _of_command_line(error) else 1, debug=debug)
    except SystemExit as error:  # a command's own exit code
        _exit(error.code if isinstance(error.code, int) else 0)
    _exit(code if isinstance(code, int) else 0)


def _of_command_line(error: Exception) -> UsageError | None:
    """Return what Typer says against the command line, in plain words; None for any other error."""
    format_message, context = getattr(error, "format_message", None), getattr(error, "ctx", None)
    if format_message is None:
        return None
    if type(error).__name__ == "NoArgsIsHelpError":
        format_message()
        print(context.get_help() if context is not None else "")
        _exit(2)
    from pydantic import ValidationError

    from agent_service.models.validation_messages import sentence, validation_errors

    command = getattr(context, "command_path", "agent-service")
    what = str(format_message()).rstrip(".")
    if isinstance(error.__cause__, ValidationError):
        option = next(iter(getattr(getattr(error, "param", None), "opts", ())), "the command line")
        what = f"{option} {sentence(validation_errors(error.__cause__))}"
    return UsageError(f"{what}; {command} --help tells more")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"agent-service {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of failures.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Adaptive-experiment agents as a service, for beamlines that run on Bluesky."""


@app.command()
def demo(
    state: StateOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the beamline and of the agent.")] = 0,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Runs to measure.")] = 30,
    keep: Annotated[bool, typer.Option("--keep", help="Keep serving afterwards, until Ctrl-C.")] = False,
) -> None:
    """Watch an agent align a simulated beamline; the demo ends by itself."""
    from rich.console import Console

    from agent_service.cli.demo import Demo, new_state

    signal.signal(signal.SIGTERM, _terminated)
    shown = state or new_state()
    try:
        Demo(console=Console(), state=shown, seed=seed, runs=runs, keep=keep).run()
    except KeyboardInterrupt:
        echoed = "\n" if sys.stderr.isatty() else ""  # a terminal's line begins with ^C
        print(f"{echoed}stopped by Ctrl-C; what was measured is in the state directory {shown}", file=sys.stderr)
        raise typer.Exit(130) from None


app.command()(serve)


@app.command()
def check(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="A service.toml.")],
    with_devices: Annotated[
        bool,
        typer.Option(
            "--devices",
            help="Also load the startup, look for devices and plans in it, and ask who takes notices.",
        ),
    ] = False,
) -> None:
    """Say what is wrong with a configuration. Starts nothing."""
    from agent_service.service.check import check as look
    from agent_service.service.config import load
    from agent_service.service.file_mistakes import said_of_file

    loaded = load(config)
    wrong = look(loaded, devices=with_devices)
    if wrong:
        raise UsageError(f"{config} is not valid: {said_of_file(wrong, loaded.agents)}", errors=wrong)
    unseen = loaded.run_engine.startup if loaded.sink.own_engine and not with_devices else None
    print(f"{config} is valid: {texts.counted(len(loaded.agents), 'agent')}, state in {loaded.service.state}")
    if unseen is not None:
        print(f"devices and plans in {unseen} were not looked for; --devices does that", file=sys.stderr)
    if not with_devices and (loaded.notify.webhook or loaded.notify.smtp_host):
        print("whether notices are taken was not asked; --devices does that", file=sys.stderr)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a service.toml."""
    import json

    from agent_service.service.config import ServiceConfig

    print(json.dumps(ServiceConfig.file_schema(), indent=2))


app.command("export")(export)
for _command, _lines in (
    (status, ["agent-service status", "agent-service status --state agent-service.state"]),
    (devices, ["agent-service devices", "agent-service devices mirror"]),
    (open_page, ["agent-service open", "agent-service open http://beamline.example.org:8000"]),
    (_agents.agents, ["agent-service agents"]),
    (_agents.start, ["agent-service start aligner", "agent-service start aligner --paused"]),
    (_agents.pause, ["agent-service pause aligner", "agent-service pause --everything"]),
    (_agents.resume, ["agent-service resume aligner", "agent-service resume --everything"]),
    (stop, ["agent-service stop aligner", "agent-service stop --everything"]),
    (_agents.best, ["agent-service best aligner", "agent-service best aligner --model"]),
    (_inbox.inbox, ["agent-service inbox", "agent-service inbox aligner"]),
    (
        _inbox.approve,
        [
            "agent-service approve 3f2a9c1e",
            "agent-service approve 3f2a9c1e --set mirror_x=1.5",
            "agent-service approve --all aligner --yes",
        ],
    ),
    (_inbox.reject, ["agent-service reject 3f2a9c1e --reason 'the sample was moved'"]),
    (
        _inbox.propose,
        ["agent-service propose aligner mirror_x=1.5 mirror_y=-2 --reason 'a flank that it left out'"],
    ),
    (watch, ["agent-service watch", "agent-service watch aligner"]),
    (
        relay,
        ["agent-service relay http://127.0.0.1:8000", "agent-service relay hxn=http://hxn:8000 srx=http://srx:8000"],
    ),
):
    app.command(_command.__name__.removesuffix("_page"), epilog=examples(*_lines))(_command)
app.add_typer(keys)
app.add_typer(archive)
app.add_typer(journal)


@app.command()
def catalog(
    state: Annotated[Path, typer.Argument(metavar="STATE", help="State directory of a service, past or present.")],
) -> None:
    """Serve the runs in a state directory to databroker, until Ctrl-C."""
    from agent_service.archive import serve_catalog

    def on_start() -> None:
        print("starting the catalogue (about 5 s) ...", file=sys.stderr, flush=True)

    def on_ready(uri: str) -> None:
        print(f"Serving the catalogue at {uri}", flush=True)
        print(f'Read it in Python with agent_service.open_catalog("{state}"). Ctrl-C ends it.', file=sys.stderr)

    def on_progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    serve_catalog(state, on_start=on_start, on_ready=on_ready, on_progress=on_progress)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _fail(error: Exception, *, code: int, debug: bool) -> NoReturn:
    if debug:
        print(texts.printable("".join(traceback.format_exception(error))), file=sys.stderr)
    message = str(error) if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}; --debug tells more"
    say(f"error: {texts.one_line(message, most=MAX_DETAIL)}")
    _exit(code)


def _exit(code: int) -> NoReturn:
    """Exit, and not only when threads that a notebook or startup script left behind have ended."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    leaving = threading.Timer(EXITS_WITHIN_S, os._exit, [code])
    leaving.daemon = True
    leaving.start()
    sys.exit(code)
