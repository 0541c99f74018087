"""What all panels share: they connect their page to a service, which the browser may not reach itself.

The page's own modules (``agent_service/server/static/view``) decide what is shown and what a press requests. This
module passes the service's answers and events to the page unchanged, and the page's requests to the service.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast
from urllib.parse import parse_qsl, quote, urlsplit

import anywidget
import traitlets

from agent_service.client.local_services import services
from agent_service.errors import BackendUnavailable, InvalidInput, NotFound, ServiceError
from agent_service.launch import api_link
from agent_service.models import EventKind
from agent_service.models.problems import described
from agent_service.server.view_files import VIEW, view_file
from notebook_widgets.panels.event_feed import Address, LiveThread
from notebook_widgets.panels.heartbeat import Heartbeat
from notebook_widgets.panels.last_picture import STYLE, LastPicture

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from agent_service.client import AsyncClient
    from agent_service.models import Event
    from notebook_widgets.panels.event_feed import Link, Update

_OWN_MODULES: Final = ("direct", "line", "last_picture", "widget")
_QUIET: Final = frozenset({EventKind.LOG, EventKind.HEARTBEAT})
"""Kinds of events after which everything is as it was."""

_ABORT: Final = "queue/abort"
_CARRIED: Final = {
    "GET": re.compile(r"(service|agent-types|agents|suggestions)(/.*)?"),
    "POST": re.compile(
        r"queue/(abort|pause|resume|destroy-environment)"
        r"|agents/[^/]+/(start|pause|resume|stop|restart|suggest|ingest|report|predict|go-to-best|suggestions)"
        r"|suggestions/(approve|[^/]+/(approve|reject))"
    ),
    "PUT": re.compile(r"agents/[^/]+/variables/[^/]+"),
    "PATCH": re.compile(r"agents/[^/]+"),
}
"""What a page may ask by its kernel, whose key may do more: everybody who sees a Voila page can press its buttons."""


def page() -> str:
    """Return one module that holds those of the view and of the notebook, each after all that it imports."""
    ours = {name: _static(f"{name}.js") for name in _OWN_MODULES}
    sources = {**{name: view_file(f"{name}.js") for name in VIEW}, "api_link": api_link.javascript(), **ours}
    return f"const sources = {json.dumps(sources)};\n{_static('loader.js')}"


def _static(name: str) -> str:
    return files(__package__ or "").joinpath("static", name).read_text(encoding="utf-8")


class Panel(anywidget.AnyWidget):
    """A live view of a service. Its page's requests run on the live thread, and never block the kernel.

    ``target`` is the URL of a service, a client of it, or anything with a ``client``; ``view`` says what the page
    shows, and ``paths`` what it gets at each change. Only the live thread sets traits.
    """

    paths: ClassVar[tuple[str, ...]]

    # the types of ipywidgets and traitlets are partial: what the page sees is plain JSON
    _esm: Any = traitlets.Unicode().tag(sync=True)
    _css: Any = traitlets.Unicode().tag(sync=True)
    view: Any = traitlets.Dict().tag(sync=True)
    link: Any = traitlets.Dict().tag(sync=True)
    answers: Any = traitlets.Dict().tag(sync=True)

    def __init__(self, target: object, kind: str, name: str | None = None) -> None:
        address = Address.of(target)
        super().__init__(_esm=page(), _css=view_file("panel.css") + STYLE, view={"kind": kind, "name": name})
        self.view = {**self.view, "id": self.model_id}
        self.last_picture = LastPicture(self.model_id)
        self.url = address.url
        own = any(service.url == address.url for service in services())
        self.link = {"state": "connecting", "message": "", "url": address.url, "own": own}
        self._heartbeat = Heartbeat(address.url, self._say)
        self._subscription = LiveThread.subscribe(address, self)
        self._lasting = [self._subscription.call(run) for run in (self._heartbeat.beat, self._heartbeat.keep_keys)]
        cast("Any", self).on_msg(self._on_message)

    def ask(self, method: str, path: str, body: Any = None) -> Future[Any]:
        """Ask the service, on the live thread, as the panel's page does; from any thread.

        Parameters
        ----------
        method
            HTTP method.
        path
            Below ``/api/v1/``, as ``agents/aligner/start``.
        body
            What to send as JSON; None: nothing.

        Returns
        -------
        concurrent.futures.Future
            The answer, as decoded JSON; a `ServiceError` is raised for what the service refuses.

        Raises
        ------
        InvalidInput
            When a panel may not ask this, or was closed.
        """
        asked = urlsplit(path)
        pattern = _CARRIED.get(method)
        if pattern is None or not pattern.fullmatch(asked.path) or {".", ".."} & set(asked.path.split("/")):
            raise InvalidInput(f"a panel asks no {method} {asked.path} of a service; use a client: service.client")
        query = dict(parse_qsl(asked.query))

        async def send(client: AsyncClient) -> Any:
            try:
                answer = await client.ask(method, asked.path, body, params=query)
            except BackendUnavailable:
                if asked.path != _ABORT:
                    raise
                # a connection that broke on the way, as when a service wakes: once more, at once
                answer = await client.ask(method, asked.path, body, params=query)
            if method != "GET":
                self.redraw()
            return answer

        return self._subscription.call(send)

    @property
    def asks(self) -> list[str]:
        """What it asks the service at each change, below ``/api/v1/``."""
        return [path.format(name=quote(self.view["name"] or "", safe="")) for path in self.paths]

    def redraw(self) -> None:
        """Redraw the panel soon, as after a press."""
        self._subscription.note(changed=True)

    async def refresh(self, client: AsyncClient, update: Update) -> None:
        """Hand an update on to the page; on the live thread."""
        if update.link.state != "live":
            self._show(update.link)
            return
        events = [event for event in update.events if self._concerns(event)]
        if events or update.stale:
            encoded_events = [json.loads(event.encoded) for event in events]
            self._say({"events": encoded_events, "stale": update.stale})
        if update.stale or update.changed or any(event.kind not in _QUIET for event in events):
            self._show(update.link, {path: await _answer(client, path) for path in self.asks})
        else:
            self._show(update.link)

    def _concerns(self, event: Event) -> bool:
        name = self.view["name"]
        return name is None or event.agent in (None, name)

    def summary(self) -> str:
        """Return a line about what it shows, for its last picture; empty while the service has not answered."""
        return ""

    def close(self) -> None:
        """Leave the service and remove the panel; its last picture stays. Does nothing the second time."""
        if line := self.summary():
            self.last_picture.become(line)
        for task in self._lasting:
            task.cancel()
        self._subscription.close()
        super().close()

    def _ipython_display_(self) -> None:
        """Show the panel; in a notebook with its last picture, which is seen while there is no panel."""
        from IPython import display  # noqa: PLC0415 - panels are for those who look
        from IPython.core.getipython import get_ipython  # noqa: PLC0415

        shell: Any = get_ipython()
        if getattr(shell, "kernel", None) is not None:
            self.last_picture.show("A panel appears here where widgets are shown.")
        bundle, *metadata = cast("Any", self)._repr_mimebundle_()
        cast("Any", display).display(bundle, raw=True, metadata=dict(*metadata))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}: {self.link.get('state')}>"

    def _show(self, link: Link, answers: dict[str, Any] | None = None) -> None:
        """Set traits, in one message to the page; those that did not change are not sent."""
        if link.state == "live" != self.link["state"]:
            self._heartbeat.renew()
        with self.hold_sync():
            self.link = {**self.link, "state": link.state, "message": link.message}
            if answers is not None:
                self.answers = answers

    def _say(self, message: dict[str, Any]) -> None:
        cast("Callable[[dict[str, Any]], None]", cast("Any", self).send)(message)

    def _on_message(self, _: object, content: object, __: object) -> None:
        message = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
        if "here" in message:
            with contextlib.suppress(InvalidInput):  # closed, and its page not yet
                self._subscription.call(functools.partial(self._heartbeat.here, str(message["here"])))
        elif "ask" in message:
            self._on_question(message)

    def _on_question(self, message: dict[str, Any]) -> None:
        """Answer a request of the page; one that is a press says by ``beat`` when it was pressed."""
        number = message["ask"]
        if self._heartbeat.is_late(message.get("beat")):
            self._say({"late": number, "beat": self._heartbeat.now()})
            return
        if "beat" in message:
            self._say({"heard": number})
        try:
            asking = self.ask(str(message.get("method")), str(message.get("path")), message.get("body"))
        except ServiceError as error:
            self._say({"answer": number, "problem": _problem(error)})
        else:
            asking.add_done_callback(functools.partial(self._tell, number))

    def _tell(self, number: str, asked: Future[Any]) -> None:
        if asked.cancelled():
            return
        error = asked.exception()
        if isinstance(error, ServiceError):
            self._say({"answer": number, "problem": _problem(error)})
        elif error is not None:
            raise error
        else:
            self._say({"answer": number, "said": asked.result()})


async def _answer(client: AsyncClient, path: str) -> Any:
    asked = urlsplit(path)
    try:
        return await client.ask("GET", asked.path, params=dict(parse_qsl(asked.query)))
    except NotFound as error:
        return {"problem": _problem(error)}


def _problem(error: ServiceError) -> dict[str, Any]:
    return described(error, request_id=None).model_dump(mode="json")
