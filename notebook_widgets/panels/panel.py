"""What all panels share: a live subscription, actions that call the HTTP API, and their page in static/."""

from __future__ import annotations

import contextlib
import functools
import json
import operator
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, cast

import anywidget
import traitlets

from agent_service.client.local_services import services
from agent_service.errors import AgentFault, BackendUnavailable, InvalidInput, ServiceError
from agent_service.launch import api_link
from agent_service.models import utcnow
from notebook_widgets.panels.event_feed import Address, LiveThread
from notebook_widgets.panels.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from concurrent.futures import Future

    from agent_service.client import AsyncClient
    from notebook_widgets.panels.event_feed import Link, Update

    Handler = Callable[..., Awaitable[object]]
    """Does what a button says; a text that it returns is shown to whoever pressed it."""


def page(modules: Iterable[str]) -> str:
    """Return one module that holds those of static/, each after all that it imports, and exports what the last does.

    What finds the API page is the service's own, for its rich display needs it too.
    """
    sources = {"api_link": api_link.javascript(), **{name: _static(f"{name}.js") for name in modules}}
    return f"const sources = {json.dumps(sources)};\n{_static('loader.js')}"


def _static(name: str) -> str:
    return files(__package__ or "").joinpath("static", name).read_text(encoding="utf-8")


class Panel(anywidget.AnyWidget):
    """A live view of a service. Buttons become actions; actions run on the live thread and never block the kernel.

    ``target`` is the URL of a service, a client of it, or anything with a ``client``; ``traits`` are what the page
    shows until the service answers. Traits are set on the live thread alone, in one message for each update.
    """

    modules: ClassVar[tuple[str, ...]]

    # the types of ipywidgets and traitlets are partial: what the page sees is plain JSON
    _esm: Any = traitlets.Unicode().tag(sync=True)
    _css: Any = traitlets.Unicode().tag(sync=True)
    link: Any = traitlets.Dict().tag(sync=True)
    service: Any = traitlets.Dict().tag(sync=True)
    notice: Any = traitlets.Dict().tag(sync=True)

    def __init__(self, target: object, **traits: Any) -> None:
        address = Address.of(target)
        super().__init__(_esm=page(self.modules), _css=_static("panel.css"), **traits)
        self.url = address.url
        self.actions: dict[str, Handler] = {
            "stop-everything": self._stop_everything,
            "resume-queue": operator.methodcaller("resume_queue"),
            "destroy-environment": operator.methodcaller("destroy_environment"),
        }
        own = any(service.url == address.url for service in services())
        self.link = {"state": "connecting", "message": "", "url": address.url, "own": own}
        self._changed = False
        self._heartbeat = Heartbeat(address.url, cast("Any", self).send)
        self._subscription = LiveThread.subscribe(address, self)
        self._lasting = [self._subscription.call(run) for run in (self._heartbeat.beat, self._heartbeat.keep_keys)]
        cast("Any", self).on_msg(self._on_message)

    def act(self, action: str, **arguments: Any) -> Future[bool]:
        """Do what a button does; from any thread.

        Parameters
        ----------
        action
            One of `actions`.
        **arguments
            What it takes, for example ``id`` and ``point`` for ``approve``.

        Returns
        -------
        concurrent.futures.Future
            True when the service did it; False when it did not, and then `notice` says why in one line.

        Raises
        ------
        InvalidInput
            When there is no such action, or the panel was closed.
        """
        handler = self.actions.get(action)
        if handler is None:
            raise InvalidInput(f"this panel has no action {action!r}; it has {', '.join(self.actions)}")

        before = self.notice

        async def ask(client: AsyncClient) -> bool:
            try:
                answer = await handler(client, **arguments)
            except ServiceError as error:
                self.refused(action, error)
                return False
            except (TypeError, ValueError) as error:
                self.refused(action, InvalidInput(f"{action}: {error}"))
                return False
            if answer and isinstance(answer, str):
                self.notice = _notice("done", answer)
            elif self.notice == before:  # one that came meanwhile is of another press, and stays
                self.notice = {}
            self.redraw()
            return True

        return self._subscription.call(ask)

    def refused(self, action: str, error: ServiceError) -> None:
        """Show why an action was not done."""
        trace = error.traceback if isinstance(error, AgentFault) else None
        self.notice = _notice("error", error.detail, traceback=trace)

    def redraw(self) -> None:
        """Have the panel drawn anew soon, as after a press."""
        self._changed = True
        self._subscription.note()

    async def refresh(self, client: AsyncClient, update: Update) -> None:
        """Show an update; on the live thread."""
        if update.link.state != "live":
            self.show(update.link)
            return
        changed, self._changed = self._changed, False
        self.show(update.link, **await self.traits_after(client, update, changed=changed))

    async def traits_after(self, client: AsyncClient, update: Update, *, changed: bool) -> dict[str, Any]:
        """Return the traits that an update from a live service, or a press (``changed``), gives new values."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the service and take the panel off the screen. Does nothing the second time."""
        for task in self._lasting:
            task.cancel()
        self._subscription.close()
        super().close()

    def show(self, link: Link, **traits: Any) -> None:
        """Set traits, in one message to the page; those that did not change are not sent."""
        if link.state == "live" != self.link["state"]:
            self._heartbeat.renew()
        with self.hold_sync():
            self.link = {**self.link, "state": link.state, "message": link.message}
            for name, value in traits.items():
                setattr(self, name, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}: {self.link.get('state')}>"

    def _on_message(self, _: object, content: object, __: object) -> None:
        if not isinstance(content, dict):
            return
        message = dict(cast("dict[str, Any]", content))
        if "here" in message:
            with contextlib.suppress(InvalidInput):  # closed, and its page not yet
                self._subscription.call(functools.partial(self._heartbeat.here, str(message["here"])))
            return
        send: Callable[[dict[str, Any]], None] = cast("Any", self).send
        press, beat = message.pop("press", None), message.pop("beat", None)
        if self._heartbeat.is_late(beat):
            send({"late": press, "beat": self._heartbeat.now()})
            return
        send({"heard": press})
        try:
            acting = self.act(**message)
        except (ServiceError, TypeError) as error:
            self.notice = _notice("error", str(error))
            send({"done": press})
        else:
            acting.add_done_callback(lambda _: send({"done": press}))

    async def _stop_everything(self, client: AsyncClient) -> None:
        reason = "Stop everything was pressed in a panel"
        try:
            await client.abort_queue(reason)
        except BackendUnavailable:  # a connection that broke on the way, as when a service wakes: once more, at once
            await client.abort_queue(reason)


def _notice(kind: str, text: str, *, traceback: str | None = None) -> dict[str, Any]:
    one_line = " ".join(text.split())
    return {"kind": kind, "text": one_line, "traceback": traceback, "at": utcnow().timestamp()}
