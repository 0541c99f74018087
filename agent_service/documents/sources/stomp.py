"""Source ``stomp``: the documents that a blueapi sends to its STOMP broker. What comes while nobody hears is lost."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# a boundary: stomp.py has no types

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.documents.packing import Unreadable, document
from agent_service.documents.sources.connection import ConnectedSource
from agent_service.documents.sources.extras import needs
from agent_service.documents.sources.presence import Presence
from agent_service.errors import BackendUnavailable

if TYPE_CHECKING:
    import threading


DESTINATION: Final = "/topic/public.worker.event"
"""Where a blueapi (1.21) sends its events, its documents among them."""

PASSWORD: Final = "AGENT_SERVICE_STOMP_PASSWORD"  # noqa: S105 - the name of a variable
_LOOKS_EVERY_S: Final = 0.1
_HEARTBEAT_MS: Final = 10_000
_CONNECTS_WITHIN_S: Final = 5.0


class StompSource(ConnectedSource):
    """Subscribes to a topic of a STOMP broker; connects again by itself.

    Parameters
    ----------
    host, port
        Of the broker.
    destination
        The topic.
    username
        As whom it connects, with the password of the environment; empty: as nobody.
    """

    def __init__(self, host: str, port: int, *, destination: str = DESTINATION, username: str = "") -> None:
        self._stomp: Any = needs("stomp", kind="stomp")
        logging.getLogger("stomp.py").setLevel(logging.ERROR)  # that nobody answers is said once, and by us
        self._broker = (host, port)
        self._destination = destination
        self._login = (username, os.environ.get(PASSWORD, "")) if username else (None, None)
        super().__init__(Presence("stomp", f"tcp://{host}:{port}{destination}"), self._hear)

    def _hear(self, stopping: threading.Event) -> None:
        refused: list[str] = []
        broker = self._stomp.Connection(
            [self._broker],
            heartbeats=(_HEARTBEAT_MS, _HEARTBEAT_MS),
            reconnect_attempts_max=1,
            timeout=_CONNECTS_WITHIN_S,
        )
        broker.set_listener("", self._listener(refused))
        try:
            self._connect(broker, refused)
            broker.subscribe(self._destination, id="1", ack="auto")
            self.presence.connected()
            while not stopping.wait(_LOOKS_EVERY_S):
                if refused or not broker.is_connected():
                    raise BackendUnavailable(refused[0] if refused else "its connection broke")
        finally:
            with contextlib.suppress(Exception):
                broker.disconnect()

    def _connect(self, broker: Any, refused: list[str]) -> None:
        try:
            broker.connect(*self._login, wait=True)
        except Exception as error:
            why = refused[0] if refused else "nobody answers there"
            raise BackendUnavailable(why) from error

    def _listener(self, refused: list[str]) -> Any:
        """Return what stomp.py calls, in a thread of its own, with each message of the broker."""
        source = self

        class Listener(self._stomp.ConnectionListener):
            def on_message(self, frame: Any) -> None:
                source._take(frame.body)

            def on_error(self, frame: Any) -> None:
                refused.append(f"the broker refuses: {frame.headers.get('message') or frame.body}")

        return Listener()

    def _take(self, body: str) -> None:
        try:
            event: Any = json.loads(body)
            if not isinstance(event, dict) or "doc" not in event:
                return  # of the worker's state, or of progress
            pair = document(*(cast("dict[str, Any]", event)[key] for key in ("name", "doc")))
        except (ValueError, KeyError, TypeError, RecursionError):
            self.presence.refuse("it publishes something that is no event of a blueapi")
        except Unreadable as error:
            self.presence.refuse(str(error))
        else:
            self._put(*pair)
