"""The service's routes as methods, written once for both clients; each other subject has its own file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.client._agent_routes import AgentRoutes
from agent_service.client._brain_routes import BrainRoutes
from agent_service.client._calls import API, Call, listed, long, one, route
from agent_service.client._queue_routes import QueueRoutes
from agent_service.client._suggestion_routes import SuggestionRoutes
from agent_service.models import AgentTypeInfo, DeviceList, LoginCodeAnswer, PanelKeyAnswer, Readiness, ServiceStatus

if TYPE_CHECKING:
    from collections.abc import Mapping


class Routes(AgentRoutes, BrainRoutes, SuggestionRoutes, QueueRoutes):
    """The calls of a service. Each method raises the class of error that the service answers."""

    @route
    def health(self) -> Call[str]:
        """Return ``ok`` if the service answers; needs no key."""
        return Call("GET", "/healthz", lambda answer: str(answer["status"]))

    @route
    def ready(self) -> Call[Readiness]:
        """Return whether the service takes work, part by part; needs no key."""
        return Call("GET", "/readyz", Readiness.model_validate, good=frozenset({503}))

    @route
    def ask(
        self, method: str, path: str, body: Any = None, *, params: Mapping[str, str | int | None] | None = None
    ) -> Call[Any]:
        """Send a request that no other method sends: ``path`` is below ``/api/v1/``; return the answer's JSON.

        Quote its parts with ``urllib.parse.quote``. If the call takes long, this waits.
        """
        call = Call(method, f"{API}/{path}", lambda answer: answer, params=params or {}, body=body)
        return call if method == "GET" else long(call, None)

    @route
    def service(self) -> Call[ServiceStatus]:
        """Return the service's version, uptime, counts, queue and archive."""
        return one("GET", f"{API}/service", ServiceStatus)

    @route
    def panel_key(self, origin: str, *, renews: str | None = None) -> Call[PanelKeyAnswer]:
        """Return a short-lived key for notebook pages of ``origin``, or renew the key ``renews``.

        Raises
        ------
        InvalidInput
            When ``origin`` is no web page's.
        """
        return one("POST", f"{API}/panel-keys", PanelKeyAnswer, {"origin": origin, "renews": renews})

    @route
    def login_code(self) -> Call[LoginCodeAnswer]:
        """Return a code that logs a browser in at ``URL/#code=CODE``, once and within a minute."""
        return one("POST", f"{API}/login-codes", LoginCodeAnswer)

    @route
    def agent_types(self) -> Call[list[AgentTypeInfo]]:
        """Return the installed types, each with the JSON Schema of its config."""
        return listed(f"{API}/agent-types", AgentTypeInfo)

    @route
    def all_devices(self) -> Call[DeviceList]:
        """Return the devices that agents may name; `devices` says where those of one agent are.

        While they cannot be listed, ``reason`` says why, and ``items`` are those of ``asked_at``.
        """
        return one("GET", f"{API}/devices", DeviceList)
