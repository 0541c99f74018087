"""The script's variables as PVs, with the service's state, its heartbeat and a stop: a CA server by caproto, if told.

``PREFIX:NAME`` sets a variable that has a ``pv_type``, ``PREFIX:NAME_RBV`` says what it is. ``PREFIX:SERVICE_STATE`` is
the state of the queue, ``PREFIX:SERVICE_HEARTBEAT`` counts seconds, and 1 written to ``PREFIX:SERVICE_STOP`` aborts
everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service import context
from agent_service.errors import ServiceError, UsageError, texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from agent_service.plans.plan_queue import PlanQueue
    from agent_service.service.script_variables import ScriptVariable, ScriptVariables
    from agent_service.service.source_sections import EpicsSection

UPDATED_EVERY_S: Final = 0.2
"""How long a PV may lag behind its variable."""

_log = logging.getLogger(__name__)


class EpicsServer:
    """Serves PVs where ``section`` names a prefix; belongs to the event loop."""

    def __init__(self, section: EpicsSection, variables: ScriptVariables, queue: PlanQueue) -> None:
        self._section = section
        self._variables = variables
        self._queue = queue
        self._tasks: list[asyncio.Task[None]] = []
        self._served: dict[str, ScriptVariable] = {}
        self._pvs: dict[str, Any] = {}
        self._caproto: Any = None

    async def start(self) -> None:
        """Begin to serve; `UsageError` when caproto is not installed."""
        if self._section.prefix is None:
            return
        try:
            self._caproto = importlib.import_module("caproto")
            server: Any = importlib.import_module("caproto.asyncio.server")
        except ImportError:
            raise UsageError("[epics] needs caproto: pip install 'bluesky-agent-service[epics]'") from None
        state = self._readback("str", None, "")
        heartbeat = self._readback("int", None, 0)
        self._pvs |= {
            self._name("SERVICE_STATE"): state,
            self._name("SERVICE_HEARTBEAT"): heartbeat,
            self._name("SERVICE_STOP"): self._channel("int", None, 0, self._stop),
        }
        serving = server.start_server(self._pvs, interfaces=list(self._section.interfaces))
        self._begin(serving, "the PVs are not served any more")
        self._begin(self._beat(state, heartbeat), "the heartbeat ended, and no new variable becomes a PV")

    async def stop(self) -> None:
        """Serve no more; harmless the second time."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None], failure: str) -> None:
        """Begin a task; should it fail, the log says ``failure``."""

        def tell(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("%s: %s", failure, texts.describe(error), exc_info=error)

        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        task.add_done_callback(tell)

    async def _beat(self, state: Any, heartbeat: Any) -> None:
        count = 0
        while True:
            self._add_variables()
            await state.write(str(self._queue.status.state), verify_value=False)
            await heartbeat.write(count % 2**31, verify_value=False)
            count += 1
            await asyncio.sleep(1)

    async def _stop(self, value: Any) -> Any:
        if value:
            await self._queue.abort("by its PV")
        return 0

    def _add_variables(self) -> None:
        """Make PVs of the variables that have none yet, and of those that were registered anew."""
        for variable in self._variables.all():
            if variable.pv_type is None or self._served.get(variable.name) is variable:
                continue
            self._served[variable.name] = variable
            try:
                self._add(variable, variable.pv_type)
            except Exception as error:  # noqa: BLE001 - caproto's, of what the script said; the others are PVs all the same
                _log.warning("variable %s is no PV: %s", variable.name, texts.describe(error))

    def _add(self, variable: ScriptVariable, kind: str) -> None:
        name, length = self._name(variable.name.upper()), variable.pv_max_length
        if name in self._pvs and name.endswith(("SERVICE_STATE", "SERVICE_HEARTBEAT", "SERVICE_STOP")):
            _log.warning("variable %s is no PV: the service has one of that name", variable.name)
            return
        if kind not in _FIRST:
            _log.warning("variable %s is no PV: pv_type is one of %s", variable.name, ", ".join(_FIRST))
            return
        readback = self._readback(kind, length, _FIRST[kind])
        setpoint = self._channel(kind, length, _FIRST[kind], variable.write)
        self._pvs |= {name: setpoint, f"{name}_RBV": readback}
        self._begin(
            self._follow(variable, setpoint, readback), f"the PVs of variable {variable.name} follow it no more"
        )

    async def _follow(self, variable: ScriptVariable, setpoint: Any, readback: Any) -> None:
        """Bring what a variable is to its PVs, each at its own pace: a slow getter holds up no other."""
        last: object = None
        while self._served.get(variable.name) is variable:
            with contextlib.suppress(ServiceError):  # who asks for it over HTTP is told; here it stays as it was
                value = await variable.read()
                if value is not None and value != last:
                    try:
                        await readback.write(_fit(value), verify_value=False)
                        await setpoint.write(_fit(value), verify_value=False)
                    except Exception as error:  # noqa: BLE001 - caproto's, for what is not of the PV's type
                        _log.warning("variable %s does not fit its PV: %s", variable.name, error)
                    last = value
            await asyncio.sleep(UPDATED_EVERY_S)

    def _name(self, name: str) -> str:
        return f"{self._section.prefix}:{name}"

    def _readback(self, kind: str, length: int | None, value: Any) -> Any:
        async def refuse(value: Any) -> Any:
            raise ValueError("this PV is read-only")

        return self._channel(kind, length, value, refuse)

    def _channel(self, kind: str, length: int | None, value: Any, put: Callable[[Any], Awaitable[Any]]) -> Any:
        """Return a channel that calls ``put`` with what a client writes, and takes what it returns."""
        several = length is not None and length > 1
        base = getattr(self._caproto, _CHANNELS[kind, several and kind == "str"])

        async def verify_value(channel: Any, data: Any) -> Any:
            plain: Any = data.tolist() if hasattr(data, "tolist") else data
            if not several and isinstance(plain, list | tuple) and plain:
                plain = cast("Sequence[Any]", plain)[0]
            if kind == "bool":
                plain = plain in (1, True, "On")
            token = context.enter("epics")  # who has no key, and gives no person's word
            try:
                answer = await put(plain)
            finally:
                context.leave(token)
            return data if answer is None else _fit(answer)

        made = type("Pv", (base,), {"verify_value": verify_value})
        about: dict[str, Any] = {"value": [value] if several and kind != "str" else value}
        if several:
            about["max_length"] = length
        if kind == "bool":
            about = {"value": "Off", "enum_strings": ["Off", "On"]}
        if kind == "str":
            about["string_encoding"] = "utf-8"
        return made(**about)


_FIRST: Final[dict[str, Any]] = {"str": "", "int": 0, "float": 0.0, "bool": False}
_CHANNELS: Final = {
    ("str", False): "ChannelString",
    ("str", True): "ChannelChar",
    ("int", False): "ChannelInteger",
    ("float", False): "ChannelDouble",
    ("bool", False): "ChannelEnum",
}


def _fit(value: Any) -> Any:
    return "On" if value is True else "Off" if value is False else value
