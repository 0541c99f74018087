"""What speaks to the RE Manager of a queue server: over 0MQ, or over HTTP by the facility's HTTP server.

Source of methods and routes: https://blueskyproject.io/bluesky-queueserver (0.0.25) and bluesky-httpserver (0.0.14).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import json
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import httpx
import msgpack
from pydantic import TypeAdapter, ValidationError

from agent_service.errors import UsageError, texts
from agent_service.models.addresses import CurveKey, ManagerAddress, WebAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.plans.sinks.queue_server.config import QueueServerSection

CONTROL: Final = "tcp://127.0.0.1:60615"
"""Where a manager listens if nobody says otherwise."""

API_KEY: Final = "QSERVER_HTTP_SERVER_API_KEY"
ENCODING: Final = "QSERVER_ZMQ_ENCODING"
ENCODINGS: Final = ("json", "msgpack")
"""What a manager may be started to speak over 0MQ; it understands nothing else then."""
ADDRESSES: Final[dict[str, TypeAdapter[str]]] = {
    "QSERVER_ZMQ_CONTROL_ADDRESS": TypeAdapter(ManagerAddress),
    "QSERVER_HTTP_SERVER_URI": TypeAdapter(WebAddress),
}
"""Where the environment says where the manager is, and what it may say there; the first that is set counts."""

_ROUTES: Final = {
    "status": ("GET", "status"),
    "queue_get": ("GET", "queue/get"),
    "queue_item_get": ("GET", "queue/item/get"),
    "history_get": ("GET", "history/get"),
    "plans_allowed": ("GET", "plans/allowed"),
    "devices_allowed": ("GET", "devices/allowed"),
    "lock_info": ("GET", "lock/info"),
    "queue_item_execute": ("POST", "queue/item/execute"),
    "re_pause": ("POST", "re/pause"),
    "re_resume": ("POST", "re/resume"),
    "re_abort": ("POST", "re/abort"),
    "environment_destroy": ("POST", "environment/destroy"),
}
_WITH_BODY: Final = ("lock_info",)  # it wants one, with nothing in it, though it is read
_NOT_ALLOWED: Final = (401, 403)
_NOT_FOUND: Final = 404
_TIMEOUT: Final = 408
_SERVER_ERROR: Final = 500


class Silent(Exception):
    """No answer came: what was asked for may have been done, or be done yet."""


class Refusal(Silent):
    """An answer came that says why what was asked for is not told."""


class Client(Protocol):
    """Sends a request to the manager, one at a time."""

    where: str  # for messages
    user: str | None  # whose our items are; None: the server decides, and does not say
    probes: bool  # whether the manager can be asked if its worker answers
    key_hint: str  # what else a silence may come from: a key that is not the manager's makes it as silent as a dead one

    async def ask(self, method: str, *, within_s: float = 3.0, **params: Any) -> dict[str, Any]:
        """Return the manager's answer; ``success`` False in it says that nothing was done. Raises `Silent`."""
        ...

    async def close(self) -> None:
        """End; harmless the second time."""
        ...


class ZmqClient:
    """Over 0MQ: a REQ socket that is made anew after a silence, and keeps nothing to be sent later (LINGER 0).

    ``user`` and ``user_group`` go with the requests that need them. A manager that is asked in another encoding than
    its own does nothing, and answers in its own.
    """

    probes = True

    def __init__(
        self, address: str, *, public_key: str | None, user: str, user_group: str, encoding: str = ENCODINGS[0]
    ) -> None:
        self.where = address
        self._public_key = public_key
        self.key_hint = (
            "; or it has another CURVE key than sink.public_key (or QSERVER_ZMQ_PUBLIC_KEY), or does not encrypt"
            if public_key
            else "; where it encrypts (CURVE), give its public key as sink.public_key"
        )
        self._encoding = encoding
        self.user: str | None = user
        self._user = {"user": user, "user_group": user_group}
        self._context: Any = None
        self._socket: Any = None
        self._turn = asyncio.Lock()

    async def ask(self, method: str, *, within_s: float = 3.0, **params: Any) -> dict[str, Any]:
        """See `Client`."""
        if method == "queue_item_execute":
            params |= self._user
        elif method in ("plans_allowed", "devices_allowed"):
            params["user_group"] = self._user["user_group"]
        try:
            request = _encoded({"method": method, "params": params}, self._encoding)
        except (TypeError, ValueError, OverflowError) as error:
            why = texts.one_line(f"{method} cannot be said in {self._encoding}: {error}")
            return {"success": False, "msg": why}
        async with self._turn:
            try:
                socket = self._socket or self._connect()
                async with asyncio.timeout(within_s):
                    await socket.send(request)
                    answer: bytes = await socket.recv()
            except BaseException as error:  # what comes later is no answer to the next request
                self._disconnect()
                if isinstance(error, TimeoutError):
                    raise Silent(f"the queue server at {self.where} does not answer") from None
                raise
        return self._read(answer)

    def _read(self, answer: bytes) -> dict[str, Any]:
        if (read := _decoded(answer, self._encoding)) is not None:
            return read
        for other in ENCODINGS:
            if _decoded(answer, other) is not None:
                why = (
                    f"the queue server at {self.where} speaks {other} and was asked in {self._encoding}: write "
                    f'encoding = "{other}" below [sink] in service.toml, or set {ENCODING}={other} for this service'
                )
                return {"success": False, "msg": why}
        raise Silent(f"what answers at {self.where} is no queue server")

    async def close(self) -> None:
        """See `Client`."""
        self._disconnect()
        if self._context is not None:
            self._context.destroy(0)
            self._context = None

    def _connect(self) -> Any:
        import zmq  # noqa: PLC0415 - the extra `queueserver`
        import zmq.asyncio  # noqa: PLC0415

        if self._context is None:
            self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        if self._public_key:
            self._socket.curve_publickey, self._socket.curve_secretkey = zmq.curve_keypair()
            self._socket.curve_serverkey = self._public_key.encode()
        self._socket.connect(self.where)
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None


class HttpClient:
    """Over HTTP: whose items they are, and what they may do, the key decides."""

    probes = False
    key_hint = ""

    def __init__(self, url: str, *, api_key: str) -> None:
        self.where = url
        self.user: str | None = None
        headers = {"Authorization": f"ApiKey {api_key}"} if api_key else {}
        self._has_key = bool(api_key)
        self._client = httpx.AsyncClient(base_url=f"{url.rstrip('/')}/api/", headers=headers)

    async def ask(self, method: str, *, within_s: float = 3.0, **params: Any) -> dict[str, Any]:
        """See `Client`."""
        verb, path = _ROUTES[method]
        try:
            answer = await self._client.request(
                verb, path, json=params if verb == "POST" or method in _WITH_BODY else None, timeout=within_s + 2
            )
        except httpx.HTTPError as error:
            raise Silent(f"the queue server at {self.where} does not answer ({type(error).__name__})") from None
        if answer.status_code == _TIMEOUT or answer.status_code >= _SERVER_ERROR:
            raise Silent(f"the RE Manager behind {self.where} does not answer")
        if answer.status_code in _NOT_ALLOWED:
            return {"success": False, "msg": self._not_allowed(answer, path), "key_refused": True}
        try:
            body = None if answer.status_code == _NOT_FOUND and method == "status" else answer.json()
        except ValueError:
            body = None
        if body is None:
            raise Silent(f"what answers at {self.where} is no queue server")
        if not answer.is_success or not isinstance(body, dict):
            return {"success": False, "msg": texts.one_line(f"{self.where} answered {answer.status_code}: {body}")}
        return cast("dict[str, Any]", body)

    def _not_allowed(self, answer: httpx.Response, path: str) -> str:
        if not self._has_key:
            return f"{self.where} asks for a key: set {API_KEY} in the environment of this service"
        if "Invalid API key" in answer.text:  # 401, as for a key that may not
            return f"{self.where} does not know the key in {API_KEY}: set a valid one, and start this service again"
        return f"the key in {API_KEY} may not ask {self.where} for {path}"

    async def close(self) -> None:
        """See `Client`."""
        await self._client.aclose()


def client_of(section: QueueServerSection) -> Client:
    """Return the client that a configuration and the environment describe; connects to nothing yet.

    Raises
    ------
    UsageError
        pyzmq is not installed, or the environment names no address, key or encoding.
    """
    control, url = section.control, section.url
    if control is None and url is None:
        control, url = _from_environment(http=section.public_key is None)
    if url is not None:
        return HttpClient(url, api_key=os.environ.get(API_KEY, ""))
    if find_spec("zmq") is None:
        raise UsageError('sink.kind = "queueserver" needs pyzmq: pip install "bluesky-agent-service[queueserver]"')
    return ZmqClient(
        control or CONTROL,
        public_key=section.public_key or _of_environment("QSERVER_ZMQ_PUBLIC_KEY", TypeAdapter(CurveKey)),
        user=section.user,
        user_group=section.user_group,
        encoding=section.encoding or _encoding_of_environment(),
    )


def _encoded(request: Mapping[str, Any], encoding: str) -> bytes:
    if encoding == "json":
        return json.dumps(request).encode()
    return cast("bytes", msgpack.packb(request))


def _decoded(answer: bytes, encoding: str) -> dict[str, Any] | None:
    """Return an answer, None where it is in another encoding."""
    try:
        read: Any = json.loads(answer) if encoding == "json" else msgpack.unpackb(answer, strict_map_key=False)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", read) if isinstance(read, dict) else None


def _of_environment(name: str, kind: TypeAdapter[str]) -> str:
    """Return what a variable of the environment says, an empty text for none; raises `UsageError` for another kind."""
    value = os.environ.get(name, "")
    try:
        return kind.validate_python(value) if value else ""
    except ValidationError as error:
        why = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{name} {why}; it says {value!r}") from None


def _encoding_of_environment() -> str:
    encoding = os.environ.get(ENCODING, "").lower() or ENCODINGS[0]
    if encoding not in ENCODINGS:
        raise UsageError(f"{ENCODING} must be {' or '.join(ENCODINGS)}; it says {os.environ[ENCODING]!r}")
    return encoding


def _from_environment(*, http: bool) -> tuple[str | None, str | None]:
    """Return the address by 0MQ and the one by HTTP, one of which at most is there."""
    control, url = (_of_environment(name, kind) for name, kind in ADDRESSES.items())
    return (control, None) if control else (None, url if url and http else None)
