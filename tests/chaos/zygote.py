"""Starts services quickly: a process that has imported everything forks one for each life.

It reads ``start``, ``kill`` and ``term``, a line each, and answers each with a line when it is done.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class Zygote:
    """The parent of services, as their test sees it."""

    def __init__(self, folder: Path, *path: Path) -> None:
        found = os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")])
        self.service = 0
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote", "serve", str(folder / "service.toml")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": found, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, word: str) -> int:
        """Start a service, kill it, or end it; returns its process id, or its exit code."""
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
        self._child.wait(20)
        self._child.stdout.close()


def main() -> None:
    """Import, then do as told until the pipe ends."""
    import bluesky.plans  # noqa: F401
    import scipy.stats.qmc  # noqa: F401

    import agent_service.cli
    import agent_service.plans.beamline
    import agent_service.server.app

    assert threading.active_count() == 1, "a thread would not survive the fork"
    pid = 0
    for line in sys.stdin:
        match line.strip():
            case "start":
                pid = os.fork()
                if pid == 0:
                    _serve(agent_service.cli.main)
                answer = pid
            case "kill":
                answer, pid = _end(pid, signal.SIGKILL), 0
            case _:
                answer, pid = _end(pid, signal.SIGTERM), 0
        print(answer, flush=True)
    if pid:
        _end(pid, signal.SIGKILL)


def _serve(serve) -> None:
    code = 1
    try:
        os.close(0)
        log = os.open("service.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        serve()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def _end(pid: int, number: int) -> int:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
