"""What the queue server allows: plans and devices by name, for one group of users."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from agent_service.errors import FieldError, InvalidInput, UnknownDevice, UnknownPlan, texts
from agent_service.models import DeviceInfo
from agent_service.models.spelling import near
from agent_service.plans.named_plan import is_named
from agent_service.plans.sinks.queue_server.clients import Refusal, Silent, client_of
from agent_service.plans.sinks.queue_server.manager import Manager
from agent_service.plans.sinks.queue_server.queued_plan import item_of
from agent_service.plans.sinks.queue_server.session_item import SESSION, session_item, session_order
from agent_service.protocols import PlanOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from agent_service.models import AgentSpec, Point
    from agent_service.plans.sinks.queue_server.config import QueueServerSection

MOVES: Final = ("move_to", "mv")
"""Plans that can move actuators to a point without a run, the first that is allowed is taken."""

IMPORT_LINE: Final = "from agent_service.plans.queue_server import acquire, move_to"
"""What a profile needs."""

_LINES: Final = {
    "acquire": IMPORT_LINE,
    "move_to": IMPORT_LINE,
    SESSION: f"from agent_service.client.session import {SESSION}",
}


class Lists(NamedTuple):
    """Plans and devices that are allowed, by name, as the manager describes them."""

    plans: Mapping[str, Any]
    devices: Mapping[str, Any]

    def check_plan(self, name: str) -> None:
        """Raise `UnknownPlan` unless a plan is allowed."""
        if name not in self.plans:
            line = f"; its profile needs the line: {_LINES[name]}" if name in _LINES else ""
            hint = _hint(name, self.plans) or "; its permissions have to allow the plan to sink.user_group"
            raise UnknownPlan(f"the queue server allows no plan {name!r}{line}{hint}")

    def check_device(self, name: str, *, moves: bool) -> None:
        """Raise `UnknownDevice` unless a device, or a component of one, is allowed and can do what it is for."""
        device: Any = {"components": self.devices}
        for part in name.split("."):
            components = cast("Mapping[str, Any]", device.get("components") or {})
            if part not in components:
                raise UnknownDevice(f"the queue server allows no device {name!r}{_hint(name, self.devices)}")
            device = components[part]
        if moves and not device.get("is_movable"):
            raise UnknownDevice(f"{name!r} of the queue server has no set, so it cannot be an actuator")
        if not moves and not device.get("is_readable"):
            raise UnknownDevice(f"{name!r} of the queue server cannot be read, so it cannot be a sensor")

    def list_devices(self) -> list[DeviceInfo]:
        """Return the devices, without their components."""
        return [
            DeviceInfo(name=name, moves=device.get("is_movable"), reads=device.get("is_readable"))
            for name, device in sorted(self.devices.items())
        ]

    def check_item(self, item: Mapping[str, Any]) -> None:
        """Raise `UnknownPlan` when the queue server would refuse an item for the types of its arguments."""
        try:
            from bluesky_queueserver import validate_plan  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
        except ImportError:  # the manager says it when the plan's turn has come
            return
        plan = {key: value for key, value in item.items() if key != "meta"}
        valid, why = validate_plan(plan, allowed_plans=self.plans, allowed_devices=self.devices)
        if not valid:
            what = str(why).partition("\nPlan:")[0]
            raise UnknownPlan(f"the queue server would refuse plan {item['name']!r}: {texts.one_line(what)}")

    @property
    def move(self) -> str | None:
        """The plan that moves, if one is allowed."""
        return next((name for name in MOVES if name in self.plans), None)


def _hint(name: str, there: Iterable[str]) -> str:
    """Return what follows a name that is not there, where there is one like it."""
    return f"; {like}" if (like := near(name, there).rstrip()) else ""


class UnknownGroup(Refusal):
    """The permissions of the queue server have no such group of users: no plan of ours is ever allowed."""


class Allowed:
    """Asks for the lists when they have changed. Belongs to the event loop."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._uids: tuple[object, ...] = ()
        self._lists: Lists | None = None

    async def lists(self) -> Lists:
        """Return what is allowed now; raises `Silent`."""
        await self._manager.look()
        uids = tuple(self._manager.status.get(f"{kind}_allowed_uid") for kind in ("plans", "devices"))
        if self._lists is None or uids != self._uids:
            plans, devices = await self._ask("plans_allowed"), await self._ask("devices_allowed")
            self._lists, self._uids = Lists(plans, devices), uids
        return self._lists

    async def _ask(self, method: str) -> Mapping[str, Any]:
        answer = await self._manager.client.ask(method, within_s=10)
        if not answer.get("success"):
            why = str(answer.get("msg"))
            told = texts.one_line(f"the queue server does not say what it allows: {why}")
            if "user group" in why:
                raise UnknownGroup(f"{told}; write one that it has as sink.user_group")
            raise Refusal(told)
        return cast("Mapping[str, Any]", answer.get(method) or {})


def ways_in(spec: AgentSpec, *, sessions: bool) -> Iterator[tuple[str, UnknownDevice]]:
    """Yield the ways to components where a specification has to say own names, each with its field; asks nobody.

    Actuators go by those, for points do; and with ``sessions`` sensors, which are found by what they call themselves.
    """
    if is_named(spec.plan) and not sessions:  # it is told its devices anew each time, in words of its own
        return
    for field, names in {"actuators": spec.actuators, "sensors": spec.sensors if sessions else ()}.items():
        for name in names:
            if "." in name:
                own = name.replace(".", "_")
                why = (
                    f"{name!r} is the way to a component, and a queue server does not tell what that calls itself, as "
                    f"points and documents say; give it a variable of that name in the profile ({own} = {name}, where "
                    f"it is {own}), and write {own!r} here"
                )
                yield field, UnknownDevice(why, errors=[FieldError(field, why)])


def wrong_in(spec: AgentSpec, lists: Lists, *, sessions: bool) -> Iterator[tuple[str, InvalidInput]]:
    """Yield what keeps a queue server from running a specification's plans, each with the field that it is in."""
    if is_named(spec.plan) and not sessions:  # looked for when its turn has come
        return
    ways = list(ways_in(spec, sessions=sessions))
    yield from ways
    looked_for: list[tuple[str, Callable[[], None]]] = [("plan", partial(lists.check_plan, spec.plan))]
    looked_for += [("actuators", partial(lists.check_device, name, moves=True)) for name in spec.actuators]
    looked_for += [("sensors", partial(lists.check_device, name, moves=False)) for name in spec.sensors]
    point: Point = dict.fromkeys(spec.actuators, 0.0)
    order = PlanOrder("id", spec.name, point, spec.plan, tuple(spec.actuators), tuple(spec.sensors))
    item = item_of(order, {}, user_md={})
    if sessions:
        looked_for.append(("plan", partial(lists.check_plan, SESSION)))
        item = session_item(session_order(order), "", service="", idle_s=1)
    looked_for.append(("plan", partial(lists.check_item, item)))
    wrong = bool(ways)
    for number, (field, look) in enumerate(looked_for):
        if wrong and number == len(looked_for) - 1:  # it would say the same again
            return
        try:
            look()
        except InvalidInput as error:
            wrong = True
            yield field, error


def ask(section: QueueServerSection, specs: Sequence[AgentSpec]) -> Iterator[tuple[str, str]]:
    """Yield what the queue server says against serving ``specs``, each with its place in service.toml; blocks."""
    manager = Manager(client_of(section))

    async def look() -> tuple[Lists, bool]:
        try:
            lists = await Allowed(manager).lists()
        finally:
            await manager.client.close()
        return lists, bool(manager.status.get("worker_environment_exists"))

    try:
        lists, opened = asyncio.run(look())
    except Silent as silent:
        hint = "; start it, or give its address as sink.control or sink.url"
        yield "sink", f"{silent}{'' if isinstance(silent, Refusal) else hint + manager.client.key_hint}"
        return
    if not opened:
        yield "sink", "the environment of the queue server is closed; open it there, or no plan begins"
    for number, spec in enumerate(specs):
        for field, error in wrong_in(spec, lists, sessions=section.per_item == "session"):
            yield f"agents.{number}.{field}", error.detail
