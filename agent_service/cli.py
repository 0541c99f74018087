"""The command line: ``agent-service demo | serve | check | schema | status | catalog``.

What each command needs is imported when it runs: ``--help`` must not wait for Bluesky. A failure is one line on
stderr; exit code 2 means that the command line, a file or a folder is wrong, 1 that something failed, 130 that the
demo was ended by Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from agent_service.errors import BackendUnavailable, InvalidInput, ServiceError, Unauthenticated, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from rich.table import Table

    from agent_service.client import Client
    from agent_service.config import ServiceConfig
    from agent_service.models import AgentStatus, ServiceStatus

app = typer.Typer(
    name="agent-service",
    help="Adaptive-experiment agents as a service, for beamlines that run on Bluesky.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEFAULT_STATE: Final = "agent-service.state"

StateOption = Annotated[Path | None, typer.Option("--state", help="State directory, on a local disk.")]


def main() -> NoReturn:
    """Run the command line and exit."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        # taken out here, so that it may stand before or after the command
        app([one for one in arguments if one != "--debug"])
    except ServiceError as error:
        _fail(error, code=2 if isinstance(error, UsageError) else 1, debug=debug)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a person reads one line, not a traceback
        _fail(error, code=1, debug=debug)
    sys.exit(0)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of failures.")] = False,
) -> None:
    """Adaptive-experiment agents as a service, for beamlines that run on Bluesky."""


@app.command()
def demo(
    state: StateOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the beamline and of the agent.")] = 0,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Runs to measure.")] = 30,
    keep: Annotated[bool, typer.Option("--keep", help="Go on serving afterwards, until Ctrl-C.")] = False,
) -> None:
    """Watch an agent align a simulated beamline; ends by itself."""
    from rich.console import Console

    from agent_service.demo import Demo, new_state

    signal.signal(signal.SIGTERM, _terminated)
    shown = state or new_state()
    try:
        Demo(console=Console(), state=shown, seed=seed, runs=runs, keep=keep).run()
    except KeyboardInterrupt:
        echoed = "\n" if sys.stderr.isatty() else ""  # a terminal's line begins with ^C
        print(f"{echoed}stopped by Ctrl-C; what was measured is in the state directory {shown}", file=sys.stderr)
        raise typer.Exit(130) from None


@app.command()
def serve(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG.toml]", help="A service.toml.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = None,
    state: StateOption = None,
) -> None:
    """Serve agents until Ctrl-C or SIGTERM."""
    from agent_service.config import load

    loaded = load(config, flags={"host": host, "port": port, "state": state})
    from agent_service.server.serve import run

    def on_ready(url: str, key: str, key_is_new: bool) -> None:
        from agent_service.narrator import Narrator

        print(f"Serving at {url}", flush=True)
        _introduce(loaded, url, key, key_is_new=key_is_new)
        _speak_when_stopped()
        Narrator(url, key, say=lambda line: print(line, file=sys.stderr, flush=True)).start()

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_without_aborts)
    try:
        run(loaded, on_ready=on_ready)
    except InvalidInput as error:
        # an agent in the file that cannot be created: the file is wrong, as with any other value in it
        raise UsageError(f"{config or 'the configuration'}: {error.detail}") from error
    print("stopped", file=sys.stderr)


def _speak_when_stopped() -> None:
    """Say that a signal was heard: what moves is brought to an end first, which may take seconds.

    The service's event loop hears of signals through a file descriptor and leaves Python's own handler idle.
    """
    echoed = b"\n" if sys.stderr.isatty() else b""  # a terminal's line begins with ^C

    def speak(number: int, frame: FrameType | None) -> None:
        os.write(2, echoed + b"stopping ...\n")  # print is not safe here: it may have been interrupted itself

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, speak)
        signal.siginterrupt(number, False)


def _without_aborts(record: logging.LogRecord) -> bool:
    """Leave out Bluesky's traceback of a run that a person or the end of the service aborted: it is no error."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ not in ("RequestAbort", "RequestStop")


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


@app.command()
def check(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="A service.toml.")],
    devices: Annotated[
        bool, typer.Option("--devices", help="Load the startup module too, and look for devices and plans in it.")
    ] = False,
) -> None:
    """Say what is wrong with a configuration, without starting anything."""
    from agent_service.config import load, sentence
    from agent_service.server.check import check as look

    loaded = load(config)
    found = look(loaded, devices=devices)
    if found:
        raise UsageError(f"{config} is not valid: {sentence(found)}", errors=found)
    unseen = loaded.run_engine.startup if loaded.sink.kind == "run_engine" and not devices else None
    print(f"{config} is valid: {len(loaded.agents)} agents, state in {loaded.service.state}")
    if unseen is not None:
        print(f"devices and plans in {unseen} were not looked for; --devices does that", file=sys.stderr)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a service.toml."""
    import json

    from agent_service.config import ServiceConfig

    print(json.dumps(ServiceConfig.file_schema(), indent=2))


@app.command()
def status(
    url: Annotated[str | None, typer.Argument(help="Address of the service; default: AGENT_SERVICE_URL.")] = None,
    state: StateOption = None,
) -> None:
    """Show a running service and its agents."""
    from rich.console import Console

    with _client_for(url, state) as client:
        try:
            service, agents = client.service(), client.agents()
        except Unauthenticated as error:
            raise Unauthenticated(f"{error.detail}; give its key: {_where_keys_are(state)}") from error
        except BackendUnavailable as error:
            if url or state or os.environ.get("AGENT_SERVICE_URL"):
                raise
            raise BackendUnavailable(f"{error.detail}; or say which service: {_where_keys_are(state)}") from error
    console = Console()
    console.print(_service_table(client.url, service))
    console.print(_agents_table(agents) if agents else "no agents yet", highlight=False)


def _client_for(url: str | None, state: Path | None) -> Client:
    """Return a client of the service at ``url``, or on ``state``, or on the default state directory."""
    from agent_service.client import Client

    if url is None:
        default = Path(DEFAULT_STATE)
        if state is None and not os.environ.get("AGENT_SERVICE_URL") and default.exists():
            state = default
        if state is not None:
            return Client.from_state(state)
    try:
        return Client(url, api_key=_key_in(state))
    except InvalidInput as error:
        raise UsageError(error.detail) from None


def _where_keys_are(state: Path | None) -> str:
    """Say how a service and its key are named, with a state directory of this folder if there is one."""
    if state is None:
        here = sorted(str(one.parent) for one in Path().glob("*.state/service.json"))
        return f"--state {' or --state '.join(here) or 'STATE, its state directory'}, or set AGENT_SERVICE_API_KEY"
    return "set AGENT_SERVICE_API_KEY"


def _key_in(state: Path | None) -> str | None:
    if state is None:
        return None
    try:
        return (state / "api_key").read_text(encoding="ascii").strip()
    except OSError as error:
        raise UsageError(
            f"no key can be read in {state}: {error.strerror}; name the state directory of a service with --state, or "
            "set AGENT_SERVICE_API_KEY"
        ) from None


def _service_table(url: str, service: ServiceStatus) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    archive, queue = service.archive, service.queue
    lag = f", {archive.runs_behind} runs behind" if archive.runs_behind else ""
    for label, text in (
        ("service", f"{url}, version {service.version}, up {service.uptime_s:.0f} s"),
        ("state", service.state_dir),
        ("queue", f"{queue.state}{f' ({queue.reason})' if queue.reason else ''}, {queue.pending} waiting"),
        ("catalogue", f"{archive.catalog}, {archive.state}{lag}{f' ({archive.reason})' if archive.reason else ''}"),
    ):
        table.add_row(label, text)
    return table


def _agents_table(agents: list[AgentStatus]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("agent", "state", "type", "runs", "best", "reason")
    for one in agents:
        runs = str(one.progress.done) if one.progress.total is None else f"{one.progress.done}/{one.progress.total}"
        best = "" if one.best is None else ", ".join(f"{key} {value:.4g}" for key, value in one.best.outcome.items())
        reason = one.reason or (one.last_error.message if one.last_error else "")
        table.add_row(*(Text(text) for text in (one.name, one.state, one.type, runs, best, reason)))
    return table


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

    serve_catalog(state, on_start=on_start, on_ready=on_ready)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _fail(error: Exception, *, code: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    said = str(error) if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}; --debug tells more"
    print(f"error: {' '.join(said.split())}", file=sys.stderr)
    sys.exit(code)
