"""SIGTERM and Ctrl-C at any moment: while it starts, while cells run, while plans run, heard by whichever thread."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from prototype import SERVE, WALK, notebook
from services import wait_until

from agent_service.client import Client
from agent_service.state_dir import StateDir

if TYPE_CHECKING:
    from commands import Command

HERE = "import pathlib, time\npathlib.Path('there').touch()\n"
HANGS = f"{HERE}time.sleep(1000)\n"
DEAF = """import pathlib, time
while True:
    try:
        pathlib.Path('there').touch()
        time.sleep(0.1)
    except BaseException:
        pass
"""
PLAN = """
from agent_service.plans.beamline import simulated
from bluesky import plan_stubs as bps
globals().update(simulated())

def patient(suggestions, actuators, sensors, md=None):
    yield from bps.open_run(md)
    pathlib.Path('running').touch()
    while not pathlib.Path('go').exists():
        yield from bps.sleep(0.02)
    yield from bps.create()
    for one in sensors:
        yield from bps.read(one)
    yield from bps.save()
    yield from bps.close_run()
"""
TOML = """
[service]
state = "state"
grace_s = {grace_s}
[run_engine]
startup = "site_startup.py"
[[agents]]
name = "walk"
type = "my_agents:Walk"
actuators = ["mirror_x"]
sensors = ["flux"]
outcome = "flux"
plan = "patient"
"""


def wait_for(command: Command, name: str) -> None:
    wait_until((command.folder / name).exists, within_s=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["toml", "notebook"])
def test_a_startup_script_that_hangs_holds_nothing_up(command, kind, number):
    (command.folder / "site_startup.py").write_text(HANGS)
    if kind == "toml":
        target = "service.toml"
        (command.folder / target).write_text('[service]\nstate = "state"\n[run_engine]\nstartup = "site_startup.py"\n')
    else:
        target = "proto.ipynb"
        notebook(command.folder / target, "%load_ext agent_service", WALK, f"{SERVE} --startup site_startup.py")
    process = command.popen("serve", "--port", "0", target)
    wait_for(command, "there")
    assert command.stop(process, number) == (0, "", "stopped\n")
    assert command.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cell_is_interrupted(command, number):
    state = StateDir(command.folder / ".agent-service" / "proto")
    notebook(command.folder / "proto.ipynb", "%load_ext agent_service", WALK, SERVE, HANGS, "raise SystemExit(3)")
    process = command.popen("serve", "--port", "0", "proto.ipynb")
    wait_for(command, "there")
    code, out, err = command.stop(process, number)
    assert (code, err) == (0, "stopped\n")
    assert "Serving at" not in out
    assert command.left() == []
    with state:  # the lock is free, and nothing says that a service is there
        assert not state.service_file.exists()


def test_a_cell_that_does_not_heed_the_interrupt_is_left(command):
    notebook(command.folder / "proto.ipynb", "%load_ext agent_service", WALK, SERVE, DEAF)
    process = command.popen("serve", "--port", "0", "proto.ipynb")
    wait_for(command, "there")
    code, _, err = command.stop(process)
    assert (code, err) == (0, "stopped; the code that was being run did not heed the interrupt\n")
    assert command.left() == []


def test_a_thread_that_a_script_left_behind_is_not_waited_for(command):
    script = f"import threading, agent_service\n{WALK}\nagent_service.serve({{'walk': Walk}}, actuators=['mirror_x'], "
    hang = "outcome='flux')\nthreading.Thread(target=threading.Event().wait).start()\n"
    (command.folder / "proto.py").write_text(script + hang)
    process, _ = command.serve("proto.py")
    code, _, err = command.stop(process)
    assert (code, err.splitlines()[-1]) == (0, "stopped")
    assert command.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_another_thread_takes_is_heard(command, number):
    notebook(command.folder / "proto.ipynb", "%load_ext agent_service", WALK, SERVE)
    process, _ = command.serve("proto.ipynb")
    threads = [int(one.name) for one in Path(f"/proc/{process.pid}/task").iterdir()]
    os.kill(max(threads), number)  # a thread's own number: the system gives it to that thread
    _, err = process.communicate(timeout=15)
    assert (process.returncode, err.splitlines()[-1]) == (0, "stopped")


def test_while_the_archive_starts(command):
    command.environment["AGENT_SERVICE_SERVICE__CATALOG"] = "embedded"
    process, url = command.start("serve", "--port", "0", "--state", "s")
    assert httpx.get(f"{url}/readyz").json()["parts"]["catalogue"]["ready"] is False
    assert command.stop(process)[0] == 0
    assert command.left() == []


def test_an_event_stream_does_not_hold_up_a_server_of_somebody_else(command):
    (command.folder / "service.toml").write_text('[service]\nstate = "state"\n')
    command.environment["AGENT_SERVICE_CONFIG"] = "service.toml"
    command.command = (sys.executable, "-m", "uvicorn")
    process = command.popen("--factory", "agent_service:create_app", "--port", "0")
    line = next(one for one in process.stderr if "Uvicorn running on" in one)
    url = re.search(r"http://[\d.:]+", line)[0]
    key = (command.folder / "state" / "api_key").read_text().strip()
    with Client(url, api_key=key) as client:
        events = client.events(last_event_id=0, patience_s=0)
        next(events)
        code, _, err = command.stop(process)
        events.close()
    assert code in (0, -signal.SIGTERM)
    assert "Application shutdown complete" in err
    assert command.left() == []


def measure(command: Command) -> str:
    """Start the agent, and return the id of the suggestion whose plan runs."""
    with Client.from_state(command.folder / "state") as client:
        client.start("walk")
        wait_for(command, "running")  # the plan says it before its start document is a fact of the journal
        return wait_until(lambda: client.suggestions("walk", state="running"), within_s=60)[0].id


@pytest.fixture
def patient(command):
    """A service whose plan ends when the file ``go`` is there."""
    (command.folder / "site_startup.py").write_text(f"import pathlib\n{PLAN}")
    (command.folder / "my_agents.py").write_text(WALK)

    def serve(grace_s):
        command.environment.pop("AGENT_SERVICE_SERVICE__GRACE_S", None)
        (command.folder / "service.toml").write_text(TOML.format(grace_s=grace_s))
        return command.serve("service.toml")[0]

    return serve


def test_what_is_under_way_may_end_within_the_grace(command, patient):
    process = patient(100)
    uid = measure(command)
    process.send_signal(signal.SIGTERM)
    assert "stopping ...\n" in iter(process.stderr.readline, "")
    (command.folder / "go").touch()
    assert command.stop(process, 0)[0] == 0
    patient(0)
    with Client.from_state(command.folder / "state") as client:
        assert client.suggestion(uid).state == "ingested"
        assert not client.suggestions("walk", state="abandoned")
        wait_until(lambda: client.agent("walk").state == "running")


def test_a_second_signal_ends_the_grace(command, patient):
    process = patient(3600)
    uid = measure(command)
    process.send_signal(signal.SIGINT)
    assert "stopping ...\n" in iter(process.stderr.readline, "")
    assert command.stop(process, signal.SIGINT)[0] == 0
    patient(0)
    with Client.from_state(command.folder / "state") as client:
        wait_until(lambda: client.suggestion(uid).state == "abandoned")
