"""A startup from a module or a script, and what is said of one that fails."""

import sys
from pathlib import Path

import pytest
from ophyd.sim import SynAxis

from agent_service.errors import UnknownDevice, UsageError
from agent_service.plans.startup import load


@pytest.fixture
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_default_is_made_when_there_is_no_startup() -> None:
    axis = SynAxis(name="axis")
    assert load(None, default=lambda: {"axis": axis}).device("axis") is axis


@pytest.mark.usefixtures("clean_imports")
def test_a_script_is_run_with_its_neighbours_importable(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_a_script.py").write_text("class Axis:\n    name = 'axis'\n    read = set = None\n")
    script = tmp_path / "beamline.py"
    script.write_text(
        "from neighbour_of_a_script import Axis\naxis = Axis()\ndef drop():\n    global axis\n    del axis\n"
    )
    namespace = load(str(script), default=dict)
    assert namespace.actuator("axis").name == "axis"
    namespace.plan("drop")()
    with pytest.raises(UnknownDevice):
        namespace.device("axis")


@pytest.mark.usefixtures("clean_imports")
def test_a_module_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a_startup_module.py").write_text("class Axis:\n    name = 'axis'\n    read = None\naxis = Axis()\n")
    sys.path.insert(0, str(tmp_path))
    assert load("a_startup_module", default=dict).devices == ["axis"]


@pytest.mark.usefixtures("clean_imports")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\nraise ValueError('no\\nbeam')\n", "raised ValueError: no beam (broken.py, line 2)"),
        ("import sys\nsys.exit(3)\n", "raised SystemExit: 3 (broken.py, line 2)"),
        ("import no_such_module\n", "raised ModuleNotFoundError: No module named 'no_such_module' (broken.py, line 1)"),
        ("def :\n", "raised SyntaxError: "),
    ],
)
def test_a_script_that_raises(tmp_path: Path, text: str, says: str) -> None:
    script = tmp_path / "broken.py"
    script.write_text(text)
    with pytest.raises(UsageError) as error:
        load(str(script), default=dict)
    assert says in error.value.detail
    assert str(script) in error.value.detail
    assert "\n" not in error.value.detail
    assert error.value.__cause__ is not None
    assert "agent_service_startup_broken" not in sys.modules


WRAPPED = """
from ophyd import Component, Device, Signal

class Motor(Signal):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.limit = self.no_such_thing

class Stage(Device):
    x = Component(Motor)

stage = Stage(name="stage")
"""
CHAINED = """
def connect():
    raise OSError("the crate is off")

try:
    connect()
except OSError as error:
    raise RuntimeError("no stage") from error
"""
OWN_AFFAIR = "int('seven')"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            WRAPPED,
            r"component: x \(broken.py, line 12\), because of AttributeError: .*no_such_thing.* \(broken.py, line 7\)",
        ),
        (CHAINED, r"no stage \(broken.py, line 8\), because of OSError: the crate is off \(broken.py, line 3\)"),
        (OWN_AFFAIR, r"'seven' \(broken.py, line 1\)$"),
    ],
)
def test_the_cause_that_a_library_wraps_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    script = tmp_path / "broken.py"
    script.write_text(text)
    with pytest.raises(UsageError, match=says):
        load(str(script), default=dict)


@pytest.mark.parametrize(
    ("startup", "says"),
    [
        ("no/such/script.py", "the startup script no/such/script.py does not exist"),
        ("no_such.module", "the startup module 'no_such.module' cannot be imported: there is no module 'no_such'"),
    ],
)
def test_nothing_there(startup: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load(startup, default=dict)
