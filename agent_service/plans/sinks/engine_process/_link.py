"""The connection to the RunEngine's process: requests, answers, and the next process when one has ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, ServiceError, UsageError
from agent_service.plans.sinks.engine_process._frames import FrameProtocol
from agent_service.plans.sinks.engine_process._messages import unpacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.plans.sinks.engine_process._frames import Message
    from agent_service.plans.sinks.engine_process._launcher import EngineLauncher
    from agent_service.plans.sinks.engine_process._messages import Hello
    from agent_service.plans.sinks.engine_settings import EngineSettings

ANSWERS_WITHIN_S: Final = 30.0
"""How long the process may take to answer a question about devices or plans; it may have to import modules."""

_QUITS_WITHIN_S: Final = 5.0
_SAID_WITHIN_S: Final = 0.05

_log = logging.getLogger(__name__)


class EngineLink:
    """Speaks to the process, which said ``hello`` first; belongs to the event loop, but for what says otherwise.

    ``on_message`` is called with each message that is no answer, ``on_lost`` with how the process ended.
    """

    def __init__(self, launcher: EngineLauncher) -> None:
        self._launcher = launcher
        self._loop = asyncio.get_running_loop()
        self._protocol: FrameProtocol | None = None
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._unsent: list[Message] = []
        self._flushes = False
        self._later: asyncio.TimerHandle | None = None
        self._killed: str | None = None
        self._let_go = False
        self.hello: Hello | None = None
        self.on_message: Callable[[Message], None] = lambda message: None
        self.on_lost: Callable[[str], None] = lambda how: None
        self._hung_up = asyncio.Event()
        self._losing: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether there is a process that said hello."""
        return self._protocol is not None and self._protocol.open and self.hello is not None

    @property
    def takes_plans(self) -> bool:
        """Whether it takes plans, too: it is not about to end."""
        return self.up and self.hello is not None and not self.hello.quitting

    async def open(self, settings: EngineSettings) -> Hello:
        """Take over the process that is there, or start one; return when it has its startup.

        Raises
        ------
        UsageError
            The startup cannot be loaded.
        BackendUnavailable
            There can be no process.
        """
        if (connection := await self._launcher.connect()) is not None:
            try:
                async with asyncio.timeout(ANSWERS_WITHIN_S):
                    hello = await self._greet(connection)
            except (BackendUnavailable, UsageError, TimeoutError) as error:
                why = error.detail if isinstance(error, ServiceError) else f"no word in {ANSWERS_WITHIN_S:g} s"
                _log.warning("the RunEngine's process of before is of no use, and is killed: %s", why)
                await asyncio.to_thread(self._launcher.kill_other)  # two would move the same devices
            else:
                same = hello.digest == self._launcher.digest
                if (same and not hello.quitting) or hello.orders or hello.runs:
                    if not same:
                        _log.warning(
                            "what was under way ends with the startup and version of before; the next start takes the "
                            "new"
                        )
                    self._launcher.discard_early()
                    return hello
                if not await self.quit():
                    self.leave()
                    await asyncio.to_thread(self._launcher.kill_other)
        elif await asyncio.to_thread(self._launcher.kill_other):
            _log.warning(
                "the RunEngine's process of before could not be reached, as after its socket was removed; killed"
            )
        return await self._greet(await self._launcher.launch(settings))

    async def _greet(self, connection: Any) -> Hello:
        self.hello, self._killed, self._unsent, self._let_go = None, None, [], False
        self._hung_up.clear()
        greeted: asyncio.Future[Hello] = self._loop.create_future()

        def heard(message: Message) -> None:
            self._hear(message, greeted)

        def lost() -> None:
            self._losing = self._loop.create_task(self._lose(greeted))

        try:
            _, self._protocol = await self._loop.create_unix_connection(
                lambda: FrameProtocol(heard, lost), sock=connection
            )
            self.hello = await greeted
        except BaseException:
            if self._protocol is not None:
                self._protocol.close()
            self._launcher.discard()
            raise
        return self.hello

    def _hear(self, message: Message, greeted: asyncio.Future[Hello]) -> None:
        match message:
            case ("hello", hello):
                if not greeted.done():
                    greeted.set_result(hello)
            case ("failed", why):
                if not greeted.done():
                    greeted.set_exception(UsageError(why))
            case ("answer", call, result, error):
                future = self._calls.pop(call, None)
                if future is not None and not future.done():
                    if error is None:
                        future.set_result(result)
                    else:
                        future.set_exception(unpacked(error))
            case ("log", level, name, text):
                logging.getLogger(name).log(level, "%s", text)
            case _:
                self.on_message(message)

    async def _lose(self, greeted: asyncio.Future[Hello]) -> None:
        """Note that the process has hung up."""
        was_up, self.hello = self.hello is not None, None
        how = await self._launcher.how_it_ended()
        how = f"{how} ({self._killed})" if self._killed else how
        self._hung_up.set()
        error = BackendUnavailable(f"the RunEngine's process {how}")
        calls, self._calls = self._calls, {}
        for future in calls.values():
            if not future.done():
                future.set_exception(error)
        if not greeted.done():
            greeted.set_exception(
                UsageError(
                    f"{error.detail} while it loaded the startup; {self._launcher.log} ends: {self._launcher.output()}"
                )
            )
        elif was_up and not self._let_go:
            self.on_lost(how)

    # what is said -------------------------------------------------------------------------------------------------

    def send(self, *messages: Message) -> None:
        """Send messages, in one frame with what is said besides in this turn of the loop, if there is a process."""
        self._unsent += messages
        if not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    def send_later(self, *messages: Message) -> None:
        """Send what nobody waits for, in one frame with what is said next, or soon."""
        self._unsent += messages
        if self._later is None and not self._flushes:
            self._later = self._loop.call_later(_SAID_WITHIN_S, self._flush)

    def _flush(self) -> None:
        self._flushes = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        messages, self._unsent = self._unsent, []
        if self._protocol is not None and messages:
            self._protocol.send(messages)

    def tell(self, method: str, *args: Any) -> None:
        """Have the process do something, and wait for no answer; the next process is told anew by who cares."""
        self.send(("call", 0, method, args))

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Return what the process answers.

        Raises
        ------
        BackendUnavailable
            There is no process, it ended meanwhile, or does not answer in time: it is told not to begin with it then.
        ServiceError
            What it says.
        """
        if not self.up:
            raise BackendUnavailable("the RunEngine's process is being started again; try again")
        number = next(self._numbers)
        self._calls[number] = future = self._loop.create_future()
        self.send(("call", number, method, args))
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            self.send(("call off", number))
            raise BackendUnavailable(
                f"the RunEngine's process does not answer within {timeout_s:g} s: a device or a plan may hold its "
                "interpreter"
            ) from None
        finally:
            self._calls.pop(number, None)

    def ask(self, method: str, *args: Any, timeout_s: float = ANSWERS_WITHIN_S) -> Any:
        """Do what `call` does with a question about devices and plans, and block; from another thread."""
        asked = asyncio.run_coroutine_threadsafe(self.call("ask", method, *args, timeout_s=timeout_s), self._loop)
        return asked.result()

    def kill(self, why: str) -> None:
        """Kill the process, and what it started."""
        if self.hello is not None:
            self._killed = why
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(OSError):
                    kill(self.hello.pid, signal.SIGKILL)

    async def quit(self, within_s: float = _QUITS_WITHIN_S) -> bool:
        """Let the process end, when it has handed over what it has; return whether it did in time."""
        self._let_go = True
        self.tell("quit")
        return await self.gone(within_s)

    async def gone(self, within_s: float = _QUITS_WITHIN_S) -> bool:
        """Wait until the process has ended; return whether it did in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._hung_up.wait()
                return True
        return False

    def leave(self) -> None:
        """Hang up, and leave the process to itself."""
        self._flush()
        if self._protocol is not None:
            self._protocol.close()
        self._launcher.let_go()
