"""One request builder for both clients: a `Call` says what to ask, `exchange` makes requests and a result of it.

Neither does I/O: ``exchange`` is a generator that yields requests and receives the responses. So the blocking and the
asyncio client run the same code.
"""

from __future__ import annotations

import functools
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar, cast, overload
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from agent_service._version import __version__
from agent_service.errors import AgentFault, BackendUnavailable, DeadlineExceeded, FieldError, ServiceError, by_code
from agent_service.models import Job, Problem
from agent_service.models.repeatable import IDEMPOTENCY_KEY, is_repeatable

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

API = "/api/v1"
MAX_PAGE = 1000
"""The most items on one page of the service."""

ASK_EVERY_S = 10.0
"""How long one request waits for the end of a call, in seconds."""

_ACCEPTED = 202
_OF_PROXIES: Final = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_PAUSES_S: Final = (0.1, 0.3, 1.0, 2.0, 4.0)
NO_HEADERS: Mapping[str, str] = {}

Params = Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """What to ask the service, and how ``read`` makes the result of the decoded JSON.

    Parameters that are None are not sent; numpy numbers and arrays in the body become plain ones. A ``paged`` call
    follows the ``next`` cursor: ``limit`` is the number of items wanted, None for all, and ``read`` gets their list.
    ``good`` are statuses besides 2xx whose body is an answer and no problem. The service may answer a ``long`` call
    with a job; the client waits ``wait_s`` seconds for it, or until it ends. ``answers_within_s`` is how long an
    answer may take, where that is longer than a client waits.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    params: Params = field(default_factory=dict[str, "str | int | None"])
    body: Any = None
    paged: bool = False
    limit: int | None = None
    good: frozenset[int] = frozenset()
    long: bool = False
    wait_s: float | None = None
    answers_within_s: float = 0.0


def one(method: str, path: str, model: type[M], body: Any = None) -> Call[M]:
    """Return a call that is answered by one ``model``."""
    return Call(method, path, model.model_validate, body=body)


def segment(name: str) -> str:
    """Return a name as one part of a path, with any characters; ``..``, which leads elsewhere, is quoted too."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


def agent_path(name: str, *rest: str) -> str:
    """Return the path of an agent, or of a part of it."""
    return "/".join((f"{API}/agents", segment(name), *rest))


def long(call: Call[T], wait_s: float | None) -> Call[T]:
    """Return ``call`` as one that may take long: see `Call`."""
    return replace(call, long=True, wait_s=wait_s)


def listed(path: str, model: type[M], *, limit: int | None = None, **params: str | int | None) -> Call[list[M]]:
    """Return a call for the items of a list, page after page."""

    def read(items: list[Any]) -> list[M]:
        return [model.model_validate(item) for item in items]

    return Call("GET", path, read, params=params, paged=True, limit=limit)


class Sender(Protocol):
    """A client that blocks until it has the answer."""

    def send(self, call: Call[T]) -> T:
        """Send a call and return its result."""
        ...


class AsyncSender(Protocol):
    """A client whose answers are awaited."""

    async def send(self, call: Call[T]) -> T:
        """Send a call and return its result."""
        ...


class route(Generic[P, T]):  # noqa: N801 - a decorator
    """A method of both clients, written once as a function that returns a `Call`.

    On a `Client`, it blocks and returns the result; on an `AsyncClient`, it returns an awaitable of the result.
    """

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Any, P], Call[T]]: ...
    @overload
    def __get__(self, client: Sender, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncSender, owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: Sender | AsyncSender | None, owner: type) -> Any:
        if client is None:
            return self._build
        sender = cast("Any", client)
        bound = self._build.__get__(client, owner)

        @functools.wraps(bound)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return sender.send(bound(*args, **kwargs))

        return call


def exchange(call: Call[T], http: httpx.Client | httpx.AsyncClient) -> Generator[httpx.Request, httpx.Response, T]:
    """Yield the requests of ``call``, receive their responses; return the result, or raise the service's error."""
    params = {key: value for key, value in call.params.items() if value is not None}
    items: list[Any] = []
    while True:
        if call.limit is not None:
            params["limit"] = min(call.limit - len(items), MAX_PAGE)
        if call.long:
            return _read(call, (yield from _long_answer(call, params, http)))
        answer = _answer(call, (yield _request(call, params, http)))
        if not call.paged:
            return _read(call, answer)
        items += answer["items"]
        if not answer.get("next") or (call.limit is not None and len(items) >= call.limit):
            return _read(call, items)
        params["cursor"] = answer["next"]


def raise_problem(response: httpx.Response) -> None:
    """Raise the error that a response reports; do nothing for a 2xx.

    Read the body first.
    """
    if response.is_success:
        return
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        where = response.request.url
        if response.status_code in _OF_PROXIES:
            raise BackendUnavailable(
                f"{where} answered {response.status_code} {response.reason_phrase}, as a proxy does that reaches no "
                "service; try again in a moment"
            ) from None
        raise by_code("", response.status_code)(
            f"{where} answered {response.status_code} {response.reason_phrase}, and not as an agent service does; "
            "check the address"
        ) from None
    raise error_of(problem)


def error_of(problem: Problem) -> ServiceError:
    """Return the error that a problem reports."""
    cls = by_code(problem.code, problem.status)
    errors = [FieldError(wrong.field, wrong.message) for wrong in problem.errors]
    if issubclass(cls, AgentFault):
        return cls(problem.detail, traceback=problem.traceback, errors=errors, legal=problem.legal)
    return cls(problem.detail, errors=errors, legal=problem.legal)


def transport_error(error: httpx.TransportError, *, url: str, timeout_s: float) -> ServiceError:
    """Return our error for a connection that failed: it says what to do next, not what a socket said."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        return BackendUnavailable(
            f"no service answers at {url}; start one with `agent-service serve`, or say where it is with "
            "AGENT_SERVICE_URL"
        )
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(
            f"{url} did not answer within {timeout_s:g} s; what was asked may still happen: look before asking again"
        )
    return BackendUnavailable(f"the connection to {url} broke ({type(error).__name__}); try again")


def plain(value: Any) -> Any:
    """Return ``value`` in JSON's types: numpy numbers and arrays, models and tuples become plain ones."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Sequence | AbstractSet):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON; give numbers, text, lists and mappings")


def _long_answer(
    call: Call[Any], params: Params, http: httpx.Client | httpx.AsyncClient
) -> Generator[httpx.Request, httpx.Response, Any]:
    """Ask, and if the answer is a job, wait for it."""
    deadline = None if call.wait_s is None else time.monotonic() + call.wait_s
    longest = min(ASK_EVERY_S, (http.timeout.read or ASK_EVERY_S) / 2)

    def patience() -> dict[str, str]:
        left = longest if deadline is None else min(longest, max(0.0, deadline - time.monotonic()))
        return {"Prefer": f"wait={left:.3f}"}

    response = yield _request(call, params, http, headers=patience())
    answer = _answer(call, response)
    if response.status_code != _ACCEPTED:
        return answer
    job = Job.model_validate(answer)
    path = f"{API}/jobs/{job.id}"
    while not job.state.finished:
        if deadline is not None and time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"{job.call} of agent {job.agent!r} is not done after {call.wait_s:g} s and goes on as job {job.id}: "
                "client.job(id) shows how far it is, client.cancel(id) ends it"
            )
        response = yield http.build_request("GET", path, headers=patience())
        job = Job.model_validate(_answer(call, response))
    if job.problem is not None:
        raise error_of(job.problem)
    return job.result


def pauses_after_loss(request: httpx.Request) -> tuple[float, ...]:
    """Return the pause before each repetition of a request whose connection was lost, in seconds."""
    if request.method == "GET":
        return (0.1,)  # a service that was busy for long closes connections as it is asked again
    return _PAUSES_S if IDEMPOTENCY_KEY in request.headers else ()


def pauses_until_it_leads(request: httpx.Request, response: httpx.Response) -> tuple[float, ...]:
    """Return the pause before each repetition of a request that a service refused as it starts or stands by (s)."""
    refused = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and "Retry-After" in response.headers
    repeatable = request.method == "GET" or IDEMPOTENCY_KEY in request.headers
    return _PAUSES_S if refused and repeatable and request.url.path != "/readyz" else ()


def was_lost(error: httpx.TransportError, *, before: bool) -> bool:
    """Return whether a connection was lost; ``before``: one was lost already, so a refusal means a restart."""
    if isinstance(error, httpx.ConnectError):
        return before
    return isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)


def _request(
    call: Call[Any], params: Params, http: httpx.Client | httpx.AsyncClient, *, headers: Mapping[str, str] = NO_HEADERS
) -> httpx.Request:
    if is_repeatable(call.method, call.path):
        headers = {IDEMPOTENCY_KEY: str(uuid.uuid4()), **headers}
    usual = http.timeout
    read_s = None if usual.read is None else max(usual.read, call.answers_within_s)
    timeout = httpx.Timeout(connect=usual.connect, read=read_s, write=usual.write, pool=usual.pool)
    if call.body is None:
        return http.build_request(call.method, call.path, params=params, headers=headers, timeout=timeout)
    # NaN is written as NaN: the service refuses it and says in which field, where httpx would raise a ValueError
    content = json.dumps(plain(call.body))
    return http.build_request(
        call.method,
        call.path,
        params=params,
        content=content,
        headers={"Content-Type": "application/json", **headers},
        timeout=timeout,
    )


def _answer(call: Call[Any], response: httpx.Response) -> Any:
    if response.status_code not in call.good:
        raise_problem(response)
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError:
        raise ServiceError(f"{response.request.url} did not answer with JSON; is that an agent service?") from None


def _read(call: Call[T], answer: Any) -> T:
    try:
        return call.read(answer)
    except ValidationError as error:
        raise ServiceError(
            f"the answer to {call.method} {call.path} is not what this client ({__version__}) expects: "
            f"{error.errors(include_input=False, include_url=False)[0]['msg']}; do the versions differ?"
        ) from None
