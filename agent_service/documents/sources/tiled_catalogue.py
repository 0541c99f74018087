"""A Tiled catalogue of runs that somebody else writes, over HTTP: searched and read, and never written or deleted."""

from __future__ import annotations

import json
import re
import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, cast

import httpx

from agent_service.errors import BackendUnavailable
from agent_service.models import is_uid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from agent_service.protocols import Document

_PAGE: Final = 50
_MOST_PAGES: Final = 20
_IDS_A_QUESTION: Final = 50
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_NOT_FOUND: Final = 404
_GONE: Final = (404, 405, 406)
_API: Final = "/api/v1"
_API_END: Final = re.compile(r"(/api(/v1)?)?/*$")


class CataloguedRun(NamedTuple):
    """A run as a catalogue lists it."""

    uid: str
    start: Document
    stop: Document | None  # None while it goes on

    @property
    def ended_at(self) -> float | None:
        """When it ended, by its stop document; None while it goes on."""
        time = (self.stop or {}).get("time")
        return float(time) if isinstance(time, int | float) else None


class TiledCatalogue:
    """One catalogue, for one event loop; as a context it closes its connections.

    Parameters
    ----------
    uri
        Address as Tiled's client takes it: of the server, with or without ``/api/v1``, or of a node in its tree
        (``/api/v1/metadata/...``), and perhaps with a key (``?api_key=...``), which counts before ``api_key``.
    path
        Of the catalogue of runs within the server's tree, or below that node.
    api_key
        Key that may read it; None where it is open.
    headers
        What else each request says.
    verify
        Whether the server's certificate has to be good.
    """

    def __init__(
        self,
        uri: str,
        *,
        path: str = "",
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool = True,
    ) -> None:
        address = httpx.URL(uri)
        api, _, node = address.path.partition("/metadata")
        root = address.copy_with(path=_API_END.sub(_API, api, count=1), query=None)
        self._root = str(root)
        self._path = "/".join(part.strip("/") for part in (node, path) if part.strip("/"))
        key = address.params.get("api_key") or api_key
        self.headers = {**(headers or {}), **({"Authorization": f"Apikey {key}"} if key else {})}
        self.tls = None if root.scheme == "http" else _tls(verify=verify)
        self._http = httpx.AsyncClient(headers=self.headers, timeout=_TIMEOUT, verify=self.tls or True)
        self._newest_first = "-"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @property
    def stream(self) -> str:
        """Address of the websocket that says what is written."""
        return f"{self._root.replace('http', 'ws', 1)}/stream/single/{self._path}?envelope_format=json"

    async def ask(self) -> None:
        """Return when it answers; raises `BackendUnavailable`."""
        answer = await self._http.get(f"{self._root}/metadata/{self._path}")
        if answer.status_code == _NOT_FOUND and not self._path:
            raise BackendUnavailable("what answers there is no Tiled server: see uri in [[sources]]")
        _check(answer)
        data: dict[str, Any] = answer.json().get("data") or {}
        attributes: dict[str, Any] = data.get("attributes") or {}
        order: list[dict[str, Any]] = attributes.get("sorting") or [{"key": "", "direction": 1}]
        self._newest_first = ",".join(f"{'-' if field['direction'] > 0 else ''}{field['key']}" for field in order)

    async def of_suggestions(self, ids: Collection[str]) -> list[CataloguedRun]:
        """Return the runs of suggestions."""
        return await self._where("start.agent_suggestion_uid", sorted(ids))

    async def of_uids(self, uids: Collection[str]) -> list[CataloguedRun]:
        """Return the runs of these uids that are there."""
        return await self._where("start.uid", sorted(uids))

    async def newest_first(self) -> AsyncIterator[list[CataloguedRun]]:
        """Yield pages of runs, those that were written last first, of a catalogue that was asked."""
        for number in range(_MOST_PAGES):
            items = await self._search({"sort": self._newest_first, "page[offset]": str(number * _PAGE)})
            if page := _runs_of(items):
                yield page
            if len(items) < _PAGE:
                return

    async def documents(self, uid: str) -> list[tuple[str, Document]]:
        """Return the documents of a run; none when the catalogue does not have it, or not its end, yet.

        Raises
        ------
        BackendUnavailable
            It cannot be asked now, or does not give documents.
        """
        where, accept = "/".join(part for part in (self._path, uid) if part), "application/json-seq"
        answer = await self._http.get(f"{self._root}/container/full/{where}", params={"format": accept})
        if answer.status_code in _GONE:  # a catalogue that is not of TiledWriter's making
            answer = await self._http.get(f"{self._root}/documents/{where}", headers={"Accept": accept})
        if answer.status_code == _NOT_FOUND:
            return []
        _check(answer)
        lines = (line.lstrip("\x1e").strip() for line in answer.text.split("\n"))
        records = [cast("dict[str, Any]", json.loads(line)) for line in lines if line]
        documents = [(str(record["name"]), cast("Document", record["doc"])) for record in records]
        return documents if documents and documents[-1][0] == "stop" and documents[-1][1] else []

    async def _where(self, key: str, values: list[str]) -> list[CataloguedRun]:
        runs: list[CataloguedRun] = []
        for first in range(0, len(values), _IDS_A_QUESTION):
            some = json.dumps(values[first : first + _IDS_A_QUESTION])
            asked = {"filter[in][condition][key]": key, "filter[in][condition][value]": some}
            runs += _runs_of(await self._search(asked))
        return runs

    async def _search(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        asked = {"page[limit]": str(_PAGE), "fields": "metadata", **parameters}
        answer = await self._get(f"{self._root}/search/{self._path}", asked)
        return cast("list[dict[str, Any]]", answer.json().get("data") or [])

    async def _get(self, address: str, parameters: Mapping[str, str]) -> httpx.Response:
        answer = await self._http.get(address, params=dict(parameters))
        _check(answer)
        return answer


def _check(answer: httpx.Response) -> None:
    if answer.status_code in (401, 403):
        raise BackendUnavailable(f"it refuses this key ({answer.status_code}): set the key in the environment")
    if answer.status_code == _NOT_FOUND:
        raise BackendUnavailable("there is no such path in its tree: see path in [[sources]]")
    if answer.is_error:
        raise BackendUnavailable(f"it answers {answer.status_code} at {answer.request.url.path}")


def _tls(*, verify: bool) -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _runs_of(items: list[dict[str, Any]]) -> list[CataloguedRun]:
    return [run for item in items if (run := _run_of(item)) is not None]


def _run_of(item: Mapping[str, Any]) -> CataloguedRun | None:
    attributes = cast("Mapping[str, Any]", item.get("attributes") or {})
    metadata = cast("Mapping[str, Any]", attributes.get("metadata") or {})
    start = metadata.get("start")
    if not isinstance(start, dict) or not is_uid(cast("Document", start).get("uid")):
        return None  # not a run: the container of our decisions, for example
    document = cast("Document", start)
    return CataloguedRun(str(document["uid"]), document, cast("Document | None", metadata.get("stop") or None))
