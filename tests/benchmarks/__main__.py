"""Print all ratios, or some: ``python -m tests.benchmarks closed_loop reads``."""

import importlib
import platform
import sys
import tempfile
from pathlib import Path

ALL = [
    "reads",
    "latency",
    "calls",
    "closed_loop",
    "events",
    "streams",
    "many_agents",
    "recovery",
    "start_up",
    "engine",
    "beam_idle",
    "filling",
    "sessions",
    "restart",
    "scale",
    "migration",
    "relay",
]


def main():
    """Measure what was asked for, or everything."""
    names = sys.argv[1:] or ALL
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {len(__import__('os').sched_getaffinity(0))} cores"
    )
    for name in names:
        module = importlib.import_module(f"tests.benchmarks.{name}")
        print(f"{name}: wanted {module.WANTED}")
        with tempfile.TemporaryDirectory() as folder:
            for line in module.measure(Path(folder)):
                print(f"    {line}", flush=True)


if __name__ == "__main__":
    main()
