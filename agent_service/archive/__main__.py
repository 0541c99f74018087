"""The archive child: ``python -m agent_service.archive STATE``; started by `archive.Archive`.

Which catalogue, it finds in the environment: a URI may hold a key, and everybody may read command lines.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent_service.archive.backlog import lag_of, written_seq
from agent_service.archive.inbox import Inbox
from agent_service.archive.messages import CATALOG, FromChild, State
from agent_service.documents.spool_files import SpoolFiles
from agent_service.errors import BackendUnavailable
from agent_service.errors.log_lines import TextFormatter
from agent_service.journal import reader
from agent_service.state_dir import StateDir

if TYPE_CHECKING:
    from agent_service.archive.tiled_server import TiledServer


def main() -> None:
    """Serve the embedded catalogue if asked to, and write until told to stop or the service is gone."""
    parser = argparse.ArgumentParser(prog="python -m agent_service.archive")
    parser.add_argument("state", type=Path)
    arguments = parser.parse_args()
    catalog = os.environ.pop(CATALOG)
    os.umask(0o077)  # what Tiled and its databases make is for the owner's eyes too
    # what a library prints must not go between the messages to the service
    messages = os.dup(1)
    os.dup2(2, 1)
    inbox = Inbox(sys.stdin.buffer)
    os.nice(10)
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # the writer tries again itself; Tiled's own retries would hold up a stop for 45 s
    os.environ.setdefault("TILED_RETRY_ATTEMPTS", "1")

    def send(message: FromChild) -> None:
        os.write(messages, message.line())

    code = 0
    try:
        _run(StateDir(arguments.state), catalog, inbox, send)
    except BackendUnavailable as error:
        send(State(ready=False, reason=error.detail))
        code = 1
    except Exception as error:  # the service wants a reason, the log wants the traceback
        logging.getLogger(__name__).exception("the archive ends")
        send(State(ready=False, reason=f"{type(error).__name__}: {error}".splitlines()[0]))
        code = 1
    logging.shutdown()
    os._exit(code)  # not held up by threads that Tiled or a driver left behind


def _run(state: StateDir, catalog: str, inbox: Inbox, send: Any) -> None:
    from agent_service.archive.refused import RefusedDecisions  # noqa: PLC0415 - as CatalogWriter below

    newest = reader(state.journal_url).last_seq()
    refused = RefusedDecisions(state.spool).count()
    send(lag_of(SpoolFiles(state.spool), newest=newest, written=written_seq(state), decisions_refused=refused))
    from agent_service.archive.catalog_writer import CatalogWriter  # noqa: PLC0415 - imports Tiled: seconds

    server: TiledServer | None = None
    if catalog == "embedded":
        from agent_service.archive.tiled_server import TiledServer  # noqa: PLC0415 - its server too: more seconds

        server = TiledServer(state)
        server.start()
    connect = _Connect(state, catalog, server, send)
    inbox.settle()
    files = state.catalog_files if server is not None else None
    CatalogWriter(state, connect=connect, send=connect.send, inbox=inbox, files=files).run()
    if server is not None:
        server.close()


class _Connect:
    """Opens the catalogue for writing, and puts its URI into what is told of it."""

    def __init__(self, state: StateDir, catalog: str, server: TiledServer | None, send: Any) -> None:
        self._state = state
        self._catalog = catalog
        self._server = server
        self._send = send
        self._uri: str | None = None

    def __call__(self) -> Any:
        """Return Tiled's client of the catalogue; raises `ServiceError`."""
        from agent_service.archive.catalog import CatalogAddress, connect, without_key  # noqa: PLC0415

        if self._server is not None:
            if not self._server.alive:
                raise BackendUnavailable("the embedded catalogue ended; STATE/archive.log says why")
            address = self._server.address
            self._uri = address.uri
            return connect(address.uri, api_key=address.api_key)
        address = CatalogAddress.of(self._catalog)
        root = connect(address.uri, profile=address.profile)
        self._uri = without_key(address.uri)
        CatalogAddress(uri=self._uri, profile=address.profile).save(self._state)
        return root

    def send(self, message: FromChild) -> None:
        """Tell the service."""
        if isinstance(message, State) and message.ready:
            message = message.model_copy(update={"uri": self._uri})
        self._send(message)


if __name__ == "__main__":
    main()
