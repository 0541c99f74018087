"""The two clients: they send requests, and do not know what the requests say."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import httpx
from httpx_sse import EventSource

from agent_service.client._calls import (
    Call,
    exchange,
    pauses_after_loss,
    pauses_until_it_leads,
    transport_error,
    was_lost,
)
from agent_service.client._events import EventCursor
from agent_service.client._routes import Routes
from agent_service.client._waiting import LOOK_EVERY_S, Wait
from agent_service.errors import BackendUnavailable, InvalidInput, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from agent_service.models import AgentStatus, Event, EventKind
    from agent_service.models.state_machines import AgentState
    from agent_service.state_dir import StateDir

T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:8000"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
# A stream that is silent for longer than this, heartbeats included, is a dead one.
_STREAM_TIMEOUT_S: Final = 60.0


class _Address(Routes):
    """Where a service is, and with which key to speak to it."""

    def __init__(self, url: str | None = None, *, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        self.url = (url or os.environ.get("AGENT_SERVICE_URL") or DEFAULT_URL).rstrip("/")
        self.timeout_s = timeout_s
        self._key = api_key or os.environ.get("AGENT_SERVICE_API_KEY")
        try:
            parsed = httpx.URL(self.url)
        except httpx.InvalidURL:
            parsed = httpx.URL()
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise InvalidInput(f"{self.url!r} is no address of a service; one looks like {DEFAULT_URL}")
        self._host = parsed.host

    @classmethod
    def from_state(cls, state: str | Path, *, timeout_s: float = 60.0) -> Self:
        """Return a client of the service that runs on this machine with the state directory ``state``.

        Raises
        ------
        UsageError
            When that folder holds no address of a service, or its key may not be read.
        """
        from agent_service.state_dir import StateDir, announced  # noqa: PLC0415 - needs POSIX; other clients do not

        paths = StateDir(Path(state))
        if (service := announced(paths)) is None:
            raise UsageError(_no_service_on(paths))
        try:
            key = paths.read_key(own=False)
        except FileNotFoundError:
            key = None
        except OSError as error:
            raise UsageError(f"{paths.key_file} cannot be read: {error.strerror}; set AGENT_SERVICE_API_KEY") from None
        return cls(service.url, api_key=os.environ.get("AGENT_SERVICE_API_KEY") or key, timeout_s=timeout_s)

    @property
    def api_key(self) -> str | None:
        """The key of this client, for another client of the same service."""
        return self._key

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _options(self) -> dict[str, Any]:
        headers = {} if self._key is None else {"Authorization": f"Apikey {self._key}"}
        return {
            "base_url": self.url,
            "headers": headers,
            "timeout": httpx.Timeout(self.timeout_s, connect=min(5.0, self.timeout_s)),
            # a laboratory's web proxy cannot reach this machine's loopback
            "trust_env": self._host not in _LOOPBACK,
        }

    def _cursor(
        self, agent: str | None, kinds: Sequence[str], last_event_id: int | None, patience_s: float
    ) -> EventCursor:
        return EventCursor(self.url, agent=agent, kinds=kinds, last_event_id=last_event_id, patience_s=patience_s)

    def _transport_error(self, error: httpx.TransportError) -> Exception:
        return transport_error(error, url=self.url, timeout_s=self.timeout_s)


def _no_service_on(state: StateDir) -> str:
    """Say why a state directory leads to no service, and what was perhaps meant."""
    from agent_service.state_dir import starting  # noqa: PLC0415 - as below
    from agent_service.state_dir.last_served import serve_command  # noqa: PLC0415 - needs POSIX; other clients do not

    path = state.path
    if (pid := starting(state)) is not None:
        return f"a service is starting on {path} (process {pid}) and does not answer yet; try again in a few seconds"
    if path.is_file():
        return f"{path} is a file; give the state directory of a service, as service.state in a service.toml names it"
    inside = sorted(str(file.parent) for file in path.glob("*/service.json"))
    if inside:
        return f"no service runs on {path}, but in it there is one on {' and one on '.join(inside)}; name that"
    return f"no service runs on {path}; start one with `{serve_command(state)}`"


def _closed(error: RuntimeError, http: httpx.Client | httpx.AsyncClient) -> Exception:
    return UsageError("this client is closed, perhaps with its service; make another") if http.is_closed else error


class Client(_Address):
    """A blocking client, for scripts, notebooks and plans. Several threads may share one.

    Parameters
    ----------
    url
        Address of the service; by default AGENT_SERVICE_URL, else http://127.0.0.1:8000.
    api_key
        Key; by default AGENT_SERVICE_API_KEY. For a service on this machine see `from_state`.
    timeout_s
        How long to wait for an answer of the service, in seconds. If an agent's call takes longer, the client waits
        until the call ends or its ``wait_s`` is over.
    transport
        An httpx transport, for a service that has no socket.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key=api_key, timeout_s=timeout_s)
        self._http = httpx.Client(transport=transport, **self._options())

    def send(self, call: Call[T]) -> T:
        """Ask the service, and return the result."""
        flow = exchange(call, self._http)
        try:
            request = next(flow)
            while True:
                request = flow.send(self._answered(request))
        except StopIteration as done:
            return done.value
        except httpx.TransportError as error:
            raise self._transport_error(error) from error
        except RuntimeError as error:  # httpx's word for a client that was closed
            raise _closed(error, self._http) from error

    def _answered(self, request: httpx.Request) -> httpx.Response:
        """Send a request; if the service starts or stands by and it may be sent twice, send it again for a while."""
        response = self._sent(request)
        for pause_s in pauses_until_it_leads(request, response):
            time.sleep(pause_s)
            response = self._sent(request)
            if not pauses_until_it_leads(request, response):
                break
        return response

    def _sent(self, request: httpx.Request) -> httpx.Response:
        """Send a request; if the connection is lost and it may be sent twice, send it again."""
        lost = False
        for pause_s in pauses_after_loss(request):
            try:
                return self._http.send(request)
            except httpx.TransportError as error:
                if not was_lost(error, before=lost):
                    raise
                lost = True
            time.sleep(pause_s)
        return self._http.send(request)

    def events(
        self,
        agent: str | None = None,
        *,
        kinds: Sequence[EventKind | str] = (),
        last_event_id: int | None = None,
        patience_s: float = 30.0,
    ) -> Iterator[Event]:
        """Yield events as they happen, for ever; after a lost connection, continue where it was lost.

        Parameters
        ----------
        agent
            Only this agent's events.
        kinds
            Only events of these kinds, for example ``agent.state``, and heartbeats; all by default. The service does
            not send the others, so they cost neither side anything.
        last_event_id
            Begin after the event with this ``seq``; 0 for the beginning. By default, only new events.
        patience_s
            How long to keep trying when the service does not answer, in seconds.
        """
        cursor = self._cursor(agent, kinds, last_event_id, patience_s)
        while True:
            error = None
            try:
                with self._http.stream(
                    "GET", cursor.path, params=cursor.params, headers=cursor.headers, timeout=_STREAM_TIMEOUT_S
                ) as response:
                    if response.is_success:
                        cursor.opened()
                        for message in EventSource(response).iter_sse():
                            if (event := cursor.read(message)) is not None:
                                yield event
                    else:
                        response.read()
                        error = cursor.refused(response)
            except httpx.TransportError as lost:
                error = lost
            time.sleep(cursor.lost(error))

    def wait(self, name: str, *states: AgentState | str, within_s: float | None = None) -> AgentStatus:
        """Wait until an agent is in one of ``states``, and return its status then.

        Parameters
        ----------
        name
            The agent.
        *states
            By default ``stopped`` and ``failed``: the agent has ended.
        within_s
            How long to wait, in seconds; by default for ever.

        Raises
        ------
        DeadlineExceeded
            It reached none of them in that time.

        Examples
        --------
        >>> client.start("aligner")  # doctest: +SKIP
        >>> client.wait("aligner").best  # doctest: +SKIP
        """
        wait = Wait(states, within_s)
        while True:
            try:
                if wait.over(status := self.agent(name)):
                    return status
            except BackendUnavailable as error:
                wait.bear(error)
            time.sleep(LOOK_EVERY_S)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Address):
    """A client for asyncio: it has the methods of `Client`. Await each; ``events`` is an async iterator.

    Parameters
    ----------
    url, api_key, timeout_s
        As for `Client`.
    transport
        An httpx transport, for a service that has no socket, for example an app in this process.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key=api_key, timeout_s=timeout_s)
        self._http = httpx.AsyncClient(transport=transport, **self._options())

    async def send(self, call: Call[T]) -> T:
        """Ask the service, and return the result."""
        flow = exchange(call, self._http)
        try:
            request = next(flow)
            while True:
                request = flow.send(await self._answered(request))
        except StopIteration as done:
            return done.value
        except httpx.TransportError as error:
            raise self._transport_error(error) from error
        except RuntimeError as error:
            raise _closed(error, self._http) from error

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        """Send a request; if the service starts or stands by and it may be sent twice, send it again for a while."""
        response = await self._sent(request)
        for pause_s in pauses_until_it_leads(request, response):
            await asyncio.sleep(pause_s)
            response = await self._sent(request)
            if not pauses_until_it_leads(request, response):
                break
        return response

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        """Send a request, as `Client` does."""
        lost = False
        for pause_s in pauses_after_loss(request):
            try:
                return await self._http.send(request)
            except httpx.TransportError as error:
                if not was_lost(error, before=lost):
                    raise
                lost = True
            await asyncio.sleep(pause_s)
        return await self._http.send(request)

    async def events(
        self,
        agent: str | None = None,
        *,
        kinds: Sequence[EventKind | str] = (),
        last_event_id: int | None = None,
        patience_s: float = 30.0,
    ) -> AsyncIterator[Event]:
        """Yield events as they happen, for ever; as `Client.events` does."""
        cursor = self._cursor(agent, kinds, last_event_id, patience_s)
        while True:
            error = None
            try:
                async with self._http.stream(
                    "GET", cursor.path, params=cursor.params, headers=cursor.headers, timeout=_STREAM_TIMEOUT_S
                ) as response:
                    if response.is_success:
                        cursor.opened()
                        async for message in EventSource(response).aiter_sse():
                            if (event := cursor.read(message)) is not None:
                                yield event
                    else:
                        await response.aread()
                        error = cursor.refused(response)
            except httpx.TransportError as lost:
                error = lost
            await asyncio.sleep(cursor.lost(error))

    async def wait(self, name: str, *states: AgentState | str, within_s: float | None = None) -> AgentStatus:
        """Wait until an agent is in one of ``states``, and return its status then; as `Client.wait` does."""
        wait = Wait(states, within_s)
        while True:
            try:
                if wait.over(status := await self.agent(name)):
                    return status
            except BackendUnavailable as error:
                wait.bear(error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
