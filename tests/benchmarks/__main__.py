"""Print all ratios; ``python -m tests.benchmarks [status_reads closed_loop start_up]``."""

import importlib
import platform
import sys
import tempfile
from pathlib import Path


def main():
    """Measure what was asked for, or everything."""
    names = sys.argv[1:] or ["status_reads", "closed_loop", "start_up"]
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {len(__import__('os').sched_getaffinity(0))} cores"
    )
    for name in names:
        module = importlib.import_module(f"tests.benchmarks.{name}")
        with tempfile.TemporaryDirectory() as folder:
            for line in module.measure(Path(folder)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
