"""The home of a headless process: it listens at once, and whoever serves in this process reaches the one service.

``agent-service serve prototype.ipynb`` makes it before the first cell runs. `serving.serve` and the magics ask for it
by `current`: where there is one they start no service of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.errors import UsageError
from agent_service.server.background import BackgroundServer
from agent_service.transports.subscribed import ReplaceableEngine

if TYPE_CHECKING:
    from agent_service.config import ServiceConfig
    from agent_service.server.service import Service
    from agent_service.server.serving import LocalService

_home: Home | None = None


class Home:
    """One service of this process, opened by the first who serves; made and closed in the main thread.

    Parameters
    ----------
    config
        What the command line said: its address and, where it was given, its state directory win over what is served.
    name
        What is run, for the name of the state directory where none was given.

    Attributes
    ----------
    server
        The server; it listens from the beginning.
    config
        The configuration of the service, when it is open.
    engine
        The RunEngine that it listens to, if any.
    local
        What those who serve in this process are given, once it is open.

    Raises
    ------
    UsageError
        The port is taken, or there is a home already.
    """

    def __init__(self, config: ServiceConfig, *, name: str) -> None:
        global _home  # noqa: PLW0603 - one a process, by its nature
        if _home is not None:
            raise UsageError("this process serves already")
        self.name = name
        self.local: LocalService | None = None
        self.engine: ReplaceableEngine | None = None
        self.config: ServiceConfig | None = None
        self._given = config
        self.server = BackgroundServer(config, headless=True).listen()
        _home = self

    @property
    def service(self) -> Service | None:
        """The running service, once it is open."""
        return self.server.service

    def open(self, config: ServiceConfig, *, engine: Any = None) -> ServiceConfig:
        """Start the service, or check that it is the one that is asked for; returns its configuration.

        Parameters
        ----------
        config
            What a notebook or script asks for.
        engine
            Its RunEngine, to be listened to.

        Raises
        ------
        UsageError
            The configuration is wrong, or it is another than that of the service which runs here.
        """
        if self.config is None:
            self.engine = None if engine is None else ReplaceableEngine(engine)
            self.config = self._settled(config)
            self.server.open(self.config, engine=self.engine)
            return self.config
        if engine is not None and self.engine is None:
            raise UsageError(
                "a service that moves the devices itself runs here already, without RE; let the one with RE serve first"
            )
        if self.engine is not None and engine is not None:
            self.engine.replace(engine)
        if config.run_engine.startup not in (None, self.config.run_engine.startup):
            raise UsageError(
                f"the service that runs here has another startup than {config.run_engine.startup}; one process serves "
                "one beamline: leave it out, or serve the two apart"
            )
        return self.config

    def tell(self, doing: str | None) -> None:
        """Say what keeps the service from being ready; None when nothing does any more."""
        self.server.tell(doing)

    def close(self) -> None:
        """End the service and the listening."""
        global _home  # noqa: PLW0603 - one a process
        _home = None
        self.server.close()

    def _settled(self, config: ServiceConfig) -> ServiceConfig:
        told = self._given.service.model_dump(exclude_unset=True)
        section = config.service.model_dump(exclude_unset=True)
        section.pop("port", None)  # it listens already
        section.pop("host", None)
        merged = config.service.model_validate({**section, **told})
        return config.model_copy(update={"service": merged, "api_key": config.api_key or self._given.api_key})


def current() -> Home | None:
    """Return the home of this process, or None in a notebook, a script or a test."""
    return _home
