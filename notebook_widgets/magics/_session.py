"""The service and the panels that magics made in this kernel: one service, and one panel an agent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from agent_service.errors import AgentFault, InvalidConfig, NotFound, ServiceError, UsageError, texts
from notebook_widgets.magics._namespace import Names
from notebook_widgets.magics._options import SERVE
from notebook_widgets.magics._target import is_file, number, target

if TYPE_CHECKING:
    from agent_service.launch.live_agents import HostResult
    from agent_service.launch.local import LocalService
    from agent_service.models import AgentSpec, AgentStatus, Ends
    from agent_service.service.config import ServiceConfig
    from notebook_widgets.magics._options import Line

VARIABLES: Final = ("service", "agents_service")
"""Names for the service in the notebook: the first free one is used."""

_SERVING: Final = "agent_service.launch.local"


def say(line: str) -> None:
    """Print a line below the cell."""
    print(line)  # noqa: T201 - the cell's own output


def show(thing: object) -> None:
    """Display an object below the cell."""
    from IPython import display  # noqa: PLC0415 - pictures are for those who look

    cast("Any", display).display(thing)


class Session:
    """The service and panels that the magics of one shell made. In the main thread."""

    def __init__(self, shell: Any) -> None:
        self.names = Names(shell.user_ns)
        self._made: LocalService | None = None
        self._panels: dict[str, Any] = {}

    @property
    def service(self) -> LocalService | None:
        """The service that runs here: the one that magics made, or one in the variable ``service``."""
        module: Any = sys.modules.get(_SERVING)
        if module is None:
            return None
        held: tuple[Any, ...] = (self._made, self.names.names.get(VARIABLES[0]))
        for candidate in held:
            if isinstance(candidate, module.LocalService) and not candidate.closed:
                return candidate
        return None

    @property
    def variable(self) -> str:
        """Name of the variable that holds the service."""
        return next((name for name in VARIABLES if self.names.names.get(name) is self.service), VARIABLES[0])

    def require(self) -> LocalService:
        """Return the service that runs here; `UsageError` if none does."""
        if self.service is None:
            raise UsageError("no service runs in this kernel; %agent_serve starts one")
        return self.service

    def status(self, name: str) -> AgentStatus:
        """Return the status of an agent of this kernel's service; `UsageError` if there is none of that name."""
        client = self.require().client
        try:
            return client.agent(name)
        except NotFound:
            there = ", ".join(agent.name for agent in client.agents()) or "none"
            raise UsageError(f"there is no agent {name!r} here; there is {there}") from None

    # serving ------------------------------------------------------------------------------------------------------

    def serve(self, line: Line) -> None:
        """Serve what a line of ``%agent_serve`` says, print the result, and show its panel.

        Raises `ServiceError` if something is wrong with it; what was served before is untouched.
        """
        if not line.target or is_file(line.target):
            _refuse_agent_options(line)
        agent = None if not line.target or is_file(line.target) else target(line, self.names)
        before = self.service
        service, specs = self._opened(line)
        shown = "" if agent is None else agent.name
        try:
            if agent is not None:
                self._host(service, agent.name, agent.fields, line)
            else:
                self._serve_all(service, specs, line)
        except AgentFault as error:
            if "no-panel" not in line:
                self.show(shown)
            where = "its panel and in " if "no-panel" not in line else ""
            raise UsageError(f"{error.detail}; the traceback is in {where}%agent_status {shown}") from None
        except ServiceError as error:
            if before is None:
                self.close()
            raise UsageError(f"{error.detail}{_hint(error)}") from None
        if "no-panel" not in line:
            self.show(shown)

    def _serve_all(self, service: LocalService, specs: list[AgentSpec], line: Line) -> None:
        """Host the agents of a file; an agent that exists and is the same stays."""
        if not specs:
            say(f"a service runs at {service.url} ({self.variable}.client speaks to it)")
        for spec in specs:
            status = _status(service, spec.name)
            if status is not None and status.spec == spec and "fresh" not in line:
                say(f"{spec.name} is there as the file has it, {status.state.value}")
            else:
                self._host(service, spec.name, spec.model_dump(), line)

    def _host(self, service: LocalService, name: str, fields: dict[str, Any], line: Line) -> None:
        """Host an agent, and say what became of it, and which limits hold for it by now where others did."""
        earlier = _status(service, name)
        hosted = service.host(name, fields, fresh="fresh" in line)
        say(self._hosted_text(name, hosted, line, fields))
        now, before = hosted.status.limits, {} if earlier is None else earlier.limits
        changed = [name for name in hosted.status.spec.actuators if name in before and now.get(name) != before[name]]
        if changed:
            listed = ", ".join(f"{name} {_range(now.get(name))} (before: {_range(before[name])})" for name in changed)
            say(f"other limits than before hold now: {listed}; --bounds sets them")
        say_no_limits(hosted, line)

    def _hosted_text(self, name: str, hosted: HostResult, line: Line, fields: dict[str, Any]) -> str:
        """Return a line that says what was done with an agent, and what it waits for."""
        service, count = self.require(), hosted.ingested
        if hosted.stayed:
            return _stayed(name, hosted)
        if not hosted.replaced:
            head = f"serving {name} at {service.url} ({self.variable}.client speaks to it)"
        elif "fresh" in line:
            head = f"replaced {name}: it begins {_beginning(fields)}"
        else:
            head = f"replaced {name}: {texts.counted(count, 'outcome')} ingested"
        progress = hosted.status.progress
        if hosted.replaced and progress.total is not None and progress.done >= progress.total:
            runs = texts.counted(progress.done, "run")
            more = "give a larger --max-runs, or --fresh"
            return f"{head}; {runs} of {progress.total} are done, so it measures no more: {more}"
        moves = hosted.status.spec.listen == "own"
        command = "start" if hosted.status.state.value == "created" else "resume"
        if moves and service.config.sink.kind == "claim":
            return f'{head}; nothing moves until RE(run_agent("{name}", devices=[{self._devices(hosted)}]))'
        call = f'{self.variable}.client.{command}("{name}")'
        how = call if "no-panel" in line or service.headless else f"you press {command.capitalize()}"
        return f"{head}; {'nothing moves' if moves else 'it does not listen'} until {how}"

    def _devices(self, hosted: HostResult) -> str:
        """Return the devices of an agent as a person would list them, if all are there under their own names."""
        wanted = dict.fromkeys([*hosted.status.spec.actuators, *hosted.status.spec.sensors])
        there = all(getattr(self.names.names.get(name), "name", None) == name for name in wanted)
        return ", ".join(wanted) if wanted and there else "..."

    # the service --------------------------------------------------------------------------------------------------

    def _opened(self, line: Line) -> tuple[LocalService, list[AgentSpec]]:
        """Return the service, started if needed, and the agents of the file if the line names one."""
        given = self._service_options(line)
        engine, running = self.names.run_engine(), self.service
        if engine is not None and given.get("startup") is not None:
            raise UsageError("--startup is for a service that moves the devices itself, and here RE does; leave it out")
        from agent_service.launch.local import open_service  # noqa: PLC0415 - a second of imports
        from agent_service.launch.local_config import local_config  # noqa: PLC0415 - as above

        path = Path(self.names.text(line.target)).expanduser() if line.target and is_file(line.target) else None
        if running is None:
            self._close_panels()
            config = local_config(path, RE=engine, **given)
            self._made = open_service(config.model_copy(update={"agents": []}), engine=engine)
            self._keep(self._made)
            return self._made, config.agents
        agents: list[AgentSpec] = []
        if path is not None:
            config = local_config(path, RE=engine, **given)
            agents = config.agents
            if _parts(config) != _parts(running.config):
                raise UsageError(f"another service than that of {path} runs here; end it first with %agent_stop --all")
        _refuse_other(running, given)
        self._listen(running, engine)
        return running, agents

    def _service_options(self, line: Line) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for option in SERVE:
            if option.belongs == "service" and option.name in line:
                text = self.names.text(line.given[option.name][0])
                options[option.name] = number(option.name, text) if option.takes == "number" else text
        if "state" in options:
            options["state"] = Path(options["state"]).expanduser()
        return options

    def _listen(self, service: LocalService, engine: Any) -> None:
        """Follow the notebook's RunEngine: its cell may have been run again, and there is a new one."""
        if engine is None:
            return
        if service.engine is None:
            raise UsageError(
                "the service was started before there was an RE, and moves the devices itself; end it with "
                "%agent_stop --all, and serve again: then nothing moves but by RE"
            )
        if service.listen_to(engine):
            say("listening to the new RE")

    def _keep(self, service: LocalService) -> None:
        """Put the service into the notebook's namespace under the first free name."""
        for name in VARIABLES:
            held = self.names.names.get(name)
            if held is None or isinstance(held, type(service)):
                self.names.names[name] = service
                return

    def close(self) -> bool:
        """Close the panels and the service; return whether there was one."""
        self._close_panels()
        service, self._made = self.service, None
        if service is None or service.headless:
            return False
        for name in VARIABLES:
            if self.names.names.get(name) is service:
                del self.names.names[name]
        service.close()
        return True

    def close_own(self) -> None:
        """Close what the magics made, but not a service that was served in Python."""
        if self._made is not None and not self._made.closed:
            self.close()
        self._close_panels()

    # panels -------------------------------------------------------------------------------------------------------

    def show(self, name: str, service: Any = None) -> None:
        """Show an agent's panel, or the service's if the name is empty; close its earlier panel."""
        from notebook_widgets import AgentPanel, ServicePanel  # noqa: PLC0415 - widgets are for those who look

        where = self.require() if service is None else service
        if service is None and self.require().headless:
            return  # nobody looks
        key = name if service is None else f"{service.url} {name}"
        self._close_panel(key)
        self._panels[key] = AgentPanel(where, name) if name else ServicePanel(where)
        show(self._panels[key])

    def _close_panel(self, key: str) -> None:
        earlier = self._panels.pop(key, None)
        if earlier is not None:
            earlier.close()

    def _close_panels(self) -> None:
        for key in tuple(self._panels):
            self._close_panel(key)


def say_no_limits(hosted: HostResult, line: Line) -> None:
    """Print a line that says which actuators have no limits, and how to set them."""
    from agent_service.agents.guardrails_in_force import no_limits_said  # noqa: PLC0415 - what a service imports

    left = hosted.status.no_limits
    if left and is_file(line.target):
        say(no_limits_said(left))
    elif left:
        given, fine = (" ".join(f"{name}={ends}" for name in left) for ends in ("LOW:HIGH", "any"))
        say(no_limits_said(left, advice=f"give --bounds {given}, or --bounds {fine} if that is meant"))


def _beginning(fields: dict[str, Any]) -> str:
    """Return where an agent begins that is told nothing: an object of the notebook may know something itself."""
    brain = fields.get("type")
    own = not isinstance(brain, str | type) and hasattr(brain, "ingest")
    return "as its object was when it was served first" if own else "from nothing"


def _status(service: LocalService, name: str) -> AgentStatus | None:
    try:
        return service.client.agent(name)
    except NotFound:
        return None


def _range(ends: Ends | None) -> str:
    low, high = ends or (None, None)
    if low is None:
        return "none" if high is None else f"up to {high:g}"
    return f"from {low:g}" if high is None else f"{low:g} to {high:g}"


def _hint(error: ServiceError) -> str:
    """Return the option that would help, if any."""
    if isinstance(error, InvalidConfig):
        return "; --config MAPPING gives the configuration"
    if any(field.message.startswith("outcome or evaluate is needed") for field in error.errors):
        return ": --outcome FIELD or --evaluate FUNCTION"
    return ""


def _parts(config: ServiceConfig) -> tuple[Any, ...]:
    """Return what makes a service another one."""
    return config.service.state.absolute(), config.service.catalog, config.run_engine, config.source, config.sink


def _stayed(name: str, hosted: HostResult) -> str:
    """Return the line about an agent that goes on in a headless process."""
    text = f"{name} is there already, {hosted.status.state.value}, and goes on with what it knows"
    if not hosted.differs:
        return text
    return (
        f"{text}; its {' and '.join(hosted.differs)} is not as the notebook has it: change that in its panel, or "
        "serve it with --fresh"
    )


def _refuse_agent_options(line: Line) -> None:
    """Raise if a line has options of an agent and names none."""
    if wrong := [f"--{option.name}" for option in SERVE if option.belongs == "agent" and option.name in line]:
        where = f"write it into {line.target}" if line.target else "name the agent first: %agent_serve my_agent ..."
        raise UsageError(f"{', '.join(wrong)} belongs to an agent; {where}")


def _refuse_other(service: LocalService, given: dict[str, Any]) -> None:
    """Raise if an option needs a service that differs from the one that runs."""
    if service.headless:  # the command line said where it is, before any cell
        return
    same = {
        "port": given.get("port") in (None, 0, urlsplit(service.url).port),
        "state": "state" not in given or given["state"].absolute() == service.state,
        "catalog": given.get("catalog") in (None, service.config.service.catalog),
        "startup": given.get("startup") in (None, service.config.run_engine.startup),
    }
    if other := [f"--{name}" for name, fits in same.items() if not fits]:
        raise UsageError(
            f"the service at {service.url} runs already, with another {' and '.join(other)}; leave that out, or end "
            "the service first: %agent_stop --all"
        )
