"""What the archive child hears from the service: commands, and the end of the pipe when the service is gone."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import IO, TYPE_CHECKING

from pydantic import ValidationError

from agent_service.archive.messages import Forget, Question, Stop, ToChild, to_child

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)


class Inbox:
    """Reads the service's commands from a pipe, in a thread of its own.

    The process exits at once when the pipe ends, however the service ended: the next child replaces half-written runs.
    It also exits at once on `Stop` as long as nobody called `settle`, for an import takes seconds.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._commands: queue.SimpleQueue[ToChild] = queue.SimpleQueue()
        self._settled = threading.Event()
        self.stopping = threading.Event()
        threading.Thread(target=self._read_forever, name="inbox", daemon=True).start()

    def settle(self) -> None:
        """Say that from now on somebody looks at `stopping`."""
        self._settled.set()
        if self.stopping.is_set():
            os._exit(0)

    def commands(self, *, timeout_s: float = 0.0) -> Iterator[Question | Forget]:
        """Yield the commands that came, after waiting up to ``timeout_s`` for the first one; ends early on a stop."""
        try:
            command = self._commands.get(timeout=timeout_s) if timeout_s else self._commands.get_nowait()
            while True:
                if not isinstance(command, Stop):
                    yield command
                command = self._commands.get_nowait()
        except queue.Empty:
            return

    def _read_forever(self) -> None:
        for line in self._pipe:
            try:
                command = to_child.validate_json(line)
            except ValidationError:
                _log.warning("a command was not understood: %r", line[:200])
                continue
            if isinstance(command, Stop):
                self.stopping.set()
                if not self._settled.is_set():
                    os._exit(0)
            self._commands.put(command)
        os._exit(0)
