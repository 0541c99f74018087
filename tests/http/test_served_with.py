"""A service that is another than the one agents ran under does not run them on: startup, sink, [guardrails]."""

import contextlib
import re
import shutil

import pytest
from services import Served, wait_until

from agent_service.client import Client
from agent_service.errors import UsageError
from agent_service.launch.background import BackgroundServer
from agent_service.service.config import load

STARTUP = """
from ophyd.sim import SynAxis, SynSignal
mirror_x = SynAxis(name="mirror_x")
mirror_y = SynAxis(name="mirror_y")
flux = SynSignal(name="flux", func=lambda: -mirror_x.position ** 2)
"""
TOML = """
[service]
port = 0
catalog = "none"

[run_engine]
startup = "mine.py"

[guardrails]
bounds = { mirror_x = [-2, 2] }
rules = ["abs(mirror_x - mirror_y) <= 3"]

[[agents]]
name = "tune"
type = "sequence"
config = { points = [{ mirror_x = 1, mirror_y = 1 }, { mirror_x = 5, mirror_y = 1 }] }
actuators = ["mirror_x", "mirror_y"]
sensors = ["flux"]
outcome = "flux"
loop = { approval = "required" }
guardrails = { unbounded = ["mirror_y"] }
"""


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "beamline"
    folder.mkdir()
    (folder / "mine.py").write_text(STARTUP)
    (folder / "service.toml").write_text(TOML)
    return folder / "service.toml"


@contextlib.contextmanager
def serving(path, **flags):
    served = Served(BackgroundServer(load(path, flags={"port": 0, "catalog": "none", **flags})).start())
    try:
        yield served
    finally:
        served.close()


def ran_once(file):
    """Let the agent run under its service.toml, and end that service."""
    with serving(file) as served:
        served.post("agents/tune/start")
        served.until("tune", "running")


def comes_back(served, capsys=None):
    return served.until("tune", "running", "paused")["state"]


def test_without_its_file_agents_come_back_paused_and_nothing_moves(file, caplog):
    ran_once(file)
    state = file.with_suffix(".state")
    with serving(None, state=state) as served:
        assert comes_back(served) == "paused"
        assert not [one for one in served.suggestions("tune") if one["run_uid"]]
        said = next(one.message for one in caplog.records if "come back paused" in one.message)
        assert "mine.py" in said
        assert "the simulated beamline" in said
        assert "bounds.mirror_x, rules" in said
        assert f"agent-service serve {file}`" in said
        # a queue that is held and goes on does not take them along
        served.post("queue/abort")
        served.post("queue/resume")
        assert comes_back(served) == "paused"
    with serving(file) as served:
        assert comes_back(served) == "paused"  # as it was: nobody resumed it
        served.post("agents/tune/resume")
        assert comes_back(served) == "running"
    with serving(file) as served:
        assert comes_back(served) == "running"


def test_under_a_held_queue_too(file):
    with serving(file) as served:
        served.post("agents/tune/start")
        served.until("tune", "running")
        served.post("queue/abort")
        served.until("tune", "paused")
    with serving(None, state=file.with_suffix(".state")) as served:
        assert comes_back(served) == "paused"
        served.post("queue/resume")
        wait_until(lambda: served.get("service")["queue"]["state"] != "held")
        assert served.status("tune")["state"] == "paused"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[-2, 2]", "[-3, 2]"),
        ("bounds = { mirror_x = [-2, 2] }", ""),
        ("<= 3", "<= 4"),
        ("mirror_x = [-2, 2]", "mirror_y = [-2, 2]"),
        ('startup = "mine.py"', 'startup = "other.py"'),
        ("[run_engine]", '[sink]\nkind = "claim"\n\n[run_engine]'),
    ],
)
def test_what_is_looser_or_other_pauses(file, caplog, old, new):
    (file.parent / "other.py").write_text(STARTUP + "\n# another stage\n")
    ran_once(file)
    assert old in TOML
    file.write_text(TOML.replace(old, new))
    with serving(file) as served:
        assert comes_back(served) == "paused"
        assert served.status("tune")["reason"].endswith("; resume it to go on")
    assert len([one for one in caplog.records if "come back paused" in one.message]) == 1


CONDITIONS = '[conditions]\nbeam = "flux > -100"\nshutter = "mirror_x > -100"\n\n'
CONFIGURE = "\ndef set_up(RE):\n    pass\n\ndef other(RE):\n    pass\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: swap(file, "-100", "-200"), r"\[conditions\] beam, shutter had another rule or other times"),
        (lambda file: swap(file, CONDITIONS, ""), r"\[conditions\] beam, shutter held agents before, and nothing does"),
        (lambda file: swap(file, ":set_up", ":other"), "configure was tuned:set_up and is tuned:other now"),
        (lambda file: swap(file, 'beam = "flux > -100"', 'beam = "flux > -100"\nhutch = "flux > -300"'), None),
    ],
)
def test_a_change_of_conditions_or_configure_is_said(file, caplog, change, said):
    (file.parent / "tuned.py").write_text(CONFIGURE)
    swap(file, "[guardrails]", 'configure = "tuned:set_up"\n\n' + CONDITIONS + "[guardrails]")
    ran_once(file)
    change(file)
    with serving(file) as served:
        assert comes_back(served) == ("running" if said is None else "paused")
        assert said is None or re.search(said, served.status("tune")["reason"])


def swap(file, old, new):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_what_is_the_same_or_stricter_runs_on(file, caplog):
    ran_once(file)
    spelt = TOML.replace("abs(mirror_x - mirror_y) <= 3", "abs( mirror_x-mirror_y )<=3").replace("[-2, 2]", "[-2.0, 2]")
    moved = file.parent.with_name("moved")
    shutil.move(file.parent, moved)
    (moved / "service.toml").write_text("# written anew\n" + spelt)
    with pytest.raises(UsageError, match=f"start one with `agent-service serve {moved / 'service.toml'}`"):
        Client.from_state(moved / "service.state")
    with serving(moved / "service.toml") as served:
        assert comes_back(served) == "running"
    stricter = spelt.replace("[-2.0, 2]", "[-1, 1]").replace(
        "rules", 'approval = "required"\nmax_step = { mirror_x = 1 }\nrules'
    )
    (moved / "mine.py").write_text(STARTUP + "\n# a comment\n")
    (moved / "service.toml").write_text(stricter)
    with serving(moved / "service.toml") as served:
        assert comes_back(served) == "running"
    assert f"the startup {moved / 'mine.py'} was edited since it was served last" in caplog.text
    (moved / "service.toml").write_text(spelt.replace("[-2.0, 2]", "[-1, 1]"))  # approval and max_step are gone
    with serving(moved / "service.toml") as served:
        assert comes_back(served) == "paused"
    said = [one.message for one in caplog.records if "come back paused" in one.message]
    assert len(said) == 1
    assert "max_step.mirror_x, approval" in said[0]


def test_the_hint_names_the_state_where_the_file_does_not(file, tmp_path):
    with serving(file, state=tmp_path / "else where"):
        pass
    with pytest.raises(UsageError) as refused:
        Client.from_state(tmp_path / "else where")
    assert f"agent-service serve {file} --state '{tmp_path / 'else where'}'`" in refused.value.detail
    file.unlink()
    with pytest.raises(UsageError, match="agent-service serve --state"):
        Client.from_state(tmp_path / "else where")


def test_a_directory_of_an_earlier_version_runs_on_and_an_unreadable_memory_pauses(file, caplog):
    ran_once(file)
    memory = file.with_suffix(".state") / "served.json"
    assert memory.stat().st_mode & 0o077 == 0
    memory.unlink()
    with serving(file) as served:
        assert comes_back(served) == "running"
    memory.write_text("{")
    with serving(file) as served:
        assert comes_back(served) == "paused"
    assert "cannot be read" in caplog.text
