"""The run catalogue, opened for reading with databroker; and where a state directory says what its catalogue is.

While the archive runs, ``STATE/catalog/server.json`` holds the catalogue's address and ``STATE/profiles`` databroker
profiles of it, both for their owner's eyes only, as they hold its key. Nothing here imports databroker or Tiled until a
catalogue is opened.
"""

from __future__ import annotations

import json
import shlex
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from agent_service.archive import tiled_profiles
from agent_service.archive.backlog import Backlog, counted
from agent_service.archive.refused import refusal_in
from agent_service.errors import BackendUnavailable, NotFound, Unauthenticated, UsageError
from agent_service.state_dir import StateDir, private_files

if TYPE_CHECKING:
    from collections.abc import Callable

AGENTS: Final = "agents"
"""Key of the container in the catalogue that holds the agents' runs."""

PROFILE: Final = "agent_service"
"""Name of the databroker profile of the catalogue; with ``_agents`` behind it, that of the agents' runs."""

_PROBE_TIMEOUT_S: Final = 10.0


class CatalogAddress(BaseModel):
    """Where the catalogue of a state directory is served; the keys of a site's server are not ours to keep."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uri: str
    api_key: str | None = None
    profile: str | None = None  # the Tiled profile that says more of how it is asked

    @classmethod
    def of(cls, catalog: str, *, api_key: str | None = None) -> CatalogAddress:
        """Return that of a URI, or of ``profile:NAME``; raises `UsageError` where there is no such Tiled profile."""
        profile = tiled_profiles.named(catalog)
        uri = catalog if profile is None else tiled_profiles.read(profile).uri
        return cls(uri=uri, api_key=api_key, profile=profile)

    def save(self, state: StateDir) -> None:
        """Write it, and the databroker profiles, where readers look for them; mode 0600."""
        state.catalog.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.profiles.mkdir(mode=0o700, parents=True, exist_ok=True)
        private_files.write(_address_file(state), self.model_dump_json())
        uris = {PROFILE: self.uri, f"{PROFILE}_{AGENTS}": node_uri(self.uri, AGENTS)}
        # JSON is YAML too, and needs no library to be written
        profiles = {name: {"uri": _with_key(uri, self.api_key)} for name, uri in uris.items()}
        private_files.write(state.profiles / f"{PROFILE}.yml", json.dumps(profiles, indent=2))

    @classmethod
    def load(cls, state: StateDir) -> CatalogAddress:
        """Read it back; `UsageError` when no catalogue is served from that state directory."""
        try:
            address = cls.model_validate_json(_address_file(state).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"no catalogue is served from {state.path} now; {_hint(state)}") from None
        except (OSError, ValidationError) as error:
            raise UsageError(f"the catalogue's address in {state.path} cannot be read: {error}") from None
        return address if address.profile is None else cls.of(f"{tiled_profiles.PREFIX}{address.profile}")

    @staticmethod
    def forget(state: StateDir) -> None:
        """Remove it when the server ends; the profiles stay, and lead nowhere until it is served again."""
        _address_file(state).unlink(missing_ok=True)


def open_catalog(where: str | Path, *, path: str | None = None, api_key: str | None = None) -> Any:
    """Open a catalogue of runs with databroker's client, for reading.

    Parameters
    ----------
    where
        A state directory whose service, or `agent-service catalog`, runs now; the URI of a Tiled server's catalogue, or
        ``"profile:NAME"``, a Tiled profile.
    path
        Where in the catalogue to begin; ``"agents"`` opens the agents' runs.
    api_key
        Key for a URI; default: what Tiled's own client finds, for example in ``TILED_API_KEY``.

    Returns
    -------
    bluesky_tiled_plugins.CatalogOfBlueskyRuns
        ``catalog[-1]`` is the newest run, ``catalog[uid]["primary"].read()`` its data as an xarray Dataset.

    Raises
    ------
    UsageError
        When the state directory serves no catalogue, or there is no such profile.
    BackendUnavailable
        When nothing answers there, or what answers is no Tiled server.
    Unauthenticated
        When the server refuses the key.
    NotFound
        When there is nothing at ``path``.

    Warns
    -----
    UserWarning
        When runs, or decisions, of a state directory are not in the catalogue yet, or were refused; says how many.

    Notes
    -----
    Call it from any thread; the first call imports databroker, which takes seconds. Runs are read under the names that
    were measured; see `agent_service.archive.measured_clients`.
    """
    hint = "check the URI, and that its server runs"
    state: StateDir | None = None
    if isinstance(where, str) and ("://" in where or tiled_profiles.named(where)):
        address = CatalogAddress.of(where, api_key=api_key)
    else:
        state = StateDir(Path(where))
        address = CatalogAddress.load(state)
        hint = _hint(state)
    _probe(address, hint)
    uri = address.uri if path is None else node_uri(address.uri, path)
    client = connect(uri, api_key=address.api_key, profile=address.profile, as_measured=True)
    if state is not None:
        _warn_of_missing(state, decisions=path is not None)
    return client


def _hint(state: StateDir) -> str:
    return f"run `agent-service catalog {shlex.quote(str(state.path))}` first"


def _warn_of_missing(state: StateDir, *, decisions: bool) -> None:
    """Warn the caller of `open_catalog` of what is not in the catalogue."""
    waiting = Backlog.of(state)
    missing = counted(0, waiting.decisions) if decisions else counted(waiting.runs, 0)
    if missing:
        warnings.warn(
            f"not in the catalogue yet: {missing}. They are kept in {state.path} and written while a service runs on "
            "it; open the catalogue again then",
            stacklevel=3,
        )
    refused = refusal_in(state)
    if refused is not None:
        warnings.warn(refused, stacklevel=3)


def connect(uri: str, *, api_key: str | None = None, profile: str | None = None, as_measured: bool = False) -> Any:
    """Return Tiled's client for a catalogue or a node in it; raises as `open_catalog`.

    A loopback address is never looked for behind a proxy. A Tiled ``profile`` says how it is asked, and which identity
    of this user does. ``as_measured`` gives runs the names that were measured.
    """
    from tiled import client as tiled_client  # noqa: PLC0415 - costs seconds
    from tiled.client.utils import ClientError  # noqa: PLC0415

    opened = cast("Callable[..., Any]", tiled_client.from_uri)  # pyright: ignore[reportUnknownMemberType] - untyped
    if profile is not None:
        by_profile = cast("Callable[..., Any]", tiled_client.from_profile)  # pyright: ignore[reportUnknownMemberType] - untyped
        opened = partial(by_profile, profile)
    shown = without_key(uri)
    options: dict[str, Any] = {"structure_clients": "numpy"}
    if as_measured:
        from agent_service.archive.measured_clients import structure_clients  # noqa: PLC0415 - costs seconds

        options["structure_clients"] = structure_clients()
    try:
        return opened(uri=uri, api_key=api_key, trust_env=not _is_loopback(uri), **options)
    except ClientError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise Unauthenticated(f"the catalogue at {shown} refuses the key; give api_key=...") from error
        if code == 404:  # noqa: PLR2004
            raise NotFound(f"there is nothing in the catalogue at {shown}") from error
        raise BackendUnavailable(f"the catalogue at {shown} answers {code}") from error
    except httpx.HTTPError as error:
        raise BackendUnavailable(f"the catalogue at {shown} does not answer: {error}") from error
    except (KeyError, ValueError, RuntimeError) as error:
        raise BackendUnavailable(f"the catalogue at {shown} cannot be opened: {error}") from error


def node_uri(uri: str, path: str) -> str:
    """Return the URI of what is at ``path`` below the catalogue ``uri``.

    ``catalog["agents"]`` is no way there: databroker's catalogue takes a short key for the beginning of a uid.
    """
    parsed = httpx.URL(uri)
    base = parsed.path.rstrip("/")
    if "/metadata" not in base:
        base = f"{base}/metadata" if "/api/v1" in base else f"{base}/api/v1/metadata"
    return str(parsed.copy_with(path=f"{base}/{path.strip('/')}"))


def without_key(uri: str) -> str:
    """Return ``uri`` without its query and password, which may be secrets: for messages and for the status."""
    try:
        parsed = httpx.URL(uri)
    except httpx.InvalidURL:
        return uri.partition("?")[0]
    return str(parsed.copy_with(query=None, username=None, password=None)) if parsed.userinfo else uri.partition("?")[0]


def _address_file(state: StateDir) -> Path:
    return state.catalog / "server.json"


def _is_loopback(uri: str) -> bool:
    return httpx.URL(uri).host in ("127.0.0.1", "localhost", "::1")


def _with_key(uri: str, api_key: str | None) -> str:
    return uri if api_key is None else str(httpx.URL(uri).copy_add_param("api_key", api_key))


def _probe(address: CatalogAddress, hint: str) -> None:
    """Fail at once where nothing listens: Tiled's client would try for 45 s."""
    uri = address.uri
    verify = address.profile is None or tiled_profiles.read(address.profile).verify
    try:
        httpx.get(uri, timeout=_PROBE_TIMEOUT_S, trust_env=not _is_loopback(uri), verify=verify)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BackendUnavailable(f"no catalogue answers at {without_key(uri)} ({error}); {hint}") from error
