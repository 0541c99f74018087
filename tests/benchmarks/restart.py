"""CPU seconds until a brain knows 1000 points again, by family: from its saved state, and told everything.

Families whose library is not installed are passed over; with all of them, which takes minutes:
``.venv/brains/bin/python tests/benchmarks/restart.py``, with names of families for some.
"""

import contextlib
import importlib.util
import io
import logging
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

from agent_service.brains import types
from agent_service.brains.adapter import adapter_for
from agent_service.brains.messages import IngestFact, SuggestFact
from agent_service.models import AgentSpec

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "brains")]
from families import FAMILIES, Family

WANTED = "at most 3 CPU s for each"
POINTS = 1000
LIBRARIES = {"ax": "ax", "blop": "ax", "pool": "sklearn"}  # a family is called as its library is, but for these
BUILT_IN = {
    "bayes": Family("bayes", {"bounds": {"x": [-3, 3], "y": [-3, 3]}, "objective": "flux"}),
    "plain class": Family(f"{Path(__file__).stem}:Plain"),
}


class Plain:
    """Has what every brain must have, and nothing else."""

    def __init__(self):
        self.asked, self.points = 0, []

    def suggest(self, num_points=None):
        self.asked += num_points or 1
        return [{"x": self.asked / POINTS, "y": 0.0}] * (num_points or 1)

    def ingest(self, points):
        self.points += points


def measure(folder):
    """Yield a line for each family."""
    logging.disable(logging.INFO)
    with contextlib.chdir(folder), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        families = {**BUILT_IN, **FAMILIES}
        for name in sys.argv[1:] if __name__ == "__main__" and sys.argv[1:] else families:
            family, library = families[name], LIBRARIES.get(name, name.partition("_")[0])
            if name in BUILT_IN or importlib.util.find_spec(library) is not None:
                yield f"{name:16} {_line(family)}"


def _line(family):
    space = {"x": [-3, 3], "y": [-3, 3]}
    fields = {"config": family.config, "outcome": family.outcome, "space": space}
    spec = AgentSpec(name="a", type=family.type, actuators=["x", "y"], **fields)
    facts, draw = [], random.Random(1)
    for number in range(POINTS):
        point = {"x": draw.uniform(-3, 3), "y": draw.uniform(-3, 3)}
        outcome = {"flux": 1 - point["x"] ** 2 - point["y"] ** 2 + draw.gauss(0, 0.01), "width": (point["x"] + 1) ** 2}
        facts.append(SuggestFact((f"s{number}",), (point,), (None,)))
        facts.append(IngestFact(({**point, **outcome, "_id": f"s{number}"},)))
    before = _new(spec)
    told_s, _ = _cpu_s(lambda: before.replay(facts))
    dumped_s, state = _cpu_s(before.dump)
    after = _new(spec)
    restored_s, _ = _cpu_s(lambda: state and (after.restore(state), after.look()))
    equal = before.report().report == after.report().report if state else "not saved"
    return (
        f"from its state {restored_s:5.2f}, told everything {told_s:5.2f}, saving it {dumped_s:5.2f} "
        f"({len(state or b'') // 1000} kB), equal data: {equal}"
    )


def _new(spec):
    return adapter_for(types.resolve(spec.type).build(spec), spec=spec)


def _cpu_s(work):
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


if __name__ == "__main__":
    for line in measure(tempfile.mkdtemp()):
        print(line, flush=True)
