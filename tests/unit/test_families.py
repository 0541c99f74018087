"""Families of optimizers: found by the names of classes, brought by any package, and loaded by nobody else."""

import os
import subprocess
import sys
from pathlib import Path

import brainbox
import pytest

from agent_service.brains import families
from agent_service.brains.adapter import adapter_for, missing_methods
from agent_service.models import AgentSpec

SPEC = AgentSpec(name="a", type="t", actuators=["x"], outcome="y")

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "dice-brains"
version = "1.0"
[project.entry-points."agent_service.adapters"]
"dice.Die" = "dice_brains:DieBrain"
[tool.hatch.build.targets.wheel]
packages = ["dice_brains.py", "dice.py"]
"""
DICE = """
class Die:
    def __init__(self, sides: int = 6):
        self.sides, self.rolls = sides, []

    def roll(self):
        self.rolls.append(len(self.rolls) % self.sides + 1)
        return self.rolls[-1]

class Loaded(Die):
    pass
"""
DICE_BRAINS = """
from agent_service import method

class DieBrain:
    "A brain that rolls."

    def __init__(self, die, spec):
        self._die, self._name = die, spec.actuators[0]

    def suggest(self, num_points=None):
        return [{self._name: self._die.roll(), "_id": i} for i in range(num_points or 1)]

    def ingest(self, points):
        self._die.told = points

    @staticmethod
    def maker(factory):
        def make(*, faces: int):
            "Makes a die."
            return factory(sides=faces)

        return make
"""
ASK = """
import sys
from agent_service.brains import families, types
from agent_service.brains.adapter import adapter_for, missing_methods
from agent_service.brains.live_objects import register
from agent_service.models import AgentSpec

assert "dice" not in sys.modules
spec = AgentSpec(name="a", type="dice:Loaded", config={"faces": 3}, actuators=["x"], outcome="y")
found = types.resolve(spec.type)
assert "dice_brains" in sys.modules
found.validate(spec)
assert list(found.schema()["properties"]) == ["faces"], found.schema()
brain = found.build(spec)
assert type(brain).__name__ == "Loaded" and brain.sides == 3
adapter = adapter_for(brain, spec=spec)
assert [p.point["x"] for p in adapter.suggest(["s", "t"])[0]] == [1, 2]
adapter.ingest([{"x": 1, "y": 2.0, "_id": "s"}])
assert brain.told == [{"x": 1, "y": 2.0, "_id": 0}], brain.told
assert missing_methods(brain) == [] and register(brain).startswith("live:")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A place with that package, installed as any is."""
    project, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "dice.py").write_text(DICE)
    (project / "dice_brains.py").write_text(DICE_BRAINS)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(project)], check=True, timeout=120)
    return site


def test_a_package_may_bring_one(site):
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", ASK], env={**os.environ, "PYTHONPATH": path}, check=True, timeout=60)


def test_an_object_without_a_family_is_what_it_is():
    class Plain:
        def suggest(self, num_points=None):
            return []

    assert not families.is_known(Plain())
    assert families.brain_of(plain := Plain(), SPEC) is plain
    assert families.maker_of(Plain) is Plain
    assert missing_methods(Plain()) == ["ingest"]


def test_a_class_is_known_by_its_package_and_its_name():
    agent = type("Agent", (), {"__module__": "blop.ax.agent"})
    assert families.is_known(agent)
    assert families.is_known(agent())
    assert families.is_known(type("Mine", (agent,), {"__module__": "beamline"})())
    assert not families.is_known(type("Agent", (), {"__module__": "elsewhere.ax.agent"})())


LIBRARIES = (
    "ax blop bluesky_adaptive botorch torch optuna xopt gest_api gpcam fvgp skopt cma baybe bofire sklearn pandas"
)
HOST = f"""
import sys
from agent_service.brains import types
from agent_service.brains.adapter import adapter_for
from agent_service.models import AgentSpec
import brainbox
spec = AgentSpec(name="a", type="brainbox:Walker", actuators=["x", "y"], outcome="signal")
adapter_for(types.resolve(spec.type).build(spec), spec=spec).suggest(["s"])
names = [found.name for found in types.installed()]
loaded = sorted(set({LIBRARIES.split()!r}) & set(sys.modules))
assert not loaded, loaded
"""


def test_nothing_of_a_library_is_imported_for_who_does_not_use_it():
    path = os.pathsep.join([str(Path(brainbox.__file__).parent), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", HOST], env={**os.environ, "PYTHONPATH": path}, check=True, timeout=60)


def test_values_are_as_they_are_annotated(tmp_path, monkeypatch):
    code = """
from dataclasses import dataclass
from collections.abc import Iterable

@dataclass
class Range:
    name: str
    bounds: tuple[float, float]

class Brain:
    def __init__(self, ranges: list[Range], points: Iterable[float], more=None):
        self.ranges, self.points, self.more = ranges, points, more

    def suggest(self, num_points=None): return []
    def ingest(self, points): pass
"""
    (tmp_path / "ranged.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    from agent_service.brains import types

    config = {"ranges": [{"name": "x", "bounds": [0, 1]}], "points": [1, 2], "more": {"a": [1]}}
    spec = AgentSpec(name="a", type="ranged:Brain", config=config, actuators=["x"], outcome="y")
    found = types.resolve(spec.type)
    found.validate(spec)
    brain = found.build(spec)
    assert (brain.ranges[0].name, brain.ranges[0].bounds) == ("x", (0.0, 1.0))
    assert list(brain.points) == list(brain.points) == [1, 2]
    brain.more["a"].append(2)
    assert spec.config["more"] == {"a": [1]}, "what a brain changes is its own"
    adapter_for(brain, spec=spec)
