"""The service of a headless process: it listens at once, and `serve` calls in this process use it.

``agent-service serve prototype.ipynb`` makes it before the first cell runs. `local.serve` and the magics get it from
`current`: if there is one, they start no service of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from agent_service.documents.sources.run_engine import ReplaceableEngine
from agent_service.errors import UsageError
from agent_service.launch.background import BackgroundServer

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.service.config import ServiceConfig

Section = TypeVar("Section", bound=BaseModel)

_process_service: ProcessService | None = None


class ProcessService:
    """One service of this process, opened by the first `serve`; made and closed in the main thread.

    ``config`` holds the command line and a service.toml. It overrides what is served, except that a notebook brings its
    RunEngine and startup if the file names none; its agents are created beside those served. ``name`` is what is run,
    for the name of the state directory if none was given. Raises `UsageError` if the port is taken, or if this process
    serves already.
    """

    def __init__(self, config: ServiceConfig, *, name: str) -> None:
        global _process_service  # noqa: PLW0603 - one a process, by its nature
        if _process_service is not None:
            raise UsageError("this process serves already")
        self.name = name
        self.local: object = None  # what those who serve in this process are given: a `LocalService`
        self.engine: ReplaceableEngine | None = None  # the RunEngine that it listens to, if any
        self.config: ServiceConfig | None = None  # of the service, when it is open
        self._given = config
        self.server = BackgroundServer(config, headless=True).listen()
        _process_service = self

    @property
    def state(self) -> Path | None:
        """The state directory from the command line, or from the service.toml on it; None if neither names one."""
        section = self._given.service
        return section.state if "state" in section.model_fields_set else None

    def open(self, config: ServiceConfig, *, engine: Any = None) -> ServiceConfig:
        """Start the wanted service, or check that it is the one that runs; return its configuration.

        ``engine`` is the notebook's RunEngine, to listen to. Raises `UsageError` if the configuration is wrong, or
        differs from that of the service that runs here.
        """
        if self.config is None:
            combined = self._combined(config, claimed=engine is not None)
            self.engine = None if engine is None else ReplaceableEngine(engine)
            self.config = combined
            self.server.open(self.config, engine=self.engine)
            return self.config
        if engine is not None and self.engine is None:
            raise UsageError(
                "a service that moves the devices itself runs here already, without RE; let the one with RE serve first"
            )
        if self.engine is not None and engine is not None:
            self.engine.replace(engine)
        _refuse_another_startup(config, self.config)
        return self.config

    def close(self) -> None:
        """End the service and the listening."""
        global _process_service  # noqa: PLW0603 - one a process
        _process_service = None
        self.server.close()

    def _combined(self, config: ServiceConfig, *, claimed: bool) -> ServiceConfig:
        given = self._given
        if given.run_engine.startup is not None:
            _refuse_another_startup(config, given)
        section = config.service.model_dump(exclude_unset=True)
        section.pop("port", None)  # it listens already
        section.pop("host", None)
        update: dict[str, Any] = {
            "service": _over(config.service, given.service, below=section),
            "agents": [*given.agents, *(agent for agent in config.agents if agent not in given.agents)],
            "import_from": list(dict.fromkeys([*given.import_from, *config.import_from])),
            "api_key": config.api_key or given.api_key,
            "sources": None if claimed else given.sources or config.sources,
        }
        others = given.model_fields_set - update.keys()
        if claimed:  # its RunEngine is a source, and nobody else's plans run
            others -= {"sink", "source"}
        update |= {name: _over(getattr(config, name), getattr(given, name)) for name in others}
        combined = config.model_copy(update=update)
        return combined.of_files(given.files, state=given.state_in_file) if given.files else combined


def _over(section: Section, above: Section, *, below: dict[str, Any] | None = None) -> Section:
    """Return a section with what another one says put over it."""
    written = section.model_dump(exclude_unset=True) if below is None else below
    return type(section).model_validate({**written, **above.model_dump(exclude_unset=True)})


def _refuse_another_startup(config: ServiceConfig, there: ServiceConfig) -> None:
    if config.run_engine.startup not in (None, there.run_engine.startup):
        raise UsageError(
            f"the service that runs here has another startup than {config.run_engine.startup}; one process serves "
            "one beamline: leave it out, or serve the two apart"
        )


def current() -> ProcessService | None:
    """Return the service of this process, or None in a notebook, a script or a test."""
    return _process_service
