"""The magics in a shell of their own, on a real service."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from archive_rig import descriptors, run_engine
from cells import Shell
from prototype import notebook
from services import running, wait_until

import agent_service
from agent_service import references
from agent_service.client.local_services import services
from agent_service.models import AgentSpec
from agent_service.state_dir import StateDir
from notebook_widgets.magics import _options
from notebook_widgets.magics._namespace import name_of
from notebook_widgets.panels.event_feed import LiveThread

SERVICE = "--startup rig --catalog none"
WALKER = "--actuators x,y --outcome signal --bounds x=any y=any"
WALKERS = """
import brainbox, rig
from brainbox import Walker
walker = Walker()
"""


@pytest.fixture
def shell(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = Shell(capsys)
    one.run(WALKERS)
    yield one
    one.shell.run_line_magic("unload_ext", "agent_service")
    assert not services()
    assert not references._objects, "live objects were left behind"
    assert LiveThread._shared is None, "a panel was left behind"


@pytest.fixture
def walking(shell):
    """A shell that serves a walker."""
    shell.run(f"%agent_serve walker {SERVICE} {WALKER} --max-runs 3 --no-panel")
    return shell


def until(shell, name, state):
    return wait_until(lambda: (one := shell.client.agent(name)).state == state and one)


def measured(shell, name="walker"):
    shell.client.start(name)
    return until(shell, name, "stopped")


# --- what is served


def test_an_object_is_served_and_waits_for_start(shell):
    said = shell.run(f"%agent_serve walker {SERVICE} {WALKER} --max-runs 3 --sensors signal # mine")
    url = shell.names["service"].url
    assert said.splitlines() == [
        f"serving walker at {url} (service.client speaks to it); nothing moves until you press Start",
        f"<AgentPanel 'walker' of {url}: connecting>",
    ]
    status = shell.client.agent("walker")
    assert (status.state, status.progress.total, status.spec.recover) == ("created", 3, None)
    assert shell.names["service"].config.service.recover == "paused", "nothing moves unasked after a restart"
    assert (status.spec.actuators, status.spec.sensors, status.spec.outcomes) == (["x", "y"], ["signal"], ["signal"])
    assert list(shell.panels) == ["walker"]
    assert measured(shell).progress.done == 3


@pytest.mark.parametrize(
    ("line", "name", "type_"),
    [
        ("Walker", "Walker", "live:"),
        ('Walker --config {"step": 2.0, "limit": 5}', "Walker", "live:"),
        ("Walker(step=2, limit=None)", "Walker", "live:"),
        ("brainbox.Walker --name mine", "mine", "live:"),
        ("brainbox.factory", "factory", "live:"),
        ("lab.walkers['first']", "first", "live:"),
        ("brainbox:Walker", "Walker", "brainbox:Walker"),
        ("as_text", "as_text", "brainbox:Walker"),
        ("as_mapping", "as_mapping", "brainbox:Walker"),
        ("as_spec --name other", "other", "sequence"),
        ("as_spec", "spec", "sequence"),
        ("sequence --config config --name $chosen", "chosen one".replace(" ", "-"), "sequence"),
    ],
)
def test_what_can_be_served(shell, line, name, type_):
    shell.run("import types\nlab = types.SimpleNamespace(walkers={'first': walker})\nas_text = 'brainbox:Walker'")
    shell.names["as_mapping"] = {"type": "brainbox:Walker", "loop": {"n_points": 2, "max_runs": 9}}
    shell.names["config"] = {"points": ({"x": 1, "y": 2},)}  # a tuple is no JSON
    shell.names["as_spec"] = AgentSpec(
        name="spec", type="sequence", config={"points": [{"x": 1, "y": 2}]}, evaluate="brainbox:peak"
    )
    shell.names["chosen"] = "chosen-one"
    shell.run(f"%agent_serve {line} {SERVICE} {WALKER} --max-runs 1 --no-panel")
    status = shell.client.agent(name)
    assert status.type.startswith(type_)
    assert status.spec.evaluate is None, "an option wins"
    assert status.spec.loop.n_points == (2 if line == "as_mapping" else 1)
    assert measured(shell, name).progress.done == 1


def test_devices_and_functions_of_the_notebook(shell):
    shell.run("""
from rig import x, y, signal
both = [x, y]
z = 5
def peak(run, suggestions):
    return [{"_id": one["_id"], "top": float(run.data("signal").max())} for one in suggestions]
def plan(suggestions, actuators, sensors, md):
    import agent_service.plans.library
    return (yield from agent_service.plans.library.acquire(suggestions, actuators, sensors, md))
""")
    # y again, by its name: a variable z that is no device does not stand in the way of a device z
    for number, words in enumerate(["both", "x y", "x, y", "x,rig.y", "[x, y]", "'x' \"y\"", "both[0],y"]):
        shell.run(
            f"%agent_serve walker {SERVICE} --actuators {words} --sensors signal --evaluate brainbox:peak --fresh"
        )
        assert shell.client.agent("walker").spec.actuators == ["x", "y"], number
    assert "there is no device 'z'" in shell.refused("%agent_serve walker --actuators z --outcome signal")
    assert shell.refused("%agent_serve walker --actuators x,rig.peak2 --outcome signal").startswith("rig.peak2 raised")
    assert shell.refused("%agent_serve walker --actuators [5] --outcome s") == (
        "--actuators: [5] is of type list, not a device or its name"
    )
    shell.run("%agent_serve walker --actuators both --sensors signal --evaluate peak --plan plan --max-runs 2 --fresh")
    spec = shell.client.agent("walker").spec
    assert (spec.evaluate[:5], spec.plan[:5]) == ("live:", "live:")
    shell.names["walker"].get_best_points = list
    assert measured(shell).progress.done == 2
    assert {"top", "x", "y", "_id"} == set(shell.names["walker"].points[0])


def test_several_outcomes_and_options_of_the_loop(shell):
    shell.run(
        f"%agent_serve walker {SERVICE} --actuators=x,y --outcome signal, fixed --run {{'purpose': 'light'}} "
        "--approval=required --executor thread"
    )
    spec = shell.client.agent("walker").spec
    assert (spec.outcomes, spec.loop.approval, spec.executor) == (["signal", "fixed"], "required", "thread")
    assert spec.run == {"purpose": "light"}


def test_one_that_only_listens(shell):
    said = shell.run(f"%agent_serve brainbox.Listener {SERVICE} --outcome signal --no-panel")
    assert said.endswith('it does not listen until service.client.start("Listener")\n')
    assert shell.client.agent("Listener").spec.listen == "all"


def test_an_async_function_makes_the_agent(shell):
    shell.run("import asyncio\nasync def made(step):\n    await asyncio.sleep(0)\n    return Walker(step)")
    shell.run(f"%agent_serve made(0.5) {SERVICE} {WALKER} --max-runs 2 --no-panel")
    measured(shell, "made")
    assert [one.point["x"] for one in shell.client.suggestions("made")] == [0, 0.5]


# --- again


def test_running_the_cell_again_replaces_the_agent(shell):
    shell.run(f"%agent_serve walker {SERVICE} {WALKER} --max-runs 3")
    measured(shell)
    panel = shell.panels["walker"]
    shell.run("class Walker(brainbox.Walker):\n    edited = True\nwalker = Walker()")
    said = shell.run(f"%agent_serve walker {WALKER} --no-panel")
    assert said == 'replaced walker: 3 outcomes ingested; nothing moves until service.client.resume("walker")\n'
    assert shell.client.agent("walker").progress.done == 3
    said = shell.run(f"%agent_serve walker {WALKER} --max-runs 3 --no-panel")
    assert said == (
        "replaced walker: 3 outcomes ingested; 3 runs of 3 are done, so it measures no more: give a larger --max-runs, "
        "or --fresh\n"
    )
    assert len(shell.names["walker"].points) == 3
    assert shell.panels["walker"] is panel
    assert shell.run(f"%agent_serve walker {WALKER} --fresh").startswith(
        "replaced walker: it begins as its object was when it was served first; nothing moves until you press Start\n"
    )
    assert shell.panels["walker"] is not panel
    assert panel.comm is None, "closed"


def test_a_brain_that_cannot_be_built_shows_its_traceback(walking):
    measured(walking)
    said, why = walking.refused_with(f"%agent_serve brainbox.Unborn --name walker {WALKER}")
    assert re.fullmatch(
        r".*OSError: no model file.*; the traceback is in its panel and in %agent_status walker", why
    ), why
    assert said.startswith("<AgentPanel 'walker'")
    said = walking.run("%agent_status walker")
    assert "failed" in said
    assert "raise OSError(msg)\nOSError: no model file" in said
    shown = walking.shell.display_formatter.format(status_of(walking, "walker"))[0]["text/html"]
    assert "<details><summary>Traceback</summary><pre>" in shown
    walking.run(f"%agent_serve walker {WALKER}")


def status_of(shell, name):
    from agent_service.launch.status_table import StatusTable

    return StatusTable("a <b> title", [shell.client.agent(name)], traceback=True)


def test_what_is_wrong_leaves_the_present_agent_alone(walking):
    walking.run(f"%agent_serve walker {WALKER} --approval required")
    walking.client.start("walker")
    for wrong in ["walker --actuators q", "Walker --config {'stp': 1}", "walker --approval never", "5"]:
        walking.refused(f"%agent_serve {wrong} --name walker --outcome signal")
    assert walking.client.agent("walker").state == "running"


def test_an_actuator_that_nothing_bounds_is_said_to_have_no_limits(shell):
    line = f"%agent_serve walker {SERVICE} --actuators x,y --outcome signal --no-panel"
    assert shell.run(line).splitlines()[1:] == [
        (
            "no limits for x and y: neither the device nor guardrails bound them; give --bounds x=LOW:HIGH y=LOW:HIGH, "
            "or --bounds x=any y=any if that is meant"
        ),
    ]
    assert shell.client.agent("walker").no_limits == ["x", "y"]
    assert len(shell.run(f"{line} --bounds x=-1:5 y=any").splitlines()) == 1


def test_serving_again_says_which_limits_hold_by_now(shell):
    line = f"%agent_serve walker {SERVICE} --actuators x,y --outcome signal --no-panel"
    assert "limits" not in shell.run(f"{line} --bounds x=-5:5 y=0:")
    assert "limits" not in shell.run(f"{line} --bounds x=-5:5 y=0:"), "the same hold"
    narrower = shell.run(f"{line} --bounds x=-1:5 y=0:")
    assert "other limits than before hold now: x -1 to 5 (before: -5 to 5); --bounds sets them\n" in narrower
    without = shell.run(line)
    assert "hold now: x none (before: -1 to 5), y none (before: from 0); --bounds sets them\n" in without
    assert "no limits for x and y: " in without
    assert "hold now" not in shell.run(f"{line} --bounds x=any y=:3"), "only what is lost is said"


@pytest.mark.parametrize(
    ("written", "bounds", "unbounded"),
    [
        ("x=-5:5 y=0:", {"x": (-5, 5), "y": (0, None)}, []),
        ("x=:1e3,y=any", {"x": (None, 1000)}, ["y"]),
        ("x={low}:$high y=:", {"x": (-1, 2)}, ["y"]),
        ("limits", {"x": (0, 1)}, []),
        ("{'x': [0, None], 'y': (1, 2)}", {"x": (0, None), "y": (1, 2)}, []),
    ],
)
def test_bounds(shell, written, bounds, unbounded):
    shell.run("limits = {'x': (0, 1)}\nlow, high = -1, 2")
    shell.run(f"%agent_serve walker {SERVICE} --actuators x,y --outcome signal --no-panel --bounds {written}")
    found = shell.client.agent("walker").spec.guardrails
    assert (found.bounds, found.unbounded) == (bounds, unbounded)


@pytest.mark.parametrize("written", ["x=5", "x=a:b", "x", "5", "x=1:2:3", "loop_of_mine"])
def test_what_are_no_bounds(shell, written):
    from agent_service.models import LoopSpec

    shell.names["loop_of_mine"] = LoopSpec()

    said = shell.refused(f"%agent_serve walker {SERVICE} --actuators x,y --outcome signal --bounds {written}")
    assert said.startswith("--bounds: ") or "is not defined" in said


def test_bounds_of_a_line_beside_those_of_a_specification(shell):
    shell.run(
        "import rig\nlab = {'type': 'brainbox:Walker', 'actuators': ['x', 'y'], 'outcome': 'signal', "
        "'guardrails': {'bounds': {'x': [0, 1]}, 'unbounded': ['y'], 'max_step': {'x': 2}}}"
    )
    shell.run(f"%agent_serve lab {SERVICE} --no-panel --bounds y=0:9")
    found = shell.client.agent("lab").spec.guardrails
    assert (found.bounds, found.unbounded, found.max_step) == ({"x": (0, 1), "y": (0, 9)}, [], {"x": 2})


# --- the RunEngine of the notebook


def test_with_an_engine_nothing_moves_until_it_is_called(shell):
    shell.run("from rig import x, y, signal\nfrom agent_service import run_agent")
    with run_engine() as first, run_engine() as second:
        shell.names["RE"] = first
        line = f"%agent_serve walker --catalog none {WALKER} --no-panel"
        said = shell.run(line + " --max-runs 2")
        assert said.endswith('nothing moves until RE(run_agent("walker", devices=[x, y, signal]))\n')
        shell.run('RE(run_agent("walker", devices=[x, y, signal]));')
        assert shell.client.agent("walker").progress.done == 2
        assert shell.refused(f"%agent_serve walker {SERVICE} {WALKER}").startswith("--startup is for a service that")
        shell.names["RE"] = second  # the cell that makes it was run again
        del shell.names["signal"]
        assert shell.run(line + " --max-runs 3").splitlines() == [
            "listening to the new RE",
            'replaced walker: 2 outcomes ingested; nothing moves until RE(run_agent("walker", devices=[...]))',
        ]
        assert not [one for one in first.dispatcher.cb_registry.callbacks.values() if one]
        shell.run('RE(run_agent("walker", devices=[x, y, rig.signal]));')
        assert shell.client.agent("walker").progress.done == 3
        shell.run("%agent_stop --all")
        assert not [one for one in second.dispatcher.cb_registry.callbacks.values() if one]


def test_an_engine_that_comes_later_is_not_passed_over(walking):
    with run_engine() as engine:
        walking.names["RE"] = engine
        assert walking.refused(f"%agent_serve walker {WALKER}") == (
            "the service was started before there was an RE, and moves the devices itself; end it with %agent_stop "
            "--all, and serve again: then nothing moves but by RE"
        )
    walking.names["RE"] = re  # somebody's own name for something else
    walking.run(f"%agent_serve walker {WALKER}")


# --- the service


def test_without_a_target_the_service_is_shown(shell):
    said = shell.run(f"%agent_serve {SERVICE}")
    url = shell.names["service"].url
    assert said.splitlines()[0] == f"a service runs at {url} (service.client speaks to it)"
    assert said.splitlines()[1].startswith("<ServicePanel of")
    assert shell.refused("%agent_serve --actuators x --max-runs 1") == (
        "--actuators, --max-runs belongs to an agent; name the agent first: %agent_serve my_agent ..."
    )


def test_the_notebook_has_the_service_under_a_free_name(shell):
    shell.names["service"] = 5
    said = shell.run(f"%agent_serve walker {SERVICE} {WALKER} --no-panel")
    assert "(agents_service.client speaks to it)" in said
    assert shell.names["service"] == 5
    assert [one.name for one in shell.names["agents_service"].client.agents()] == ["walker"]
    shell.run("%agent_stop --all")
    assert "agents_service" not in shell.names


def test_a_service_of_the_notebooks_own_is_used_and_left_alone(shell, tmp_path):
    with agent_service.serve(catalog="none", startup="rig", state=tmp_path / "own") as own:
        shell.names["service"] = own
        shell.run(f"%agent_serve walker {WALKER}")
        assert [one.name for one in own.client.agents()] == ["walker"]
        shell.run("%reload_ext agent_service")
        assert not own.closed
        shell.run("%agent_status walker")


def test_a_service_that_was_closed_in_python(walking):
    walking.run("service.close()")
    assert walking.refused("%agent_status") == "no service runs in this kernel; %agent_serve starts one"
    said = walking.run(f"%agent_serve walker {SERVICE} {WALKER} --no-panel")
    assert said.startswith("replaced walker: 0 outcomes"), "the same state as before"


def test_options_of_the_service_that_differ(walking, tmp_path):
    url, state = walking.names["service"].url, walking.names["service"].state
    port = url.rpartition(":")[2]
    for same in [f"--port {port}", "--port 0", f"--state {state}", "--state {service.state}", SERVICE]:
        walking.run(f"%agent_serve walker {WALKER} {same} --no-panel")
    for other in ["--port 1", f"--state {tmp_path}", "--catalog embedded", "--startup other"]:
        name = other.partition(" ")[0]
        assert walking.refused(f"%agent_serve walker {WALKER} {other}") == (
            f"the service at {url} runs already, with another {name}; leave that out, or end the service first: "
            "%agent_stop --all"
        )


def test_a_port_and_a_state_that_are_taken(shell, tmp_path):
    with socket.socket() as taken, StateDir(tmp_path / "state"):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = shell.refused(f"%agent_serve walker {SERVICE} {WALKER} --port {taken.getsockname()[1]}")
        assert "cannot listen" in said
        said = shell.refused(f"%agent_serve walker {SERVICE} {WALKER} --state {tmp_path / 'state'}")
        assert "is in use by another service" in said
    assert "service" not in shell.names
    shell.run(f"%agent_serve walker {SERVICE} {WALKER} --state {tmp_path / 'state'} --no-panel")


def test_the_first_line_that_is_wrong_leaves_no_service(shell):
    shell.refused(f"%agent_serve walker {SERVICE} --actuators q --outcome signal")
    assert "service" not in shell.names
    assert not services()


# --- a file


FILE = """
[service]
catalog = "none"
[run_engine]
startup = "rig"
[[agents]]
name = "filed"
type = "brainbox:Walker"
actuators = ["x", "y"]
sensors = ["signal"]
outcome = "signal"
loop = { max_runs = 2 }
"""


def test_a_file_is_served(shell, tmp_path):
    path = tmp_path / "service.toml"
    path.write_text(FILE)
    said = shell.run("%agent_serve service.toml")
    url = shell.names["service"].url
    assert said.splitlines()[0].startswith(f"serving filed at {url} ")
    assert said.splitlines()[1] == (
        "no limits for x and y: neither the device nor guardrails bound them; set guardrails.bounds, or say "
        'guardrails.unbounded = ["x", "y"]'
    )
    assert said.splitlines()[2].startswith("<ServicePanel")
    assert shell.names["service"].config.service.recover == "paused"
    measured(shell, "filed")
    assert shell.run("%agent_serve service.toml --no-panel") == "filed is there as the file has it, stopped\n"
    path.write_text(FILE.replace("max_runs = 2", "max_runs = 7"))
    assert shell.run("%agent_serve {'service'}.toml --no-panel").startswith("replaced filed: 2 outcomes ingested;")
    assert shell.client.agent("filed").progress.total == 7
    path.write_text(FILE.replace("rig", "other"))
    assert shell.refused("%agent_serve service.toml") == (
        "another service than that of service.toml runs here; end it first with %agent_stop --all"
    )
    assert shell.refused("%agent_serve service.toml --outcome x") == (
        "--outcome belongs to an agent; write it into service.toml"
    )


def test_a_file_that_is_wrong(shell, tmp_path):
    (tmp_path / "service.toml").write_text(FILE.replace("actuators", "actuatorz"))
    assert shell.refused("%agent_serve service.toml").startswith(
        'service.toml is not valid: [[agents]] "filed": actuatorz: is not a known key here'
    )
    (tmp_path / "service.toml").write_text("[[")
    assert shell.refused("%agent_serve service.toml").startswith("service.toml is not valid TOML: ")
    assert shell.refused("%agent_serve nowhere.toml") == "nowhere.toml does not exist; give the path of a service.toml"


# --- mistakes


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("wlker", "the name 'wlker' is not defined; did you mean 'walker' or 'Walker'?"),
        ("bayess", "the name 'bayess' is not defined; did you mean 'bayes' or 'baybe'?"),
        ("q", "the name 'q' is not defined; run the cell that defines it first"),
        ("nope", "the name 'nope' is not defined; run the cell that defines it first"),
        ("walker.q", "walker.q raised AttributeError: 'Walker' object has no attribute 'q'"),
        ("Walker(stp=1)", "Walker(stp=1) raised TypeError: Walker.__init__() got an unexpected keyword argument 'stp'"),
        ("brainbox.Unborn()", "brainbox.Unborn() raised OSError: no model file (brainbox.py, line "),
        ("broken()", "broken() raised NameError: name 'absent' is not defined (cell "),
        ("Walker(", "( is not closed in Walker("),
        ("'walker", "' is not closed in 'walker"),
        ("walker+", "walker+ is no Python expression: "),
        ("walker Walker", "'Walker' is a word too many after 'walker'; %agent_serve? shows how to write it"),
        ("five", "five is of type int and no agent: one has suggest(num_points) and ingest(points)"),
        ("print", "print is Python's own and no agent: one has suggest(num_points) and ingest(points)"),
        ("int", "the class int has no suggest and no ingest; a brain has suggest(num_points) and ingest(points)"),
        ("config", "config is a mapping without 'type'; a configuration goes with its type: %agent_serve bayes --conf"),
        ("walker --outcom x", "there is no option --outcom; did you mean --outcome?"),
        ("walker -n x", "there is no option -n; %agent_serve has --name, --config, "),
        ("walker --qqqq", "there is no option --qqqq; %agent_serve has --name, --config, "),
        ("walker --name", "--name needs a value: --name NAME"),
        ("walker --name=", "--name needs a value: --name NAME"),
        ("walker --name --fresh", "--name needs a value: --name NAME"),
        ("walker --name a --name b", "--name is given twice; leave one out"),
        ("walker --fresh=1", "--fresh takes no value; leave '1' out"),
        ("walker --max-runs many", "--max-runs needs a whole number, not 'many'"),
        ("walker --port many", "--port needs a whole number, not 'many'"),
        ("walker --port 70000", "the configuration is not valid: --port: "),
        ("walker --config five", "--config: five is of type int, not a mapping: --config {"),
        ("walker --config bounds: 3", "--config takes one mapping, in braces, and '3' stands beside it: --config {"),
        ("walker --config bounds:", "--config takes a mapping in braces, and bounds: is none: --config {"),
        ("walker --outcome x --actuators y --bounds q=0:1", "agent 'walker': --bounds names q, which is no actuator"),
        ("walker --outcome x --approval yes", "agent 'walker': --approval: must be "),
        ("walker --outcome x --startup nosuch.py", "the startup script nosuch.py does not exist; set --startup to a "),
        ("walker --evaluate five", "--evaluate: five is of type int, not a function"),
        ("walker --name {absent}", "{absent} raised NameError: name 'absent' is not defined"),
        ("walker --name '- a'", "agent '- a': name: may hold up to 64 letters"),
        ("walker --max-runs 0 --outcome x", "agent 'walker': --max-runs: must be 1 or more"),
        ("walker --actuators x", "agent 'walker': outcome or evaluate is needed: which field of a run is the outc"),
        ("Needy --outcome x", "the configuration does not fit type 'Needy': config.file: is missing; --config MAPPING"),
        ("walker --outcome x --config {'a':object()}", "config holds a value of type object; it takes what JSON has: "),
        ("walker --outcome x --plan sweep", "there is no plan 'sweep' in startup 'rig'; "),
        ("walker --outcome x --startup nowhere", "the startup module 'nowhere' cannot be imported: "),
    ],
)  # fmt: skip
def test_every_mistake_is_one_line(shell, line, said):
    shell.run(
        "five = 5\nconfig = {'bounds': {}}\ndef broken():\n    return absent\n"
        "class Needy(Walker):\n    def __init__(self, file):\n        pass"
    )
    line = f"{line} --startup rig" if "--startup" not in line else line
    assert shell.refused(f"%agent_serve {line} --catalog none").startswith(said)
    assert "service" not in shell.names
    shell.run("1 + 1")


def test_a_misspelt_key_of_a_configuration_is_named_where_the_outcome_is_missing(shell):
    said = shell.refused("%agent_serve bayes --config {'bounds': {'x': [0, 1]}, 'objectiv': 'y'} --catalog none")
    assert "outcome or evaluate is needed" in said
    assert "config.objectiv: is not a known key here; did you mean 'objective' or 'objectives'?" in said


@pytest.mark.parametrize(
    "config",
    [
        '{"bounds": {"x": [0, 1]}, "objective": "signal", "maximize": true}',
        """'{"bounds": {"x": [0, 1]}, "objective": "signal", "maximize": true}'""",
        """"{'bounds': {'x': [0, 1]}, 'objective': 'signal', 'maximize': True}\"""",
    ],
)
def test_a_configuration_as_json_has_it_and_in_quotes(shell, config):
    shell.run(f"%agent_serve bayes --config {config} --startup rig --catalog none --no-panel")
    spec = shell.client.agent("bayes").spec
    assert spec.config["maximize"] is True
    assert spec.outcome == "signal"


def test_mistakes_of_the_other_magics(walking):
    assert walking.refused("%agent_status wolker") == "there is no agent 'wolker' here; there is walker"
    assert walking.refused("%agent_panel wolker") == "there is no agent 'wolker' here; there is walker"
    assert walking.refused("%agent_stop wolker") == "there is no agent 'wolker' here; there is walker"
    assert walking.refused("%agent_stop") == "say which: %agent_stop walker, or end the service: --all"
    assert walking.refused("%agent_stop walker --all") == "give walker or --all, not both"
    assert walking.refused("%agent_status --all") == "there is no option --all; %agent_status has none"
    assert walking.refused("%agent_panel x --key-from f") == "--key-from is for another service; say which: --url URL"


# --- look, and stop


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (
            "service.client.stop('walker')",
            "IllegalTransition: agent 'walker' is created, so it cannot stop; it can ",
        ),
        ("service.client.agent('wlker')", "NotFound: there is no agent 'wlker'; did you mean 'walker'?"),
        ("wrong.agents()", "Unauthenticated: the service does not know this key"),
        ("nowhere.agents()", "BackendUnavailable: no service answers at http://127"),
        ("agent_service.serve(agents={'z': 5}, state='z')", "InvalidInput: an object of type int has no suggest"),
    ],
)
def test_what_a_client_refuses_is_no_wall(walking, cell, said):
    walking.run(
        "import agent_service\nwrong = agent_service.Client(service.url, api_key='wrong')\n"
        "nowhere = agent_service.Client('http://127.0.0.1:9', api_key='k')"
    )
    walking.run(f"def ask():\n    return {cell}")
    shown = walking.failed("1 + 1\nask()").splitlines()
    walking.run("wrong.close()\nnowhere.close()")
    assert shown[:2] == ["line 2: ask()", f"line 2: return {cell}"]
    assert shown[2].startswith(said)
    assert len(shown) == 3


def test_status(walking):
    measured(walking)
    url = walking.names["service"].url
    assert walking.run("%agent_status").splitlines() == [
        f"agent service at {url}",
        "agent   state    runs    best measured",
        "walker  stopped  3 of 3  highest signal 0.75  max_runs reached (3 of 3)",
    ]
    shown = walking.shell.display_formatter.format(status_of(walking, "walker"))[0]["text/html"]
    assert shown.startswith("<div><b>a &lt;b&gt; title</b></div><table><tr><th>agent</th>")
    assert "<td>3 of 3</td><td>highest signal 0.75</td>" in shown
    walking.client.delete("walker")
    assert walking.run("%agent_status") == f"agent service at {url}: no agents yet\n"


def test_one_panel_an_agent(walking):
    walking.run("%agent_panel walker")
    first = walking.panels["walker"]
    wait_until(lambda: first.answers.get("agents/walker", {}).get("state") == "created")
    walking.run("%agent_panel walker\n%agent_panel")
    assert first.comm is None
    assert set(walking.panels) == {"walker", ""}
    feeds = LiveThread._shared._feeds
    assert [len(one.subscriptions) for one in feeds.values()] == [2]
    walking.run("%agent_stop --all")
    assert walking.panels == {}


def test_a_panel_of_another_service(shell, tmp_path, monkeypatch):
    monkeypatch.delenv("AGENT_SERVICE_API_KEY", raising=False)
    with running(tmp_path / "far") as far:
        far.create("walker")
        key = tmp_path / "far" / "api_key"
        line = f"%agent_panel walker --url {far.url}"
        assert "key" in shell.refused(line)
        (tmp_path / "wrong").write_text("nonsense")
        assert "key" in shell.refused(f"{line} --key-from wrong")
        assert shell.refused(f"{line} --key-from no") == (
            "no cannot be read: No such file or directory; --key-from names the file with the key"
        )
        assert "there is no agent 'q'" in shell.refused(f"%agent_panel q --url {far.url} --key-from {key}")
        shell.run(f"{line} --key-from {key}\n%agent_panel --url {far.url} --key-from {key}")
        [agent, _] = shell.panels.values()
        wait_until(lambda: agent.answers.get("agents/walker", {}).get("state") == "created")
    assert "no service answers" in shell.refused(f"{line} --key-from {key}")
    shell.run("%unload_ext agent_service")
    assert agent.comm is None


def test_stop(walking):
    assert walking.run("%agent_stop walker") == "walker was not started; nothing to stop\n"
    walking.client.update("walker", loop={"approval": "required", "max_runs": None})
    walking.client.start("walker")
    assert walking.run("%agent_stop walker") == "walker is stopped\n"
    assert walking.run("%agent_stop walker") == "walker is stopped already\n"
    service = walking.names["service"]
    assert walking.run("%agent_stop --all") == "the service is closed\n"
    assert service.closed
    assert "service" not in walking.names
    assert walking.run("%agent_stop --all") == "no service runs in this kernel; nothing to stop\n"
    assert walking.refused("%agent_stop walker") == "no service runs in this kernel; %agent_serve starts one"


# --- completion


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%agent_se", ["%agent_serve"]),
        ("%agent_serve wal", ["walker"]),
        ("%agent_serve bay", ["baybe", "bayes"]),
        ("%agent_serve servi", ["service.toml"]),
        ("%agent_serve sub/", ["sub/inner.toml"]),
        ("agent_serve walker --ex", ["--executor"]),
        ("%agent_serve walker --max-runs 3 --m", []),
        ("%agent_serve walker --approval ", ['"first 3"', "auto", "required"]),
        ("%agent_serve walker --approval=re", ["required"]),
        ("%agent_serve walker --catalog n", ["none"]),
        ("%agent_serve Walker --config conf", ["config"]),
        ("%agent_serve walker --evaluate pe", ["peak"]),
        ("%agent_serve walker --actuators motor_a,mo", ["motor_a", "motor_b"]),
        ("%agent_serve walker --actuators motor_a motor_b --fr", ["--fresh"]),
        ("x = 1\n%agent_serve walker --fr", ["--fresh"]),
        ("%agent_stop wal", ["walker"]),
        ("%agent_stop -", ["--all"]),
        ("%agent_status wa", ["walker"]),
        ("%agent_panel walker --u", ["--url"]),
        ("wal", ["walker"]),
    ],
)
def test_completion(walking, tmp_path, line, offered):
    walking.run(
        "from ophyd.sim import SynAxis\nmotor_a, motor_b = SynAxis(name='a'), SynAxis(name='b')\nconfig = {}\n"
        "def peak(run, suggestions): pass"
    )
    (tmp_path / "service.toml").write_text(FILE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.toml").write_text(FILE)
    found = walking.complete(line)
    assert sorted(one for one in found if offered or one.startswith("--")) == offered


def test_completion_of_an_empty_word(walking):
    found = set(walking.complete("%agent_serve "))
    assert {"walker", "Walker", "bayes", "sobol", "sequence", "--name", "--fresh"} <= found
    assert not {"brainbox", "rig", "print"} & found
    assert walking.complete("%agent_stop ") == ["--all", "walker"]


# --- the extension


def test_help_shows_examples_that_run(shell, monkeypatch, tmp_path):
    (tmp_path / "service.toml").write_text(FILE)
    monkeypatch.setenv("AGENT_SERVICE_SERVICE__CATALOG", "none")
    found = shell.shell.object_inspect("agent_serve", detail_level=0)
    examples = re.findall(r"^ *(%agent_serve.*)$", found["docstring"], re.MULTILINE)
    assert len(examples) == 5
    shell.run("class Walk(Walker): pass\nmy_agent = Walk()")
    for line in examples:
        shell.run(f"{line}\n%agent_stop --all")
    for option in _options.SERVE:
        assert f"--{option.name} " in found["docstring"]
    for name in _options.OF_MAGIC:
        assert f"%{name}" in shell.shell.object_inspect(name, detail_level=0)["docstring"]


def test_unloading_undoes_it_all(shell):
    matchers = list(shell.shell.Completer.custom_matchers)
    shell.run(f"%load_ext agent_service\n%agent_serve walker {SERVICE} {WALKER}")
    service = shell.names["service"]
    agent_service.load_ipython_extension(shell.shell)
    assert shell.shell.Completer.custom_matchers == matchers, "loaded once"
    shell.run("%unload_ext agent_service")
    assert service.closed
    assert shell.shell.Completer.custom_matchers == matchers[:-1]
    for name in _options.OF_MAGIC:
        assert shell.shell.find_line_magic(name) is None
    assert "service" not in shell.names
    agent_service.unload_ipython_extension(shell.shell)
    shell.run(f"%load_ext agent_service\n%agent_serve walker {SERVICE} {WALKER}")


def test_loading_imports_nothing_heavy():
    code = (
        "import sys\nfrom IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell()\n"
        "shell.run_line_magic('load_ext', 'agent_service')\nshell.run_cell('%agent_stop --all')\nprint(*sys.modules)"
    )
    environment = {**os.environ, "IPYTHONDIR": os.devnull}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "notebook_widgets" in loaded
    heavy = "fastapi uvicorn bluesky ophyd numpy pandas pydantic httpx ipywidgets anywidget nest_asyncio sqlalchemy"
    assert loaded & set(heavy.split()) == set()


def test_the_page_about_notebooks_runs(shell, monkeypatch, tmp_path):
    monkeypatch.setenv("AGENT_SERVICE_SERVICE__CATALOG", "none")
    notebook(tmp_path / "page.ipynb", "%load_ext agent_service")
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "page.ipynb"))
    page = (Path(__file__).parents[2] / "docs" / "notebook.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) + page.count("\n```sh\n") == page.count("\n```") / 2
    try:
        for block in blocks:
            shell.run(block)
    finally:
        engine = shell.names["RE"]
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join(5)
        engine.loop.close()
    for option in (*_options.SERVE, *_options.OF_MAGIC["agent_export"]):
        assert f"`--{option.name}" in page
    assert (tmp_path / "deploy" / "sweep" / "state" / "journal.db").exists()


@pytest.mark.long
def test_twenty_cycles_leave_nothing_behind(shell):
    cycle(shell)  # what is imported and cached once stays
    before = descriptors(), set(threading.enumerate()), children()
    for _ in range(20):
        cycle(shell)
    assert set(threading.enumerate()) <= before[1]
    assert children() == before[2]
    assert descriptors() == before[0]


def cycle(shell):
    shell.run(f"%agent_serve Walker() --name w {SERVICE} {WALKER} --max-runs 1 --fresh\n%agent_serve")
    measured(shell, "w")
    shell.run("%agent_stop --all")


def children():
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile has none
            found |= set((task / "children").read_text().split())
    return found


# --- words


def test_words():
    assert _options.split("a(b, c='x y')  --d={'e f': [1, 2]} # g") == ["a(b, c='x y')", "--d={'e f': [1, 2]}"]
    assert _options.split("'it\\'s # one' two", closed=False) == ["'it\\'s # one'", "two"]
    assert _options.commas(["a,b", "c(d,e),'f,g'", "h"]) == ["a", "b", "c(d,e)", "f,g", "h"]
    assert _options.read("agent_serve", "a --fresh --state b").given == {"fresh": [], "state": ["b"]}


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("a.b.c", "c"),
        ("A(1)", "A"),
        ("a['b c']", "b-c"),
        ("a[0]", "a"),
        ("_a", "a"),
        ("(1, 2)", "agent"),
        ("m:a.B", "B"),
    ],
)
def test_the_name_in_an_expression(word, name):
    assert name_of(word) == name
