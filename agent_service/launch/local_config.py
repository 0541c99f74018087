"""The configuration of a service in a notebook or script: from arguments, a file and the environment."""

from __future__ import annotations

import functools
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent_service.launch import default_state
from agent_service.launch.process_service import current
from agent_service.service.config import (
    RunEngineSection,
    SecuritySection,
    ServiceConfig,
    ServiceSection,
    SinkSection,
    SourceSection,
    load,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def local_config(
    config: ServiceConfig | str | Path | None = None,
    *,
    RE: Any = None,  # noqa: N803 - as every Bluesky notebook calls it
    startup: str | Sequence[str] | None = None,
    md: Mapping[str, Any] | None = None,
    **service: Any,
) -> ServiceConfig:
    """Return the configuration that `agent_service.serve` makes of its arguments; `UsageError` if it is wrong.

    ``service`` holds keys of ``[service]``; those that are None are ignored.
    """
    given = {key: value for key, value in service.items() if value is not None}
    base = config if isinstance(config, ServiceConfig) else load(config, flags=given)
    if isinstance(config, ServiceConfig):
        base = _with(base, "service", given)
    else:
        written = base.service.model_fields_set
        defaults = {"port": 0, "state": None if "state" in written else _state()}
        base = _with(base, "service", {key: value for key, value in defaults.items() if key not in written})
    if current() is None and "recover" not in base.service.model_fields_set:
        base = _with(base, "service", {"recover": "paused"})  # nothing moves unasked when a notebook comes back
    engine = {"startup": startup, "md": md and dict(md)}
    base = _with(base, "run_engine", {key: value for key, value in engine.items() if value is not None})
    if "JUPYTERHUB_SERVICE_PREFIX" in os.environ and "allowed_hosts" not in base.security.model_fields_set:
        # only the hub's proxy reaches the loopback of a hub's machine, and under names that nobody here knows
        base = _with(base, "security", {"allowed_hosts": ["*"]})
    if RE is None:
        return base
    return base.model_copy(update={"sink": SinkSection(kind="claim"), "source": SourceSection(), "sources": None})


def _with(config: ServiceConfig, section: str, given: Mapping[str, Any]) -> ServiceConfig:
    if not given:
        return config
    model = {"service": ServiceSection, "run_engine": RunEngineSection, "security": SecuritySection}[section]
    changed = {**getattr(config, section).model_dump(exclude_unset=True), **given}
    return config.model_copy(update={section: model.model_validate(changed)})


def _state() -> Path:
    """Return the state directory of this notebook or script."""
    process_service, file, here = current(), running_file(), Path.cwd()
    if process_service is not None and process_service.state is not None:
        return process_service.state
    name = process_service.name if process_service is not None else file.stem if file is not None else ""
    if not name:
        return default_state.claimed(_unnamed(), file=None, here=here)
    default_state.refuse_exported(name, here)
    return default_state.claimed(name, file=file, here=here)


def running_file() -> Path | None:
    """Return the notebook or script that this process runs, None if unknown; it may not be saved yet."""
    main = sys.modules.get("__main__")
    # Jupyter's servers name the notebook in the environment, VS Code in the namespace
    named = os.environ.get("JPY_SESSION_NAME") or getattr(main, "__vsc_ipynb_file__", None)
    if not named and "ipykernel" not in sys.modules:
        named = getattr(main, "__file__", None)
    return Path(str(named)).absolute() if named else None


@functools.cache
def _unnamed() -> str:
    """Return a name for a process that has none: the same when it serves again."""
    return f"session-{datetime.now().astimezone():%Y%m%d-%H%M%S}-{os.getpid()}"
