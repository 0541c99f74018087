"""``agent-service check`` and ``schema``: a configuration looked at in a process of its own, and nothing started."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import pytest
from jsonschema import Draft202012Validator

COMMAND = (sys.executable, "-m", "agent_service")

GOOD = """
[service]
port = 0
[[agents]]
name = "aligner"
type = "sobol"
config = { bounds = { motor = [0, 1] } }
actuators = ["motor"]
sensors = ["det"]
outcome = "det"
"""


def run(folder, *arguments):
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_good_file(tmp_path):
    (tmp_path / "service.toml").write_text(GOOD)
    done = run(tmp_path, "check", "service.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("service.toml is valid: 1 agents")
    assert [one.name for one in tmp_path.iterdir()] == ["service.toml"]


def test_an_outcome_with_an_actuators_name(tmp_path):
    (tmp_path / "service.toml").write_text(GOOD.replace('outcome = "det"', 'outcome = "motor"\nrun = "last"'))
    done = run(tmp_path, "check", "service.toml")
    assert done.returncode != 0
    assert "'motor' is an actuator of this agent, so it cannot be an outcome too" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("port = 0", "prot = 0", "service.prot: is not a known key here; did you mean 'port'?"),
        ("[service]", "[servce]", "servce: is not a known key here; did you mean 'service' or 'source' or 'sources'?"),
        ('outcome = "det"', 'outcom = "det"', "agents.0.outcom: is not a known key here; did you mean 'outcome'?"),
        ('outcome = "det"', 'outcome = "det"\nloop = { max_run = 3 }', "agents.0.loop.max_run: is not a known key"),
        ("sobol", "sobel", "agents.0.type: there is no agent type 'sobel'; did you mean 'sobol'?"),
        ("bounds =", "bonds =", "agents.0.config.bo"),
        ('["motor"]', '["moter"]', "agents.0.actuators: there is no device 'moter' in"),
        ("[service]", '[conditions]\nbeam = "moter > 1"\n[service]', "conditions.beam: there is no device 'moter' in"),
        ("[service]", '[conditions]\nbeam = "motor"\n[service]', "conditions.beam.rule: motor is a number, neither"),
        (
            "[service]",
            '[run_engine]\nprocess = true\n[conditions]\nbeam = "motor > 1"\n[service]',
            "conditions: they are read in the service itself: take run_engine.process = false with them",
        ),
        ('["det"]', '["dett"]', "agents.0.sensors: there is no device 'dett' in"),
        ('outcome = "det"', 'evaluate = "nowhere:found"', "agents.0.evaluate: "),
        ('outcome = "det"', 'outcome = "det"\nplan = "acquir"', "agents.0.plan: there is no plan 'acquir'"),
        ("[service]", '[run_engine]\nstartup = "no_such_module"\n[service]', "run_engine.startup: "),
        ("port = 0", "port = [", "is not valid TOML"),
    ],
)
def test_each_mistake_is_one_line_that_names_its_place(tmp_path, old, new, said):
    (tmp_path / "service.toml").write_text(GOOD.replace(old, new))
    done = run(tmp_path, "check", "service.toml", "--devices")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_two_mistakes_are_both_named(tmp_path):
    (tmp_path / "service.toml").write_text(GOOD.replace('["motor"]', '["moter"]').replace("sobol", "sobel"))
    said = run(tmp_path, "check", "service.toml").stderr
    assert "agents.0.type" in said
    assert "agents.0.actuators" in said


def test_devices_are_looked_for_when_asked(tmp_path):
    (tmp_path / "lab.py").write_text("raise RuntimeError('connects to hardware')\n")
    (tmp_path / "service.toml").write_text('[run_engine]\nstartup = "lab.py"\n' + GOOD)
    done = run(tmp_path, "check", "service.toml")
    assert done.returncode == 0
    assert "--devices" in done.stderr
    done = run(tmp_path, "check", "service.toml", "--devices")
    assert done.returncode == 2
    assert "connects to hardware" in done.stderr


def test_the_schema_accepts_what_the_service_accepts(tmp_path):
    done = run(tmp_path, "schema")
    schema = json.loads(done.stdout)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    validator.validate(tomllib.loads(GOOD))
    assert [list(one.path) for one in validator.iter_errors(tomllib.loads(GOOD.replace("port", "prot")))] == [
        ["service"]
    ]
    assert "api_key" not in schema["properties"]
