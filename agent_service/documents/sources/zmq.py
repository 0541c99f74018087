"""Source ``zmq``: the documents that a 0MQ proxy of Bluesky's passes on. It loses some of them."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: pyzmq's sockets take options of any type

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent_service.documents.packing import Unreadable, document, unpack
from agent_service.documents.sources.connection import ConnectedSource
from agent_service.documents.sources.extras import needs
from agent_service.documents.sources.presence import Presence
from agent_service.errors import UsageError

if TYPE_CHECKING:
    import threading

_LOOKS_EVERY_MS: Final = 100
_MOST_WAITING: Final = 1_000_000
"""Messages that wait in memory until they are read; above that 0MQ drops some."""


class ZmqSource(ConnectedSource):
    """Subscribes to the out port of ``bluesky-0MQ-proxy``. 0MQ connects again by itself.

    Parameters
    ----------
    address
        ``host:port`` of the proxy's out port, or an address as 0MQ has it.
    prefix
        That of the publishers to hear, exactly; empty: all, as for Bluesky's own dispatcher.
    public_key
        The proxy's, where it asks for CURVE: the text of 40 letters, or the file with it.
    secret_file
        This service's own certificate (``*.key_secret``), where the proxy knows its clients; none: a new one each time.
    """

    def __init__(
        self, address: str, *, prefix: str = "", public_key: str = "", secret_file: Path | None = None
    ) -> None:
        self._zmq: Any = needs("zmq", kind="zmq")
        self._address = address if "://" in address else f"tcp://{address}"
        self._prefix = prefix.encode()
        self._curve = self._keys(public_key, secret_file) if public_key else None
        self._turned_away = False
        super().__init__(Presence("zmq", self._address), self._hear)

    def _hear(self, stopping: threading.Event) -> None:
        zmq = self._zmq
        context = zmq.Context()
        try:
            socket = context.socket(zmq.SUB)
            socket.linger = 0
            socket.rcvhwm = _MOST_WAITING
            socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 2000
            socket.heartbeat_ivl, socket.heartbeat_timeout = 5000, 15000  # a machine that is gone closes nothing
            if self._curve is not None:
                socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = self._curve
            monitor = socket.get_monitor_socket(
                zmq.EVENT_HANDSHAKE_SUCCEEDED
                | zmq.EVENT_DISCONNECTED
                | zmq.EVENT_CONNECT_RETRIED
                | zmq.EVENT_CLOSED
                | zmq.EVENT_HANDSHAKE_FAILED_AUTH
                | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
                | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            )
            socket.subscribe(self._prefix and self._prefix + b" ")  # 0MQ compares beginnings: "bl1" is not "bl10"
            socket.connect(self._address)
            poller = zmq.Poller()
            poller.register(socket, zmq.POLLIN)
            poller.register(monitor, zmq.POLLIN)
            while not stopping.is_set():
                ready = dict(poller.poll(_LOOKS_EVERY_MS))
                if monitor in ready:
                    self._notice(monitor)
                with contextlib.suppress(zmq.Again):
                    while socket in ready and not stopping.is_set():
                        self._take(socket.recv(zmq.NOBLOCK))
        finally:
            context.destroy(linger=0)

    def _notice(self, monitor: Any) -> None:
        from zmq.utils.monitor import recv_monitor_message  # noqa: PLC0415 - an extra

        zmq = self._zmq
        event = recv_monitor_message(monitor)["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._turned_away = False
            self.presence.connected()
        elif event in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_CLOSED):
            self._turned_away &= event != zmq.EVENT_CLOSED
            if not self._turned_away:
                self.presence.away("nobody answers there")
        else:
            self._turned_away = True
            given = "its public_key, or this service's key, is not the right one" if self._curve else "give public_key"
            self.presence.away(f"the proxy does not take this connection: it may ask for CURVE, then {given}")

    def _take(self, message: bytes) -> None:
        try:
            _, name, body = message.split(b" ", 2)
            pair = document(name.decode("ascii", "replace"), unpack(body))
        except ValueError:
            self.presence.refuse("it publishes something that is no Bluesky document")
        except Unreadable as error:
            self.presence.refuse(str(error))
        else:
            self._put(*pair)

    def _keys(self, public_key: str, secret_file: Path | None) -> tuple[bytes, bytes, bytes]:
        """Return this service's public and secret key, and the proxy's public one; raises `UsageError`."""
        from zmq import auth  # noqa: PLC0415 - an extra

        try:
            theirs = auth.load_certificate(public_key)[0] if Path(public_key).exists() else public_key.encode("ascii")
            if secret_file is None:
                ours, secret = self._zmq.curve_keypair()
            else:
                ours, secret = auth.load_certificate(secret_file)
        except (OSError, ValueError) as error:
            raise UsageError(f"a key of the source zmq cannot be read: {error}") from error
        if len(theirs) != 40 or secret is None:  # noqa: PLR2004 - Z85 of 32 bytes
            raise UsageError(
                "the source zmq needs public_key as 40 letters, or the file that holds it, and secret_file as the "
                "certificate with the secret key (*.key_secret)"
            )
        return ours, secret, theirs
