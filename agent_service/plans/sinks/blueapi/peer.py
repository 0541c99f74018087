"""What a blueapi has: whether its plans and devices are what an agent asks for, by the schemas that it shows."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import httpx

from agent_service.errors import BackendUnavailable, FieldError, UnknownDevice, UnknownPlan
from agent_service.models import DeviceInfo
from agent_service.models.spelling import near
from agent_service.plans.sinks.blueapi.rest import away, detail_of, foreign, headers, refuse, timeouts
from agent_service.protocols import MOVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agent_service.models import AgentSpec

OUR_PLANS: Final = "agent_service.plans.blueapi"
"""The module that a beamline's blueapi loads our plans from."""

_PARAMETERS: Final = ("suggestions", "actuators", "sensors", "md")
_LOOK_S: Final = 5.0
_LISTS: Final = {"/plans": "plans", "/devices": "devices"}
"""What each blueapi has under ``/api/v1``, and the key of the list."""

_ADD: Final = f"add it to env.sources of its configuration: {{kind: planFunctions, module: {OUR_PLANS}}}"


class BlueapiPeer:
    """Asks a blueapi what it has; each method blocks, for some seconds at most. From any thread.

    Each raises `BackendUnavailable` when it cannot be asked now.
    """

    def __init__(self, url: str, token: Callable[[], str | None]) -> None:
        self.url = url.rstrip("/")
        self._token = token

    def plans(self) -> list[str]:
        """Return the names of its plans."""
        return [str(plan["name"]) for plan in self._get("/plans")["plans"]]

    def list_devices(self) -> list[DeviceInfo]:
        """Return its devices."""
        devices = self._get("/devices")["devices"]
        protocols = {str(device["name"]): _protocols(device) for device in devices}
        return [
            DeviceInfo(name=name, moves="Movable" in can, reads="Readable" in can)
            for name, can in sorted(protocols.items())
        ]

    @property
    def can_move(self) -> bool:
        """Whether it has our plan of a move."""
        return MOVE in self.plans()

    def own_name(self, name: str) -> str:
        """Return what the device ``name`` calls itself, where it is the way to one; raises `UnknownDevice`."""
        return name if "." not in name else str(self._device(name)["name"])

    def check(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice`, saying what to add to it, unless it could run an agent's plan."""
        known = self._get(f"/plans/{spec.plan}")
        if known is None:
            plans = self.plans()
            how = f"; {_ADD}" if spec.plan in ("acquire", MOVE) else ""
            listed = ", ".join(sorted(plans)) or "none"
            raise UnknownPlan(
                f"there is no plan {spec.plan!r} at {self.url}{how}; {near(spec.plan, plans)}it has {listed}"
            )
        schema = cast("dict[str, Any]", known["schema"])
        taken = cast("dict[str, Any]", schema.get("properties", {}))
        missing = [name for name in _PARAMETERS if name not in taken]
        more = [name for name in schema.get("required", ()) if name not in _PARAMETERS]
        if missing or more:
            wrong = f"takes no {', '.join(missing)}" if missing else f"asks for {', '.join(more)}, which nobody gives"
            raise UnknownPlan(f"plan {spec.plan!r} at {self.url} {wrong}; write it with the parameters of {OUR_PLANS}")
        self._check_devices(spec.actuators, _allowed(taken["actuators"]), "actuators")
        self._check_devices(spec.sensors, _allowed(taken["sensors"]), "sensors")

    def _check_devices(self, names: Iterable[str], allowed: list[str] | None, field: str) -> None:
        for name in names:
            if "." in name and field == "actuators":
                why = f"{name!r} is the way to {_component(name.partition('.')[0], name.replace('.', '_'))}"
                raise UnknownDevice(why, errors=[FieldError(field, why)])
            if allowed is not None and name in allowed:
                continue
            try:
                device = self._device(name)
            except UnknownDevice as error:
                raise UnknownDevice(error.detail, errors=[FieldError(field, error.detail)]) from None
            if field == "actuators" and "Movable" not in _protocols(device):
                why = f"the device {name!r} at {self.url} is not Movable, so it is no actuator; name it as a sensor"
                raise UnknownDevice(why, errors=[FieldError(field, why)])

    def _device(self, name: str) -> Mapping[str, Any]:
        device = self._get(f"/devices/{name}")
        if device is not None:
            return device
        there = sorted(str(device["name"]) for device in self._get("/devices")["devices"])
        if whole := next(
            (whole_name for whole_name in there if name.startswith(whole_name)), None
        ):  # by what it calls itself
            raise UnknownDevice(f"{name!r} is no device at {self.url}; it may be {_component(whole, name)}")
        raise UnknownDevice(
            f"there is no device {name!r} at {self.url}; {near(name, there)}it has {', '.join(there) or 'none'}; make "
            f"one in a device manager that env.sources of its configuration names"
        )

    def _get(self, path: str) -> Any:
        try:
            with httpx.Client(timeout=timeouts(_LOOK_S)) as client:
                answer = client.get(f"{self.url}/api/v1{path}", headers=headers(self._token))
        except httpx.TransportError as error:
            raise BackendUnavailable(away(self.url, error)) from error
        refuse(answer, self.url)
        if answer.status_code == HTTPStatus.NOT_FOUND and path not in _LISTS:
            return None
        if answer.is_client_error and answer.status_code != HTTPStatus.NOT_FOUND:
            raise BackendUnavailable(f"blueapi at {self.url} does not tell what it has: {detail_of(answer)}")
        try:
            body = answer.json()
        except ValueError:  # a page of a proxy, for example
            body = None
        if not isinstance(body, dict) or _LISTS.get(path, "name") not in body:
            raise BackendUnavailable(foreign(self.url, answer))
        return cast("dict[str, Any]", body)


def _protocols(device: Mapping[str, Any]) -> set[str]:
    return {str(protocol["name"]) for protocol in device["protocols"]}


def _component(whole: str, own: str) -> str:
    """Return what is said of a component that is to be moved: blueapi gives a plan whole devices only."""
    return (
        f"a component of {whole!r}, and points go by what a device of blueapi calls itself; make it a device of its "
        f"own there, in a device manager that env.sources of its configuration names, called {own!r} for example, and "
        f"write that name here"
    )


def _allowed(parameter: Mapping[str, Any]) -> list[str] | None:
    """Return the devices that a list of them may name, by its schema; None where that does not say."""
    items = cast("dict[str, Any]", parameter.get("items") or {})
    return cast("list[str] | None", items.get("enum"))
