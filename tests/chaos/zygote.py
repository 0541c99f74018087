"""Starts services quickly: a process that has imported everything forks one for each life.

It reads ``import MODULE``, ``start``, ``wait``, ``kill`` and ``term``, a line each, and answers each with a line when
it is done. What a service starts, as its archive, is forked too.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import forked_python

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Zygote:
    """The parent of services, as their test sees it; ``imports`` is what their processes need besides."""

    def __init__(self, folder: Path, *path: Path, imports: Sequence[str] = ()) -> None:
        found = os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")])
        self.service = 0
        self._child = subprocess.Popen(
            # the process of a RunEngine is known by its command, which one that was forked has of this
            [sys.executable, "-X", "engine_process", "-m", "tests.chaos.zygote", "serve", str(folder / "service.toml")],
            cwd=folder,
            env={**os.environ, **forked_python.QUIET, "PYTHONPATH": found},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for module in imports:
            self._tell(f"import {module}")

    def tell(self, word: str) -> int:
        """Start a service, kill it, end it, or wait until it ends; returns its process id, or its exit code."""
        answer = self._tell(word)
        if word == "start":
            self.service = answer
        return answer

    def _tell(self, word: str) -> int:
        self._child.stdin.write(word + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        assert answer, "the zygote ended"
        return int(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stdin.close()  # it kills the service that is left
        self._child.wait(120)
        self._child.stdout.close()


def main() -> None:
    """Import, then do as told until the pipe ends."""
    import bluesky.plans  # noqa: F401
    import scipy.stats.qmc  # noqa: F401

    import agent_service.cli
    import agent_service.plans.beamline
    import agent_service.server.app

    pid = answer = 0
    for line in sys.stdin:
        match line.split():
            case ["import", module]:
                importlib.import_module(module)
            case ["start"]:
                forked_python.require_one_thread()
                pid = os.fork()
                if pid == 0:
                    _serve(agent_service.cli.main)
                answer = pid
            case ["wait"]:
                answer, pid = _end(pid, 0), 0
            case ["kill"]:
                answer, pid = _end(pid, signal.SIGKILL), 0
            case _:
                answer, pid = _end(pid, signal.SIGTERM), 0
        print(answer, flush=True)
    if pid:
        _end(pid, signal.SIGKILL)


def _serve(serve) -> None:
    with forked_python.ends_process():
        os.close(0)
        log = os.open("service.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        forked_python.fork_from_here()
        serve()


def _end(pid: int, number: int) -> int:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
