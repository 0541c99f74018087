"""A real Dask cluster: a scheduler and workers in processes of their own, on loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

ENVIRONMENT = {
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED": "False",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "OPENBLAS_NUM_THREADS": "1",
}
_SERVES = {
    "scheduler": re.compile(r"Scheduler at: +(\S+)"),
    "worker": re.compile(r"Registered to: +(\S+)"),
}


class DaskProcess:
    """A scheduler or a worker; ended by its process id, with what it started."""

    def __init__(self, kind, log, *arguments, path=(), popen=subprocess.Popen):
        found = os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")])
        self._log, self._kind = log, kind
        with log.open("wb") as out:
            self._child = popen(
                [sys.executable, "-m", "distributed.cli.dask_" + kind, "--no-dashboard", *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env={**os.environ, **ENVIRONMENT, "PYTHONPATH": found},
                start_new_session=True,
            )
        self.pid = self._child.pid

    def ready(self, within_s=170):
        """Return the address of the scheduler when it serves, or when the worker has found it."""
        deadline = time.monotonic() + within_s
        while not (found := _SERVES[self._kind].search(self.log)):
            assert self._child.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return found[1]

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    @property
    def address(self):
        """Where a worker listens."""
        return re.search(r"Start worker at: +(\S+)", self.log)[1]

    def send(self, number):
        os.killpg(self.pid, number)

    def kill(self):
        if self._child.poll() is None:
            for number in (signal.SIGCONT, signal.SIGKILL):
                self.send(number)
        self._child.wait(20)


class DaskCluster:
    """A scheduler and workers, each with what it offers, as ``"GPU=1"``; ``popen`` starts them."""

    def __init__(self, folder: Path, *, offers=("", ""), path=(), tls=(), popen=subprocess.Popen):
        self._folder, self._tls = folder, tls
        self._start = partial(DaskProcess, path=path, popen=popen)
        self._protocol = "tls" if tls else "tcp"
        self.workers = []
        self.address = ""
        self.scheduler = None
        try:
            self.start_scheduler()
            for offer in offers:
                self.start_worker(offer, wait=False)
            for worker in self.workers:
                worker.ready()
        except BaseException:
            self.close()
            raise

    def start_scheduler(self):
        """Start one, where the last one was if there was one."""
        port = self.address.rpartition(":")[2] or "0"
        log = self._folder / f"scheduler-{time.monotonic_ns()}.log"
        host = f"{self._protocol}://127.0.0.1" if self._tls else "127.0.0.1"
        arguments = ["--host", host, "--port", port, *self._tls]
        self.scheduler = self._start("scheduler", log, *arguments)
        self.address = self.scheduler.ready()

    def start_worker(self, offer="", *, wait=True):
        name = f"w{time.monotonic_ns()}"
        arguments = [self.address, "--no-nanny", "--nthreads", "1", "--name", name, "--memory-limit", "0"]
        arguments += ["--host", "tls://127.0.0.1" if self._tls else "127.0.0.1", *self._tls]
        arguments += ["--local-directory", str(self._folder), *(["--resources", offer] if offer else [])]
        worker = self._start("worker", self._folder / f"{name}.log", *arguments)
        worker.offers = offer
        self.workers.append(worker)
        if wait:
            worker.ready()
        return worker

    def worker_at(self, address):
        return next(worker for worker in self.workers if worker.address == address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in filter(None, (*self.workers, self.scheduler)):
            process.kill()
