"""Objects for executors to host: honest ones, and ones that die. Imports little, for a child imports it."""

import ctypes
import logging
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from agent_service.errors import FieldError, InvalidConfig, NotFound
from agent_service.executors.notices import progress


class Gate:
    """Something to wait for that works in a process, too."""

    def __init__(self, path):
        self.path = str(path)

    def open(self):
        Path(self.path).touch()

    def wait(self):
        while not Path(self.path).exists():
            time.sleep(0.005)


class HostedObject:
    def __init__(self):
        self.calls = []
        self.thread = threading.current_thread().ident

    def add(self, number):
        assert threading.current_thread().ident == self.thread, "called in another thread than it was built in"
        self.calls.append(number)
        return sum(self.calls)

    def wait(self, gate):
        gate.wait()
        self.calls.append("late")
        return "late"

    def process(self):
        return os.getpid()

    def echo(self, *things):
        return things

    def fail(self):
        msg = "first line\nsecond line"
        raise ValueError(msg)

    def leave(self):
        sys.exit(3)

    def not_found(self):
        raise NotFound("there is no such variable")

    def invalid(self):
        raise InvalidConfig("no", errors=[FieldError("config.gain", "is missing")], legal=["stop"])

    def nameless(self):
        class Nameless(Exception):
            def __str__(self):
                msg = "nor has this"
                raise RuntimeError(msg)

        raise Nameless

    def undecodable(self):
        raise FileNotFoundError(2, "No such file", "model-\udc80.pt")

    def tell(self, steps, lines=0):
        for step in range(steps):
            progress(step + 1, steps, "fitting")
        for line in range(lines):
            logging.getLogger("guest").info("line %d", line)
        return steps


def unborn():
    msg = "no licence"
    raise OSError(msg)


class Mortal:
    """Dies in many ways, and shows where it lives."""

    def __init__(self):
        self.children = []

    def pid(self):
        return os.getpid()

    def variable(self, name):
        return os.environ.get(name)

    def compile(self):
        """Leave a lock where torch compiles, as a killed compilation does, and say where."""
        folder = Path(os.environ["TORCH_EXTENSIONS_DIR"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lock").touch(exist_ok=False)
        return str(folder)

    def give(self, what):
        return {"lock": threading.Lock(), "pid": os.getpid()}[what]

    def echo(self, thing):
        return thing

    def babble(self, nonsense):
        """Write to the connection to the service, as a library does that takes its descriptor for another."""
        for link in Path("/proc/self/fd").iterdir():
            if link.is_symlink() and str(link.readlink()).startswith("socket:"):
                os.write(int(link.name), nonsense)

    def kill(self, number):
        os.kill(os.getpid(), number)

    def segfault(self):
        ctypes.string_at(0)

    def leave(self, code):
        os._exit(code)

    def spin(self):
        while True:
            pass

    def eat(self, megabytes):
        return len(bytes(megabytes << 20))

    def draw(self):
        import numpy as np

        return random.random(), float(np.random.default_rng(0).random()), float(np.random.random())  # noqa: NPY002

    def look(self):
        return {
            "nice": os.nice(0),
            "threads": os.environ["OMP_NUM_THREADS"],
            "folder": str(Path.cwd()),
            "path": sys.path,
            "parents": os.getsid(0) == os.getpid(),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())) - 1,
        }

    def spawn(self):
        self.children.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]))
        return self.children[-1].pid

    def shout(self, lines):
        for number in range(lines):
            print("line", number, "x" * 100)
        return lines
