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
    assert done.stdout.startswith("service.toml is valid: 1 agent, ")
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
        (
            'outcome = "det"',
            'outcom = "det"',
            "[[agents]] \"aligner\": outcom: is not a known key here; did you mean 'outcome'?",
        ),
        (
            'outcome = "det"',
            'outcome = "det"\nloop = { max_run = 3 }',
            '[[agents]] "aligner": loop.max_run: is not a known key',
        ),
        ("sobol", "sobel", "[[agents]] \"aligner\": type: there is no agent type 'sobel'; did you mean 'sobol'?"),
        ("bounds =", "bonds =", '[[agents]] "aligner": config.bo'),
        ('["motor"]', '["moter"]', "[[agents]] \"aligner\": actuators: there is no device 'moter' in"),
        ("[service]", '[conditions]\nbeam = "moter > 1"\n[service]', "conditions.beam: there is no device 'moter' in"),
        ("[service]", '[conditions]\nbeam = "motor"\n[service]', "conditions.beam.rule: motor is a number, neither"),
        ('["det"]', '["dett"]', "[[agents]] \"aligner\": sensors: there is no device 'dett' in"),
        ('outcome = "det"', 'evaluate = "nowhere:found"', '[[agents]] "aligner": evaluate: '),
        (
            'outcome = "det"',
            'outcome = "det"\nplan = "acquir"',
            "[[agents]] \"aligner\": plan: there is no plan 'acquir'",
        ),
        ("[service]", '[run_engine]\nstartup = "no_such_module"\n[service]', "run_engine.startup: "),
        ("port = 0", "port = [", "is not valid TOML"),
        ("port = 0", 'port = "0"', "service.port: must be a number, without quotes: write port = 0"),
        ("port = 0", 'require_state = "no"', "must be true or false, without quotes: write require_state = false"),
        (
            'outcome = "det"',
            'outcome = "det"\nloop = { max_runs = "5" }',
            '[[agents]] "aligner": loop.max_runs: must be a number, without quotes: write max_runs = 5',
        ),
        ('name = "aligner"', "", "[[agents]] number 1: name: is missing"),
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
    assert '[[agents]] "aligner": type' in said
    assert '[[agents]] "aligner": actuators' in said


@pytest.mark.parametrize("sink", ["", '[sink]\nkind = "claim"\n'], ids=["devices here", "devices elsewhere"])
def test_an_actuator_that_moves_a_limited_device_past_its_limits(tmp_path, sink):
    part = GOOD.replace("{ motor =", '{ "motor.setpoint" =').replace('["motor"]', '["motor.setpoint"]')
    (tmp_path / "service.toml").write_text(f"{sink}{part}[guardrails]\nbounds = {{ motor = [0, 1] }}\n")
    done = run(tmp_path, "check", "service.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert '[[agents]] "aligner": guardrails.bounds.motor: motor' in done.stderr
    assert "setpoint is a part of motor or moves it, and motor is limited; take motor as the actuator" in done.stderr


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


def test_the_journal_s_database_is_asked(tmp_path, postgres):
    def checked(url):
        text = f'[service]\ncatalog = "none"\n[sink]\nkind = "claim"\n[journal]\nurl = "{url}"\n'
        (tmp_path / "service.toml").write_text(text)
        return run(tmp_path, "check", "service.toml")

    url = postgres.database()
    assert checked(url).returncode == 0
    assert postgres.ask(url, "SELECT to_regclass('meta')") == [(None,)]
    wrong = checked(f"{url}_not")
    assert wrong.returncode == 2
    assert "journal.url: the journal postgresql+psycopg://agents@" in wrong.stderr
    assert "does not exist; look whether" in wrong.stderr
