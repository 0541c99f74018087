"""The demo's steps: serve, create an agent, follow it, wait for the catalogue, print the result."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import time
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service.archive.refused import refusal
from agent_service.cli.demo._display import display_for
from agent_service.cli.demo._trace import Trace
from agent_service.client import Client
from agent_service.documents.spool_files import SpoolFiles
from agent_service.errors import AgentFault, BackendUnavailable, DeadlineExceeded, InvalidInput, UsageError
from agent_service.launch.signals import StopSignals
from agent_service.models.state_machines import AgentState
from agent_service.plans.beamline import LIMITS_MM, optimum, true_flux
from agent_service.service.config import ServiceConfig
from agent_service.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from rich.console import Console

    from agent_service.launch.background import BackgroundServer
    from agent_service.models import AgentStatus, ArchiveStatus, Event

AGENT: Final = "bayes"
ACTUATORS: Final = ("mirror_x", "mirror_y")
OUTCOME: Final = "flux"

_COMMAND: Final = "agent-service"
_POLL_S: Final = 0.25
_ARCHIVE_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Demo:
    """One demonstration, in a state directory that is empty or not there yet; ``seed`` is that of all chance in it."""

    console: Console
    state: Path
    seed: int = 0
    runs: int = 30
    keep: bool = False

    def run(self) -> None:
        """Serve, measure, archive, and say what came out; blocks. Raises what is wrong, in one line."""
        config = self._config()
        self._say("starting the service, its RunEngine and the simulated beamline ...")
        from agent_service.launch.background import BackgroundServer

        with ExitStack() as stack:
            stack.enter_context(_log_in(config.service.state / "service.log"))
            server = stack.enter_context(BackgroundServer(config, headless=True))
            client = stack.enter_context(Client(server.url, api_key=server.api_key))
            self._say(f"serving at {server.url}, its API page is {server.url}/docs")
            trace = Trace(actuators=ACTUATORS, outcome=OUTCOME, total=self.runs)
            with display_for(self.console) as display:
                display.show(trace)
                for event in self._loop(client):
                    if trace.on_event(event):
                        display.show(trace)
                    if trace.ended:
                        break
                _require_success(trace)
                for archived in _archive(server, StateDir(config.service.state), trace.done):
                    display.archiving(*archived)
            self._summary(trace, client.agent(AGENT))
            self._draw(client)
            self._how_to_read()
            if self.keep:
                self._serve_on(server.url)
        self._say("the service has stopped")

    def _config(self) -> ServiceConfig:
        if StateDir(self.state).journal.exists():
            raise UsageError(f"{self.state} holds an earlier service's journal; give an empty folder with --state")
        return ServiceConfig.model_validate(
            {"service": {"port": 0, "state": self.state}, "run_engine": {"seed": self.seed, "md": {"purpose": "demo"}}}
        )

    def _loop(self, client: Client) -> Iterator[Event]:
        bounds = {name: list(LIMITS_MM) for name in ACTUATORS}
        client.create(
            name=AGENT,
            type="bayes",
            config={"bounds": bounds, "objective": OUTCOME, "maximize": True, "seed": self.seed},
            actuators=list(ACTUATORS),
            sensors=[OUTCOME],
            outcome=OUTCOME,
            loop={"max_runs": self.runs},
        )
        client.start(AGENT)
        deadline_s = 60.0 + 2.0 * self.runs
        began = time.monotonic()
        # from the beginning: what happened between create and this request is told as well
        for event in client.events(AGENT, last_event_id=0):
            yield event
            if time.monotonic() - began > deadline_s:
                raise DeadlineExceeded(f"the loop has not ended within {deadline_s:g} s; try again with fewer --runs")

    def _summary(self, trace: Trace, agent: AgentStatus) -> None:
        self._say("")
        self._say(f"best measured: {trace.text(trace.best)}: the highest of all runs, noise included")
        self._say(f"best by model: {trace.text(trace.by_model)}: here the agent's model of the noise has the highest")
        true, highest = true_flux(*(trace.by_model[name] for name in ACTUATORS)), optimum().flux
        self._say(
            f"there:      {true:.4g} without noise, {100.0 * true / highest:.1f} % of the true optimum, {highest:.4g}"
        )
        self._say(f"runs:       {trace.done}, all in the catalogue, and every decision of the agent")
        idle = 100.0 * (agent.beam_idle or 0.0)
        self._say(f"beam idle:  {idle:.0f} % of the time the agent ran; it thought for {agent.think_s:.1f} s")
        self._say("")

    def _draw(self, client: Client) -> None:
        """Save a picture of what the agent believes; its brain is built anew for that, from what it was told."""
        from agent_service.client.pictures import belief

        client.start(AGENT, paused=True)
        picture = self.state / f"{AGENT}.png"
        try:
            belief(client, AGENT).savefig(picture, dpi=150)  # pyright: ignore[reportUnknownMemberType]
        except InvalidInput as error:  # a run or two teach it too little
            self._say(f"no picture: {error.detail}")
        else:
            self._say(f"a picture of what the agent believes now is in {_shown(picture)}")
        client.stop(AGENT)
        self._say("")

    def _how_to_read(self) -> None:
        profiles = str(StateDir(self.state).profiles)
        python = shlex.quote(_shown(Path(sys.executable)))
        if self.keep:
            self._say(f"To read them while this serves: in another terminal, in Python ({python}):")
        else:
            command = f"{_command()} catalog {shlex.quote(str(self.state))}"
            self._say("To read them with databroker: in another terminal, serve them again with")
            self._say(f"    {command}")
            self._say(f"and in Python ({python}):")
        for line in (
            # absolute: Tiled does not find its profiles in a relative one
            f'import os; os.environ["TILED_PROFILES"] = {profiles!r}',
            "import databroker",
            'runs = databroker.from_profile("agent_service")',
            'runs[-1]["primary"].read()                          # the newest run',
            'decisions = databroker.from_profile("agent_service_agents")',
            'decisions[-1]["suggest"].read()                     # what the agent suggested, and what became of it',
        ):
            self._say(f"    {line}")

    def _serve_on(self, url: str) -> None:
        with StopSignals(lambda count: None) as signals:
            self._say("")
            self._say(f"still serving at {url} (API page {url}/docs, key in {self.state}/api_key); Ctrl-C ends it")
            signals.asked.wait()
            self._say("")

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def new_state() -> Path:
    """Return a state directory for a demonstration: ``agent-service-demo/DATE-TIME``, not there yet."""
    return Path("agent-service-demo") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")


@contextmanager
def _log_in(path: Path) -> Generator[None, None, None]:
    """Write warnings, and what Bluesky says of a failed plan, into a file instead of across the display."""
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _require_success(trace: Trace) -> None:
    if trace.state is AgentState.FAILED or trace.done < trace.total:
        why = trace.reason or trace.last_failure or "no reason given"
        raise AgentFault(f"the loop ended after {trace.done} of {trace.total} runs: {why}")


def _archive(server: BackgroundServer, state: StateDir, total: int) -> Iterator[tuple[int, int, str]]:
    """Yield ``(done, total, note)`` until the catalogue holds everything."""
    assert server.service is not None  # noqa: S101 - it measured just now
    archive, spool = server.service.archive, SpoolFiles(state.spool)
    within_s = _ARCHIVE_PATIENCE_S + 2.0 * total
    archived = server.call(lambda service: service.archived(decisions=True, within_s=within_s))
    while not archived.done():
        runs = len(spool.complete())
        yield max(0, total - runs), total, _note(archive.status, runs)
        wait([archived], timeout=_POLL_S)
    archived.result()
    refused = refusal(archive.status.runs_refused, archive.status.decisions_refused, state.path)
    if refused is not None:
        raise BackendUnavailable(refused)
    yield total, total, "done"


def _note(archive: ArchiveStatus, runs: int) -> str:
    if archive.state == "starting":
        return "the catalogue is starting"
    if archive.state != "ready":
        return archive.reason or f"the catalogue is {archive.state}"
    return "runs" if runs else "the agent's decisions"


def _command() -> str:
    """Return what to type for this very command: its name where the shell finds it, else its path."""
    running = Path(sys.argv[0])
    if running.name != _COMMAND:
        return f"{shlex.quote(_shown(Path(sys.executable)))} -m agent_service"
    installed = shutil.which(_COMMAND)
    # make puts .venv/bin on the path of its own commands only: another terminal has it if it activated the environment
    activated = sys.prefix == sys.base_prefix or sys.prefix in (
        os.environ.get("VIRTUAL_ENV"),
        os.environ.get("CONDA_PREFIX"),
    )
    if activated and installed is not None and Path(installed).resolve() == running.resolve():
        return _COMMAND
    return shlex.quote(_shown(running))


def _shown(path: Path) -> str:
    """Return a path as short as it can be typed in the working directory."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
