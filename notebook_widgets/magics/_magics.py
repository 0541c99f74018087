"""The five magics, and their coming and going with the extension."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from IPython.core.error import UsageError as CellError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from agent_service.errors import ServiceError, UsageError
from agent_service.launch.status_table import StatusTable
from notebook_widgets import kernel
from notebook_widgets.magics._completion import Completion
from notebook_widgets.magics._export import exported
from notebook_widgets.magics._options import OF_MAGIC, in_typed_words, read
from notebook_widgets.magics._session import Session, say, show

if TYPE_CHECKING:
    from collections.abc import Generator


@contextlib.contextmanager
def _one_line() -> Generator[None]:
    """Show an error of ours as one line in the cell, without a traceback; the cell counts as failed."""
    try:
        yield
    except ServiceError as error:
        raise CellError(" ".join(error.detail.split())) from None


@magics_class
class AgentMagics(Magics):
    """``%agent_serve``, ``%agent_status``, ``%agent_panel``, ``%agent_stop`` and ``%agent_export``."""

    def __init__(self, shell: Any) -> None:
        cast("Any", super()).__init__(shell)
        self.session = Session(shell)
        self.completion = Completion(shell, self.session)

    @no_var_expand
    @line_magic
    def agent_serve(self, line: str) -> None:
        """Serve an agent in this kernel, and show its panel.

            %agent_serve my_agent --actuators mirror_x,mirror_y --outcome flux
            %agent_serve Walk(step=0.5) --name walker --actuators mirror_x --outcome flux --max-runs 20
            %agent_serve bayes --config {"bounds": {"mirror_x": [-5, 5]}, "objective": "flux"}
            %agent_serve service.toml
            %agent_serve

        The target is an object or a class of the notebook, or an expression that gives one; a specification (a
        mapping with "type"); an installed type (bayes, sobol, sequence); module:callable; or a service.toml. Without a
        target, the magic starts the service and shows its panel.

        Nothing moves before you ask for it: press Start in the panel, call service.client.start("my_agent"), or, if
        the notebook has a RunEngine named RE, call RE(run_agent("my_agent", devices=[...])). Without RE, the service
        moves the devices of --startup itself.

        Run the cell again to replace the agent: the new one, of the edited class, ingests what was measured so far.

        The agent
            --name NAME             by default the name of the target
            --config MAPPING        arguments for a class or an installed type
            --actuators DEVICES     what it moves: devices or their names, with commas or spaces between
            --sensors DEVICES       what is read at each point; by default the outcome
            --outcome FIELD         what it ingests: the mean over the events of a run; several with commas between
            --bounds x=-5:5 y=0:    where it may go, whatever it suggests; y=0: has one end, z=any needs none
            --evaluate FUNCTION     instead of --outcome: of (run, suggestions), (runs, ...), or module:function
            --run last              which run counts if the plan makes several: or first, or {'purpose': 'light'}
            --plan PLAN             a plan of the startup, a function of the notebook, or module:callable
            --max-runs N            it stops after so many runs
            --approval required     you approve each suggestion in the panel
            --executor thread       where its brain lives

        The service, when it starts
            --startup MODULE        module, script or folder with devices and plans; __main__ is the notebook itself
            --port N                by default a free one
            --catalog URI           a Tiled catalogue; none keeps no runs; by default an embedded one
            --state FOLDER          by default .agent-service/NAME beside the notebook

        The cell
            --fresh                 the new agent does not ingest what was measured so far
            --no-panel              print only
        """
        with _one_line():
            words = read("agent_serve", line)
            with in_typed_words(words):
                self.session.serve(words)

    @line_magic
    def agent_status(self, line: str) -> None:
        """Show the status of this kernel's agents; of a single one, also the last traceback.

        %agent_status
        %agent_status my_agent
        """
        with _one_line():
            asked = read("agent_status", line)
            service = self.session.require()
            title = f"agent service at {service.url}"
            agents = [self.session.status(asked.target)] if asked.target else service.client.agents()
            show(StatusTable(title, agents, traceback=bool(asked.target)))

    @line_magic
    def agent_panel(self, line: str) -> None:
        """Show the panel of an agent, or of the service; close its earlier one.

            %agent_panel my_agent
            %agent_panel
            %agent_panel aligner --url http://beamline:8000 --key-from ~/key

        Without --url, it is an agent of this kernel's service. --key-from names a file with the key of the other
        service; by default the key is AGENT_SERVICE_API_KEY.
        """
        with _one_line():
            asked = read("agent_panel", line)
            if "url" not in asked and "key-from" in asked:
                raise UsageError("--key-from is for another service; say which: --url URL")
            if "url" not in asked:
                if asked.target:
                    self.session.status(asked.target)
                self.session.show(asked.target)
                return
            self._show_remote(asked.target, **{key: words[0] for key, words in asked.given.items()})

    @line_magic
    def agent_stop(self, line: str) -> None:
        """Stop an agent, or end the service with --all; the run under way ends first.

            %agent_stop my_agent
            %agent_stop --all

        To stop motors now, press "Stop everything" in a panel.
        """
        with _one_line():
            asked = read("agent_stop", line)
            if "all" in asked:
                if asked.target:
                    raise UsageError(f"give {asked.target} or --all, not both")
                ended = self.session.close()
                say("the service is closed" if ended else "no service runs in this kernel; nothing to stop")
                return
            say(self._stopped(asked.target))

    @line_magic
    def agent_export(self, line: str) -> None:
        """Write a folder that serves this notebook on another machine, without Jupyter.

            %agent_export deploy/aligner
            %agent_export deploy/aligner --with-state
            %agent_export deploy/aligner --notebook prototype.ipynb --catalog http://tiled:8000/api/v1

        It holds the notebook as last saved, without outputs, the modules beside it that it imports, service.toml,
        pinned requirements, a systemd unit, and a README.md of three lines. The folder must be new or empty.

            --with-state            also what was measured, without keys; agents arrive paused
            --notebook FILE         which notebook, if Jupyter does not tell
            --catalog URI           for the service there; by default an embedded one
        """
        with _one_line():
            say(exported(read("agent_export", line), self.session))

    def _stopped(self, name: str) -> str:
        from agent_service.models.state_machines import AgentState, Command, legal_commands  # noqa: PLC0415 - loads pydantic

        service = self.session.require()
        if not name:
            names = [agent.name for agent in service.client.agents()]
            raise UsageError(f"say which: %agent_stop {' | '.join(names) or 'NAME'}, or end the service: --all")
        status = self.session.status(name)
        if Command.STOP not in legal_commands(status.state):
            state = "being stopped" if status.state is AgentState.STOPPING else status.state.value
            return f"{name} is {state} already" if state != "created" else f"{name} was not started; nothing to stop"
        status = service.client.stop(name)
        if status.state is AgentState.STOPPING:
            return f"{name} stops when its run under way has ended"
        return f"{name} is {status.state.value}"

    def _show_remote(self, name: str, **given: str) -> None:
        from agent_service.client import Client  # noqa: PLC0415 - for other services only

        key = None
        if "key-from" in given:
            path = Path(self.session.names.text(given["key-from"])).expanduser()
            try:
                key = path.read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it holds no key"
                raise UsageError(f"{path} cannot be read: {why}; --key-from names the file with the key") from None
        with Client(self.session.names.text(given["url"]), api_key=key) as client:
            if name:
                client.agent(name)
            else:
                client.service()
            self.session.show(name, client)


def load(shell: Any) -> AgentMagics:
    """Register the magics and their completion, and let buttons work while a cell blocks; once a shell."""
    registered = shell.magics_manager.registry.get(AgentMagics.__name__)
    if registered is not None:
        return registered
    magics = AgentMagics(shell)
    shell.register_magics(magics)
    magics.completion.add()
    kernel.install(shell)
    return magics


def unload(shell: Any) -> None:
    """Undo `load`, and close the service that the magics made; does nothing the second time."""
    magics = shell.magics_manager.registry.pop(AgentMagics.__name__, None)
    if magics is None:
        return
    for name in OF_MAGIC:
        shell.magics_manager.magics["line"].pop(name, None)
    magics.completion.remove()
    kernel.uninstall()
    magics.session.close_own()
