"""``agent-service relay``: the events and reads of services, for many who follow."""

from __future__ import annotations

import os
import re
import socket
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from agent_service.errors import UsageError

_TAKES_NOTHING_MS = 60_000
"""How long a connection lasts whose other end takes nothing of what is sent."""


def relay(
    services: Annotated[
        list[str], typer.Argument(metavar="[NAME=]URL...", help="Services to follow, each with an optional name.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8100,
) -> None:
    """Relay the events and reads of services to many followers, until Ctrl-C. It moves nothing and keeps nothing.

    AGENT_SERVICE_API_KEY holds a key for each service, in their order and with commas between; each may only read.
    """
    import uvicorn

    from agent_service.server.connection import MAX_CONNECTIONS, BoundedConnection
    from agent_service.server.relay import MAX_FOLLOWERS, create_relay

    class Connection(BoundedConnection):
        most_connections = MAX_FOLLOWERS + MAX_CONNECTIONS

    given = [key.strip() for key in os.environ.get("AGENT_SERVICE_API_KEY", "").split(",") if key.strip()]
    named = dict(map(_named, services))
    if len(named) < len(services):
        raise UsageError("two services have one name; give others: NAME=URL")
    if len(given) != len(named):
        raise UsageError(
            f"AGENT_SERVICE_API_KEY holds {len(given)} keys, and there are {len(named)} services; on the machine of "
            "each, `agent-service keys create NAME --scopes read` makes one: set them in the order of the services, "
            "with commas between"
        )
    app = create_relay({name: (url, key) for (name, url), key in zip(named.items(), given, strict=True)})
    config = uvicorn.Config(
        *(app, host, port),
        log_level="warning",
        access_log=False,
        ws="none",
        http=Connection,
        timeout_graceful_shutdown=1,
    )
    shown = f"[{host}]" if ":" in host else host

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                print(f"Relaying {', '.join(named)} at http://{shown}:{bound.getsockname()[1]}", flush=True)

    _allow_files(MAX_FOLLOWERS + 2 * MAX_CONNECTIONS)
    with config.bind_socket() as bound:
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # its connections have it from here
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TAKES_NOTHING_MS)
        Server(config).run(sockets=[bound])
    if app.refused is not None:
        raise app.refused
    print("stopped", file=sys.stderr, flush=True)


def _allow_files(count: int) -> None:
    """Let this process have so many connections, as far as it may: a shell gives it 1024."""
    try:
        import resource
    except ImportError:  # there is none where there is no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _named(text: str) -> tuple[str, str]:
    """Return name and address of a service; without a name it has that of its machine, and the port."""
    name, is_named, url = text.partition("=") if re.match(r"[A-Za-z0-9._-]+=", text) else ("", "", text)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"{url!r} is no address of a service; one looks like http://127.0.0.1:8000")
    return name if is_named else re.sub(r"[^A-Za-z0-9._-]", "-", parts.netloc), url.rstrip("/")
