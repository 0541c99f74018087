"""The variables of a start-up script of bluesky-adaptive 0.x: what it registered, read and set one call at a time.

A getter or setter is the script's own code and may take any time: each call has a thread of its own, and nobody waits
for another variable's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service import context
from agent_service.brains.adapters.json_values import Unfit, json_safe
from agent_service.errors import AgentFault, BackendUnavailable, DeadlineExceeded, InvalidInput, NotFound, texts
from agent_service.executors.detached import run_detached
from agent_service.models.spelling import near

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

ANSWERS_WITHIN_S: Final = 30.0
"""How long a request waits for a getter or a setter; the call goes on after that."""

MOST_WAITING: Final = 100
"""How many values may wait to be set in one variable."""


@dataclass(eq=False, slots=True)
class ScriptVariable:
    """A variable as the script registered it: by its getter and setter, else by the entry or attribute of an object.

    ``pv_type`` is ``str``, ``int``, ``float`` or ``bool`` where it is a PV too, ``pv_max_length`` the most characters
    or elements of that.
    """

    name: str
    target: Any = None
    key: str | None = None
    getter: Callable[[], object] | None = None
    setter: Callable[[Any], object] | None = None
    pv_type: str | None = None
    pv_max_length: int | None = None
    _reading: asyncio.Future[JsonValue] | None = field(default=None, init=False)
    _next: asyncio.Future[JsonValue] | None = field(default=None, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _waiting: int = field(default=0, init=False)

    async def read(self) -> JsonValue:
        """Return its value, as JSON can hold it.

        Who asks while it is being read gets what a later call says, so that nobody hears of a time before they asked;
        all who ask meanwhile share that call. Raises `InvalidInput` when it can only be set, `NotFound` when its object
        has no such entry, `AgentFault` when its getter raised or returned what JSON cannot hold, `DeadlineExceeded`
        when that takes too long.
        """
        if self._next is None:
            self._next = asyncio.ensure_future(self._read_after(self._reading))
            self._next.add_done_callback(_retrieve)
        return await _in_time(self._next, f"reading variable {self.name!r}")

    async def _read_after(self, other: asyncio.Future[JsonValue] | None) -> JsonValue:
        if other is not None:
            await asyncio.wait({other})
        self._reading, self._next = self._next, None
        return await self._called(self._get, "getter")

    async def write(self, value: JsonValue) -> JsonValue:
        """Set it, after who asked before, and return what its setter returned.

        Where that is None and it has a getter, what that says by now. Raises `InvalidInput` when it is read-only or its
        setter refused the value, `NotFound` when its object has no such entry, `BackendUnavailable` when too many wait,
        `DeadlineExceeded` when it takes too long: it is set all the same.
        """
        if self._waiting >= MOST_WAITING:
            raise BackendUnavailable(f"{MOST_WAITING} values wait to be set in variable {self.name!r}; try again later")
        self._waiting += 1
        setting = asyncio.ensure_future(self._write_in_turn(value))
        setting.add_done_callback(_retrieve)
        return await _in_time(setting, f"setting variable {self.name!r}")

    async def _write_in_turn(self, value: JsonValue) -> JsonValue:
        try:
            async with self._turn:
                result = await self._called(lambda: self._set(value), "setter")
        finally:
            self._waiting -= 1
        return await self.read() if result is None and self.setter and self.getter else result

    async def _called(self, call: Callable[[], object], what: str) -> JsonValue:
        def attempt() -> JsonValue | Exception:
            try:
                return json_safe(call(), name=self.name, strict=True)
            except (InvalidInput, NotFound) as error:
                return error
            except Unfit as error:
                return AgentFault(f"variable {self.name!r} cannot be told: {error}")
            except BaseException as error:  # noqa: BLE001 - the script's own code, sys.exit in it too
                why = f"the {what} of variable {self.name!r} raised {texts.describe(error)}"
                return InvalidInput(why) if what == "setter" else AgentFault(why)

        work = context.for_whom(attempt, approves=what == "setter")
        result = await run_detached(work, name=f"{what} of {self.name}")
        if isinstance(result, Exception):
            raise result
        return result

    def _get(self) -> object:
        if self.getter is not None:
            return self.getter()
        key = self._key_to("read")
        return self.target[key] if self._is_entry else getattr(self.target, key)

    def _set(self, value: JsonValue) -> object:
        if self.setter is not None:
            return self.setter(value)
        key = self._key_to("set")
        if self._is_entry:
            self.target[key] = value
        else:
            setattr(self.target, key, value)
        return value

    @property
    def _is_entry(self) -> bool:
        """Whether it is an entry of a mapping that is there, and not an attribute."""
        target: object = self.target
        return isinstance(target, Mapping) and self.key in cast("Mapping[Any, Any]", target)

    def _key_to(self, what: str) -> str:
        """Return the key of an entry or attribute that is there; raise what says why it cannot be read or set."""
        if self.target is None or self.key is None:
            has = (
                "only a setter"
                if self.setter is not None
                else "only a getter"
                if self.getter is not None
                else "nothing"
            )
            raise InvalidInput(f"variable {self.name!r} cannot be {what}: the script registered it with {has}")
        if not self._is_entry and not hasattr(self.target, self.key):
            kind = type(self.target).__name__
            raise NotFound(f"variable {self.name!r} stands for {self.key!r} of a {kind}, which is not there")
        return self.key


class ScriptVariables:
    """What the script of this process registered, by name; ``script`` is what it is called, None where none is served.

    Registered from the script's threads, read and set on the event loop.
    """

    def __init__(self) -> None:
        self.script: str | None = None
        self._variables: dict[str, ScriptVariable] = {}

    def add(self, variable: ScriptVariable) -> None:
        """Register a variable, in the place of one of that name."""
        self._variables[variable.name] = variable

    def all(self) -> list[ScriptVariable]:
        """Return the variables, in the order in which they were registered."""
        return list(self._variables.values())

    def get(self, name: str) -> ScriptVariable:
        """Return a variable; raises `NotFound`."""
        self.require()
        if name not in self._variables:
            names = list(self._variables)
            there = f"it registered {', '.join(names)}" if names else "it registered none"
            raise NotFound(f"{self.script} registered no variable {name!r}; {near(name, names)}{there}")
        return self._variables[name]

    def require(self) -> None:
        """Raise `NotFound` unless a script is served."""
        if self.script is None:
            raise NotFound(
                "no start-up script of bluesky-adaptive 0.x is served here; serve one with agent-service serve "
                "--legacy SCRIPT, or use the routes below /api/v1, which /docs lists"
            )


async def _in_time(work: asyncio.Future[JsonValue], what: str) -> JsonValue:
    done, _ = await asyncio.wait({work}, timeout=ANSWERS_WITHIN_S)
    if not done:
        raise DeadlineExceeded(f"{what} takes longer than {ANSWERS_WITHIN_S:g} s; it goes on, so ask again later")
    return work.result()


def _retrieve(work: asyncio.Future[Any]) -> None:
    """Look at what became of a call, for whoever asked may be gone."""
    if not work.cancelled():
        work.exception()
