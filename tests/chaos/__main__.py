"""Kill parts of an arrangement as often as you like: ``python -m tests.chaos service --kills 100 --seed 7``.

Each name is a module here with ``chaos(folder, *, kills, seed)``; it raises when something was lost, doubled or wrong.
"""

from __future__ import annotations

import argparse
import importlib
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

ARRANGEMENTS = (
    *("service", "queueserver", "sessions", "kafka", "nats", "zmq", "tiled", "blueapi", "beam", "engine"),
    *("dask", "postgresql", "takeover", "takeover_nats"),
)
GROUPS = {"scale": ("dask", "postgresql", "takeover", "takeover_nats")}
"""Several by one name."""


def main() -> None:
    """Kill what was named, or the service; the folder of one that fails is kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("arrangements", nargs="*", metavar="arrangement", help=", ".join((*ARRANGEMENTS, *GROUPS)))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    chosen = [name for given in arguments.arrangements for name in GROUPS.get(given, (given,))]
    if unknown := sorted(set(chosen) - set(ARRANGEMENTS)):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join((*ARRANGEMENTS, *GROUPS))}")
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    for name in chosen or ("service",):
        folder = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
        importlib.import_module(f"tests.chaos.{name}").chaos(folder, kills=arguments.kills, seed=seed)
        shutil.rmtree(folder)
        print(f"chaos {name}: all is well")


if __name__ == "__main__":
    main()
