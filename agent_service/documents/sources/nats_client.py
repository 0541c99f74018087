"""A connection to a NATS server: encrypted where that was asked for, and what is wrong in words."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: nats-py is half typed

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Final

from agent_service.documents.sources.extras import needs
from agent_service.errors import BackendUnavailable, UsageError
from agent_service.errors.texts import describe

if TYPE_CHECKING:
    from pathlib import Path

_CONNECTS_WITHIN_S: Final = 5.0
_CLOSES_WITHIN_S: Final = 1.0
_TRIED_AGAIN_AFTER_S: Final = 0.1
_PLAIN: Final = "it offers no TLS, which tls:// and tls_ca_file ask for, so no password was sent to it"


class NatsClient:
    """Connects to one of several servers.

    Parameters
    ----------
    servers
        ``nats://host:port``, or several with commas; ``tls://`` and ``wss://`` are never spoken in plain text.
    credentials
        File with credentials; empty for none.
    tls_ca_file
        Certificate that signs those of the servers; None: what the machine trusts.
    tls_cert, tls_key
        This service's own, where the servers ask for it.

    Attributes
    ----------
    library
        nats-py.

    Raises
    ------
    UsageError
        The library is missing, or a file cannot be used.
    """

    def __init__(
        self,
        servers: str,
        *,
        credentials: str = "",
        tls_ca_file: Path | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        self.library: Any = needs("nats", kind="nats")
        self.servers = servers
        self._options: dict[str, Any] = {"user_credentials": credentials} if credentials else {}
        if tls_ca_file or tls_cert:
            try:
                context = ssl.create_default_context(cafile=tls_ca_file)
                if tls_cert:
                    context.load_cert_chain(tls_cert, tls_key)
            except OSError as error:  # ssl's own are such, too
                raise UsageError(f"the source nats cannot use its TLS files: {describe(error)}") from error
            self._options["tls"] = context
        self.forbidden: list[Exception] = []
        """What the server did not allow since the last `connect`: it answers no such request."""

    async def connect(self) -> Any:
        """Return a connection, which is not made again by itself.

        Raises
        ------
        BackendUnavailable
            There is none; says why, and what to do.
        """
        errors: list[Exception] = []
        self.forbidden = []

        async def note(error: Exception) -> None:
            (self.forbidden if "permissions violation" in str(error) else errors).append(error)

        async def ignore() -> None:
            """Keep the library from printing."""

        client = self.library.NATS()
        command = client._connect_command  # noqa: SLF001 - what it sends first, with the password

        def encrypted() -> bytes:
            scheme = client._current_server.uri.scheme  # noqa: SLF001 - as above
            asked = scheme == "tls" or (scheme != "wss" and "tls" in self._options)
            if asked and not client._server_info.get("tls_required"):  # noqa: SLF001 - as above
                raise BackendUnavailable(_PLAIN)
            return command()

        client._connect_command = encrypted  # noqa: SLF001 - as above
        try:
            await client.connect(
                [server.strip() for server in self.servers.split(",")],
                allow_reconnect=False,
                connect_timeout=_CONNECTS_WITHIN_S,
                max_reconnect_attempts=1,
                reconnect_time_wait=_TRIED_AGAIN_AFTER_S,
                error_cb=note,
                closed_cb=ignore,
                **self._options,
            )
        except BaseException as error:
            await close(client)
            if isinstance(error, Exception) and not isinstance(error, BackendUnavailable):
                unreached = isinstance(error, self.library.errors.NoServersError) and errors
                raise BackendUnavailable(_in_words(errors[-1] if unreached else error)) from error
            raise
        return client


async def close(client: Any) -> None:
    """End a connection, whatever state it is in: one that failed may wait for the other end for ever."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.close(), _CLOSES_WITHIN_S)


def _in_words(error: Exception) -> str:
    """Return why there is no connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): give tls_ca_file, of who signed it"
    if "authorization violation" in str(error).lower():
        return "it refuses the user: look at the user and password in servers, or at credentials"
    if isinstance(error, OSError | TimeoutError) and not isinstance(error, ssl.SSLError):
        return f"nobody answers there: {describe(error)}"
    return describe(error)
