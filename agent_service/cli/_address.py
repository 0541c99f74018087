"""Which service a command speaks to, and what to say when that does not answer or does not know the key."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent_service.errors import BackendUnavailable, InvalidInput, Unauthenticated, UsageError
from agent_service.launch.default_state import served_beside
from agent_service.state_dir import StateDir, announced, is_served

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from agent_service.client import Client

DEFAULT_STATE: Final = "agent-service.state"

StateOption = Annotated[Path | None, typer.Option("--state", help="State directory, on a local disk.")]
UrlOption = Annotated[str | None, typer.Option("--url", help="Address of the service; default: AGENT_SERVICE_URL.")]


@contextlib.contextmanager
def service_at(url: str | None, state: Path | None, *, timeout_s: float = 60.0) -> Generator[Client]:
    """Give a client of the service at ``url``, or on ``state``, or of this folder: see `_found_here`.

    Where none of these leads to a service, it refuses the key or does not answer, the error says how to name another.
    """
    with _client_for(url, state, timeout_s) as client:
        try:
            yield client
        except Unauthenticated as error:
            raise Unauthenticated(f"{error.detail}; give its key: {_where_keys_are(state)}") from error
        except BackendUnavailable as error:
            if url or state or os.environ.get("AGENT_SERVICE_URL"):
                raise
            raise BackendUnavailable(f"{error.detail}; or say which service: {_where_keys_are(state)}") from error


def state_named(path: Path) -> Path:
    """Return the state directory that ``--state`` names: itself, or that of a service.toml."""
    if path.suffix != ".toml":
        return path
    from agent_service.service.config import load

    return load(path).service.state


def process_of(url: str, state: Path | None) -> int | None:
    """Return the process id of the service at ``url``, if it is that on the state directory, or on the default one."""
    service = announced(StateDir(state_named(state or Path(DEFAULT_STATE))))
    return service.pid if service is not None and service.url == url else None


def _client_for(url: str | None, state: Path | None, timeout_s: float) -> Client:
    from agent_service.client import Client

    if url is None:
        if state is None and not os.environ.get("AGENT_SERVICE_URL"):
            state = _found_here()
        if state is not None:
            return Client.from_state(state_named(state), timeout_s=timeout_s)
    try:
        return Client(url, api_key=_key_in(state), timeout_s=timeout_s)
    except InvalidInput as error:
        raise UsageError(error.detail) from None


def _found_here() -> Path | None:
    """Return the state directory of this folder's service: the default one, or that of a notebook or script here.

    Raises `UsageError` when the default one is not in use, and several others are.
    """
    default = Path(DEFAULT_STATE)
    if is_served(StateDir(default)):
        return default
    beside = served_beside(Path())
    if len(beside) > 1:
        raise UsageError(f"{len(beside)} services run here; say which: --state {' or --state '.join(_short(beside))}")
    return next(iter(beside), default if default.exists() else None)


def _short(paths: Iterable[Path]) -> list[str]:
    here = Path.cwd()
    return [shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path)) for path in paths]


def _where_keys_are(state: Path | None) -> str:
    """Say how a service and its key are named, with a state directory of this folder if there is one."""
    if state is None:
        here = _short([*sorted(file.parent for file in Path().glob("*.state/service.json")), *served_beside(Path())])
        return f"--state {' or --state '.join(here) or 'STATE, its state directory'}, or set AGENT_SERVICE_API_KEY"
    return "set AGENT_SERVICE_API_KEY"


def _key_in(state: Path | None) -> str | None:
    if state is None:
        return None
    try:
        return StateDir(state_named(state)).read_key(own=False)
    except OSError as error:
        raise UsageError(
            f"no key can be read in {state}: {error.strerror}; name the state directory of a service with --state, or "
            "set AGENT_SERVICE_API_KEY"
        ) from None
