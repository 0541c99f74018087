"""The embedded catalogue: Tiled, served on loopback from the state directory, by a thread of the archive child."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: tiled has no types

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import uvicorn
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool
from tiled.alembic_utils import stamp_head
from tiled.catalog.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH
from tiled.catalog.core import initialize_database
from tiled.server.app import build_app_from_config
from tiled.storage import parse_storage

from agent_service.archive.catalog import CatalogAddress
from agent_service.errors import BackendUnavailable
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from tiled.storage import SQLStorage

    from agent_service.state_dir import StateDir

_START_TIMEOUT_S: Final = 60.0
_JSON_SEQ: Final = "bluesky_tiled_plugins.exporters:json_seq_exporter"


class TiledServer:
    """The embedded Tiled server of a state directory; its methods are called from one thread."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None
        self.address = CatalogAddress(uri="")

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> CatalogAddress:
        """Make the catalogue if need be, serve it, leave its address; raises `BackendUnavailable`."""
        directory = self._state.catalog
        self._state.catalog_files.mkdir(mode=0o700, parents=True, exist_ok=True)
        api_key = _kept_key(directory / "api_key")
        _make_database(directory)
        tables(_tables_uri(_speakable(directory)))
        app = build_app_from_config(_configuration(_speakable(directory), api_key))
        listener = _listen(directory / "port")
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, args=(self._server, listener), name="tiled", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise BackendUnavailable("the embedded catalogue did not start; STATE/archive.log says why")
            time.sleep(0.02)
        port = listener.getsockname()[1]
        private_files.write(directory / "port", str(port))
        self.address = CatalogAddress(uri=f"http://127.0.0.1:{port}/api/v1", api_key=api_key)
        self.address.save(self._state)
        return self.address

    def close(self, timeout_s: float = 3.0) -> None:
        """End serving; does nothing when it never began."""
        if self._server is None or self._thread is None:
            return
        CatalogAddress.forget(self._state)
        self._server.should_exit = True
        self._thread.join(timeout_s)

    @staticmethod
    def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
        asyncio.run(server.serve(sockets=[listener]))


def _configuration(directory: Path, api_key: str) -> dict[str, Any]:
    return {
        "authentication": {"single_user_api_key": api_key, "allow_anonymous_access": False},
        "trees": [
            {
                "path": "/",
                "tree": "catalog",
                "args": {
                    "uri": _uri("sqlite", directory / "catalog.db"),
                    "writable_storage": [
                        f"file://localhost{directory / 'files'}",
                        _tables_uri(directory),
                    ],
                    # detectors write files anywhere; whoever has the key is the user who can read them anyway
                    "readable_storage": ["file://localhost/"],
                    "specs": [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
                },
            }
        ],
        # without it run.documents() is answered with 406
        "media_types": {"BlueskyRun": {"application/json-seq": _JSON_SEQ}},
        "streaming_cache": {"uri": "memory"},
    }


def tables(uri: str) -> SQLStorage:
    """Return the storage of the tables at ``uri`` that Tiled is going to use, with a connection for each request.

    Tiled lets all requests share one connection to DuckDB: one that ends rolls back what another has not committed yet,
    whose rows are then acknowledged and lost, and two that read at the same moment end the process.
    """
    storage = cast("SQLStorage", parse_storage(uri))
    lock = threading.Lock()

    def connect() -> Any:
        with lock:  # DuckDB must not be opened twice in a process
            return storage._adbc_connection.adbc_clone()  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001

    storage.__dict__["_connection_pool"] = QueuePool(connect, max_overflow=-1)
    return storage


def _tables_uri(directory: Path) -> str:
    return _uri("duckdb", directory / "storage.duckdb")  # not SQLite: docs/adr/0007-tables-in-duckdb.md


def _uri(dialect: str, path: Path) -> str:
    return URL.create(dialect, database=str(path)).render_as_string()


def _speakable(directory: Path) -> Path:
    """Return a way to the directory that Tiled's URIs can say; `BackendUnavailable` where the system has none.

    Tiled and SQLAlchemy take the path of a URI as it stands, without undoing any quotes, so there is no URI of a path
    that holds ``#``, ``?``, ``%`` or a control character. For such a directory it is the way by this process's working
    directory, which is the same text in each process that serves it, as the catalogue keeps these URIs.
    """
    if str(directory).isprintable() and not set("#?%") & set(str(directory)):
        return directory
    os.chdir(directory)
    here = Path("/proc/self/cwd")
    if not here.is_dir():
        raise BackendUnavailable(
            f"the embedded catalogue cannot be kept in {str(directory)!r}, for the sake of a character in its path; "
            'give a state directory without #, ? and %, or take catalog = "none"'
        )
    return here


def _make_database(directory: Path) -> None:
    """Make the catalogue's database under another name first: a kill in between must not leave half of one."""
    catalog = directory / "catalog.db"
    if catalog.exists():
        return
    new = directory / "catalog.new.db"
    for path in directory.glob("catalog.new.db*"):
        path.unlink()
    uri = _uri("sqlite+aiosqlite", _speakable(directory) / new.name)
    asyncio.run(_initialize(uri))
    stamp_head(Path(ALEMBIC_INI_TEMPLATE_PATH), Path(ALEMBIC_DIR), uri)
    new.rename(catalog)


async def _initialize(uri: str) -> None:
    engine = create_async_engine(uri)
    try:
        await initialize_database(engine)
    finally:
        await engine.dispose()


def _kept_key(path: Path) -> str:
    if not path.exists():
        private_files.write(path, secrets.token_hex(32))
    return private_files.read(path).strip()


def _listen(kept: Path) -> socket.socket:
    """Listen on the port of last time, so that readers find the catalogue again, else on a free one."""
    try:
        last = int(json.loads(kept.read_text(encoding="ascii")))
    except (OSError, ValueError):
        last = 0
    for port in (last, 0):
        # without IPPROTO_TCP asyncio leaves Nagle on, and every request takes 40 ms longer
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(128)
        return listener
    raise BackendUnavailable("no port on 127.0.0.1 is free for the embedded catalogue")
