"""What the service's own RunEngine is made of: its startup, loaded where it lives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from agent_service._version import __version__
from agent_service.brains.allowed_modules import ANY, Listed
from agent_service.errors import UsageError
from agent_service.plans import beamline, startup
from agent_service.plans.sinks import bluesky_loop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.plans.namespace import Namespace


class LoadedStartup(NamedTuple):
    """Devices and plans, the event loop that devices are connected on, and what sets the RunEngine up."""

    namespace: Namespace
    loop: asyncio.AbstractEventLoop | None
    configure: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """``[run_engine]`` of a configuration, and the modules that plans may come from. Travels to another process."""

    startup: tuple[str, ...] | None = None
    configure: str | None = None
    seed: int = 0
    md: Mapping[str, Any] = field(default_factory=dict[str, Any])
    listed: Listed = ANY
    cpu_affinity: tuple[int, ...] = ()
    code: str = ""  # a digest of what is in the startup

    @classmethod
    def of(
        cls,
        startup: str | Sequence[str] | None,
        configure: str | None,
        seed: int,
        md: Mapping[str, Any],
        listed: Listed,
    ) -> Self:
        """Return those of a configuration."""
        parts = (startup,) if isinstance(startup, str) else None if startup is None else tuple(startup)
        return cls(parts, configure, seed, dict(md), listed)

    @property
    def digest(self) -> str:
        """Say whether others are the same, and of the same version."""
        return hashlib.sha256(repr((__version__, self)).encode()).hexdigest()

    def load(self) -> LoadedStartup:
        """Load the startup; as `startup.load`. Raises `UsageError`, too, when its RunEngine cannot be configured so."""
        if self.startup is None:
            made = startup.load(None, default=lambda: beamline.simulated(seed=self.seed), listed=self.listed), None
        else:
            bluesky_loop.running()
            namespace = startup.load(list(self.startup), default=dict[str, object], listed=self.listed)
            made = namespace, bluesky_loop.running()  # perhaps another: that of the RunEngine that it made itself
        configure = startup.configurer(made[0], self.configure)
        return LoadedStartup(*made, _configured(*configure) if configure else _as_it_is)


def _as_it_is(engine: Any) -> None:
    """Set nothing up."""


def _configured(called: str, configure: Callable[[Any], object]) -> Callable[[Any], None]:
    """Return a function that sets a RunEngine up, and says what that raised in one line."""

    def call(engine: Any) -> None:
        try:
            configure(engine)
        except (Exception, SystemExit) as error:
            raise UsageError(f"{called} raised {startup.describe(error)}") from error

    return call
