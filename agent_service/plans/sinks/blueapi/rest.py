"""The REST API of a blueapi, as far as this service uses it. Source: blueapi 1.21, ``/api/v1``.

Each call says what is known after it: whether a request that brought no answer may have arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import httpx

from agent_service.errors import BackendUnavailable, InvalidInput, UnknownPlan, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

TOKEN: Final = "AGENT_SERVICE_BLUEAPI_TOKEN"  # noqa: S105 - the name of a variable
R = TypeVar("R")

_CONNECT_S: Final = 2.0
_READ_S: Final = 10.0
BEGIN_S: Final = 40.0
"""How long a beginning may take: blueapi asks its Tiled then, and waits up to 5 s for its RunEngine."""


class LostAnswer(BackendUnavailable):
    """A request brought no answer that says what became of it: it may have been carried out, or yet be."""


class Begin(Enum):
    """What blueapi said to a task that was to begin."""

    BEGUN = auto()
    BUSY = auto()  # it did not begin: another one runs
    GONE = auto()  # no task of that id waits: it ended, or blueapi has forgotten it


@dataclass(frozen=True, slots=True)
class Task:
    """A task as blueapi tells of it."""

    id: str
    plan: str
    md: Mapping[str, Any]
    pending: bool
    complete: bool
    outcome: Mapping[str, Any]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Task:
        """Return a task as the API wrote it; what it says besides is nothing to us."""
        params = cast("dict[str, Any]", answer["task"].get("params") or {})
        md = params.get("md")
        return cls(
            id=str(answer["task_id"]),
            plan=str(answer["task"]["name"]),
            md=cast("dict[str, Any]", md) if isinstance(md, dict) else {},
            pending=bool(answer["is_pending"]),
            complete=bool(answer["is_complete"]),
            outcome=answer.get("outcome") or {},
        )

    @property
    def interrupted(self) -> bool:
        """Whether its RunEngine was paused, stopped or aborted: blueapi tells each as an end with this error."""
        return self.outcome.get("type") == "RunEngineInterrupted"


class BlueapiRest:
    """Calls of a blueapi; belongs to the event loop.

    Each raises `BackendUnavailable` when it cannot be asked now, and says why.

    Parameters
    ----------
    url
        Where it is.
    token
        Returns the access token, anew for each request, for tokens expire; None: it asks for none.
    """

    def __init__(self, url: str, token: Callable[[], str | None]) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._client = httpx.AsyncClient(base_url=f"{self.url}/api/v1", timeout=timeouts(_READ_S))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def post(self, plan: str, params: Mapping[str, Any], session: str) -> str:
        """Make a task that waits, and return its id.

        Raises
        ------
        UnknownPlan, InvalidInput
            It has no such plan, or does not take these parameters.
        """
        request = {"name": plan, "params": params, "instrument_session": session}
        answer = await self._ask("POST", "/tasks", json=request)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise UnknownPlan(f"blueapi has no plan {plan!r}")
        if answer.is_client_error:
            raise InvalidInput(f"blueapi does not take plan {plan!r}: {detail_of(answer)}")
        return self._read(answer, lambda body: str(body["task_id"]))

    async def begin(self, task_id: str) -> Begin:
        """Let a task begin. After `LostAnswer` only its task says whether it did.

        Raises
        ------
        LostAnswer
            It may have begun, or yet begin.
        InvalidInput
            It cannot begin.
        """
        try:
            answer = await self._ask("PUT", "/worker/task", json={"task_id": task_id}, timeout=timeouts(BEGIN_S))
        except BackendUnavailable as error:
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
                raise
            raise LostAnswer(error.detail) from error
        if answer.is_success:
            return Begin.BEGUN
        if answer.status_code in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
            return Begin.BUSY if answer.status_code == HTTPStatus.CONFLICT else Begin.GONE
        raise InvalidInput(f"blueapi does not let the plan begin: {detail_of(answer)}")

    async def task(self, task_id: str) -> Task | None:
        """Return a task, None when blueapi does not know it (any more)."""
        answer = await self._ask("GET", f"/tasks/{task_id}")
        return self._read(answer, Task.of) if answer.is_success else None

    async def tasks(self) -> list[Task]:
        """Return all tasks that it knows."""
        answer = await self._ask("GET", "/tasks")
        return self._read(answer, lambda body: [Task.of(task) for task in body["tasks"]])

    async def delete(self, task_id: str) -> bool:
        """Let a task that waits begin no more; return whether it was known. One that began goes on: see `active`."""
        return (await self._ask("DELETE", f"/tasks/{task_id}")).is_success

    async def active(self) -> str | None:
        """Return the id of the task that runs, or ran last."""
        task_id = self._read(await self._ask("GET", "/worker/task"), lambda body: body["task_id"])
        return None if task_id is None else str(task_id)

    async def state(self) -> str:
        """Return the state of its RunEngine, in capitals."""
        return self._read(await self._ask("GET", "/worker/state"), str)

    async def abort(self, reason: str) -> None:
        """Abort whatever runs. Look first whose that is."""
        await self._ask("PUT", "/worker/state", json={"new_state": "ABORTING", "reason": reason})

    def _read(self, answer: httpx.Response, read: Callable[[Any], R]) -> R:
        """Return what is read from an answer; a page of a proxy, for example, is none of blueapi's."""
        try:
            return read(answer.json())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackendUnavailable(foreign(self.url, answer)) from error

    async def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, headers=headers(self._token), **request)
        except httpx.TransportError as error:
            raise BackendUnavailable(away(self.url, error)) from error
        refuse(answer, self.url)
        return answer


def timeouts(read_s: float) -> httpx.Timeout:
    """Return how long to wait for an answer."""
    return httpx.Timeout(read_s, connect=_CONNECT_S)


def headers(token: Callable[[], str | None]) -> dict[str, str]:
    """Return the headers of a request."""
    present = token()
    return {} if present is None else {"Authorization": f"Bearer {present}"}


def away(url: str, error: httpx.TransportError) -> str:
    """Return what to say when it could not be asked."""
    what = "does not answer" if isinstance(error, httpx.ReadTimeout) else "cannot be reached"
    return f"blueapi at {url} {what} ({texts.describe(error)})"


def foreign(url: str, answer: httpx.Response) -> str:
    """Return what to say of an answer that is none of blueapi's."""
    path = "; give it without /api" if "/api" in url else ""
    return f"what is at {url} answers {answer.status_code} with what is no answer of blueapi's; look at sink.url{path}"


def refuse(answer: httpx.Response, url: str) -> None:
    """Raise `BackendUnavailable` for an answer that says that it can do nothing for us now."""
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        how = f"set {TOKEN}, or sink.token_file, anew"
        raise BackendUnavailable(f"blueapi at {url} does not let this service in ({detail_of(answer)}); {how}")
    if answer.is_server_error:
        raise BackendUnavailable(
            f"blueapi at {url} answers {answer.status_code}; if that lasts, restart it: its log says more"
        )


def detail_of(answer: httpx.Response) -> str:
    """Return what an answer says is wrong, in one line."""
    try:
        detail: Any = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status_code}"
    if isinstance(detail, list):
        errors = [cast("dict[str, Any]", error) for error in cast("list[Any]", detail) if isinstance(error, dict)]
        detail = "; ".join(f"{'.'.join(map(str, error.get('loc', ())[2:]))}: {error.get('msg')}" for error in errors)
    return texts.one_line(str(detail))


def token_from(variable: str | None, file: Path | None) -> str | None:
    """Return the access token: what the file holds now, or else the variable."""
    if file is not None:
        try:
            return file.read_text().strip() or None
        except OSError:
            return None  # blueapi says that there is none
    return variable or None
