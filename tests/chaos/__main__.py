"""Kill a service as often as you like: ``python -m tests.chaos --kills 100 --seed 7``.

Names and values of devices are drawn at random then, twice as many as there were kills.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))


def main() -> None:
    """Make one storm, and measure what is drawn; the folder is kept when it fails."""
    from .names import measure
    from .storm import storm

    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    (folder / "storm").mkdir()
    (folder / "names").mkdir()
    storm(folder / "storm", kills=arguments.kills, seed=seed)
    measure(folder / "names", examples=2 * arguments.kills, number=seed)
    shutil.rmtree(folder)
    print("chaos: all is well")


if __name__ == "__main__":
    main()
