"""A folder of startup files as an IPython profile has them: in order, in one namespace, magics harmless."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from agent_service.errors import UnknownDevice, UsageError
from agent_service.plans.startup import load
from agent_service.service.config import load as load_config

AXIS = "class Axis:\n    def __init__(self, name): self.name = name\n    read = set = None\n"


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setattr(sys, "path", list(sys.path))
    before, main = set(sys.modules), sys.modules["__main__"]
    yield
    InteractiveShell.clear_instance()
    assert sys.modules["__main__"] is main
    for name in set(sys.modules) - before:
        if name.startswith(("agent_service_startup_", "part_", "neighbour_")):
            del sys.modules[name]


def profile(folder: Path, **files: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", "-", 1).replace("__", ".")).write_text(text)
    return str(folder)


def test_files_run_in_order_and_in_one_namespace(tmp_path):
    folder = profile(
        tmp_path / "startup",
        **{"10_motors__py": "mono = Axis('mono')\norder.append(10)\n", "00_base__py": AXIS + "order = [0]\n"},
        **{"20_more__ipy": "order.append(20)\n%matplotlib inline\n", "README__md": "no code"},
    )
    namespace = load(folder, default=dict)
    assert namespace.actuator("mono").name == "mono"
    assert namespace.find("order") == [0, 10, 20]
    assert folder in namespace.source


def test_the_folder_of_a_profile_means_its_startup(tmp_path):
    profile(tmp_path / "profile_x" / "startup", **{"00_a__py": AXIS + "a = Axis('a')\n"})
    assert load(str(tmp_path / "profile_x"), default=dict).devices == ["a"]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffwhere = 'é'\n".encode(),
        "# -*- coding: latin-1 -*-\nwhere = 'é'\n".encode("latin-1"),
        b"where = '\xc3\xa9'\r\n",
    ],
)
@pytest.mark.parametrize("suffix", [".py", ".ipy"])
def test_a_file_is_read_in_the_encoding_that_it_has(tmp_path, content, suffix):
    folder = tmp_path / "startup"
    folder.mkdir()
    (folder / f"00-base{suffix}").write_bytes(content)
    assert load(str(folder), default=dict).find("where") == "é"


def test_magics_do_no_harm(tmp_path, caplog):
    touched = tmp_path / "touched"
    extra = tmp_path / "extra.py"
    extra.write_text("loaded = 'by %run'\n")
    text = f"""
%matplotlib qt
%gui qt5
%no_such_magic of any kind
!touch {touched}
listed = !ls
get_ipython().run_line_magic("matplotlib", "inline")
get_ipython().system("touch {touched}")
from IPython import get_ipython as again
again().register_magic_function(lambda line: hits.append(line), "line", "wm")
hits = []
%wm here
%run {extra}
if True:
    %matplotlib
    kept = again().user_ns
"""
    namespace = load(profile(tmp_path / "startup", **{"00_magics__py": text}), default=dict)
    assert not touched.exists()
    assert namespace.find("hits") == ["here"]
    assert namespace.find("loaded") == "by %run"
    assert namespace.find("listed") == []
    assert namespace.find("kept")["hits"] == ["here"]
    assert "no_such_magic of the startup was passed over" in caplog.text


def test_a_shell_that_is_there_stays_what_it_was(tmp_path):
    from IPython import get_ipython
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    there = InteractiveShell.instance(config=config, user_module=ModuleType("a_notebook"))
    folder = profile(tmp_path / "startup", **{"00_a__py": "from IPython import get_ipython\nmine = get_ipython()\n"})
    assert load(folder, default=dict).find("mine") is not there
    assert get_ipython() is there
    assert "mine" not in there.user_ns


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\nraise ValueError('no\\nbeam')\n", "raised ValueError: no beam (10-broken.py, line 2)"),
        ("%matplotlib\n\nraise ValueError('no beam')\n", "raised ValueError: no beam (10-broken.py, line 3)"),
        ("import sys\nsys.exit(3)\n", "raised SystemExit: 3 (10-broken.py, line 2)"),
        ("def :\n", "raised SyntaxError: "),
    ],
)
def test_a_file_that_raises_is_named(tmp_path, text, says):
    folder = profile(tmp_path / "startup", **{"00_good__py": "x = 1\n", "10_broken__py": text})
    with pytest.raises(UsageError) as error:
        load(folder, default=dict)
    assert f"the startup folder {folder!r} raised" in error.value.detail
    assert says in error.value.detail
    assert "\n" not in error.value.detail


@pytest.mark.parametrize(("name", "says"), [("none/", "does not exist"), ("empty/", "holds no .py file")])
def test_no_files(tmp_path, name, says):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=says):
        load(str(tmp_path / name) + "/", default=dict)


def test_several_startups_are_one_namespace(tmp_path):
    (tmp_path / "neighbour_axis.py").write_text(AXIS)
    (tmp_path / "part_a.py").write_text(
        "from neighbour_axis import Axis\na = Axis('a')\nsame = Axis('one')\nplan = 1\n"
    )
    (tmp_path / "part_b.py").write_text("from neighbour_axis import Axis\nb = Axis('b')\nsame = Axis('two')\n")
    folder = profile(tmp_path / "startup", **{"00_c__py": "from neighbour_axis import Axis\nc = [Axis('c')]\n"})
    namespace = load([str(tmp_path / "part_a.py"), "part_b", folder], default=dict)
    assert [namespace.device(name).name for name in ("a", "b", "c", "c.0", "one", "two")] == [*"abcc", "one", "two"]
    assert namespace.device("same").name == "two", "the later one wins"
    namespace.device("b")
    (tmp_path / "part_d.py").write_text("from neighbour_axis import Axis\nother = Axis('a')\n")
    twice = load([str(tmp_path / "part_a.py"), "part_d"], default=dict)
    with pytest.raises(UnknownDevice, match="'a' is meant for 2 devices"):
        twice.device("a")


def test_a_script_that_imports_another_one_makes_its_devices_once(tmp_path):
    (tmp_path / "part_a.py").write_text(AXIS + "m = Axis('m')\n")
    (tmp_path / "part_b.py").write_text("from part_a import m\nboth = [m]\n")
    namespace = load([str(tmp_path / "part_a.py"), str(tmp_path / "part_b.py")], default=dict)
    assert namespace.device("m") is namespace.device("both.0")


def test_one_device_of_each_part_of_one_name_is_refused(tmp_path):
    (tmp_path / "part_a.py").write_text(AXIS + "m = Axis('m')\n")
    (tmp_path / "part_b.py").write_text(AXIS + "m = Axis('m')\n")
    parts = [str(tmp_path / "part_a.py"), str(tmp_path / "part_b.py")]
    with pytest.raises(UnknownDevice) as error:
        load(parts, default=dict).device("m")
    assert f"is meant for 2 devices in startup {parts[0]!r}, {parts[1]!r}: m and {parts[0]}: m;" in error.value.detail


def test_a_service_toml_takes_them(tmp_path):
    profile(tmp_path / "startup", **{"00_a__py": ""})
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    file = tmp_path / "service.toml"

    def said(startup):
        file.write_text(f"[run_engine]\nstartup = {startup}\n")
        return load_config(file).run_engine.startup

    assert said('"startup"') == str(tmp_path / "startup")
    assert said('"./startup"') == str(tmp_path / "startup")
    assert said('"package"') == "package"
    assert said('["my.module", "beamline.py", "startup"]') == [
        "my.module",
        str(tmp_path / "beamline.py"),
        str(tmp_path / "startup"),
    ]


@pytest.mark.parametrize(
    ("text", "means"),
    [("my.module", "my.module"), ('["a", "b.py"]', ["a", "b.py"]), ("profile/startup", "profile/startup")],
)
def test_the_environment_takes_them(text, means):
    code = "from agent_service.service.config import load; print(load().run_engine.startup)"
    env = {**os.environ, "AGENT_SERVICE_RUN_ENGINE__STARTUP": text}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=True)
    assert done.stdout.strip() == str(means)
