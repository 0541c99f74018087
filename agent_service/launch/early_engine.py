"""The RunEngine's process, started before the service itself is imported, so that both are ready sooner."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from agent_service.plans.sinks.engine_process import ChildProcess

if TYPE_CHECKING:
    from agent_service.service.config import ServiceConfig

_IMPORTS_OF_OTHERS: Final = ("bluesky.run_engine", "ophyd")
_IMPORTS_OF_SIMULATED: Final = ("agent_service.plans.beamline._devices", "bluesky.run_engine")
"""What it imports before it knows its startup: what that needs first."""


def early_engine(config: ServiceConfig, *, headless: bool) -> ChildProcess | None:
    """Start the process for the RunEngine; None if none is wanted, or if there is one already.

    An existing process is left alone, for it may serve a service that runs. Nothing of the startup is loaded, so the
    new one may be ended at any time. An error is reported when the process is needed.
    """
    process = config.run_engine.process
    apart = config.sink.own_engine and (headless if process == "auto" else process)
    if not apart or ChildProcess.why_not() is not None or ChildProcess.lives_in(config.service.state):
        return None
    with contextlib.suppress(OSError):
        return ChildProcess(_IMPORTS_OF_OTHERS if config.run_engine.startup else _IMPORTS_OF_SIMULATED)
    return None
