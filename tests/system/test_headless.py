"""``agent-service serve`` of notebooks, scripts and modules: what was prototyped is served by the same file."""

from __future__ import annotations

import json
import signal

import httpx
import pytest
from prototype import SERVE, WALK, notebook
from services import wait_until

from agent_service.client import Client

SCRIPT = f"""
import agent_service
{WALK}
with agent_service.serve({{"scripted": Walk}}, actuators=["mirror_x"], outcome="flux") as service:
    print(service.client.agent("scripted").state)
"""


def test_a_notebook_is_served_as_it_stands(command):
    notebook(
        command.folder / "proto.ipynb",
        "%load_ext agent_service\n%matplotlib inline",
        WALK,
        ("raise RuntimeError('for a person')", ["notebook-only"]),
        "import asyncio\nawait asyncio.sleep(0)\n!echo shell",
        SERVE,
        "service.client.start('walk', paused=True)",
        "from notebook_widgets import AgentPanel\npanel = AgentPanel(service, 'walk')",
        "print(service.client.agent('walk').state)\nservice.close()\n%agent_stop --all",
    )
    process, said = command.serve("proto.ipynb")
    assert "shell" in said
    assert "serving walk at" in said
    assert "paused\n" in said
    with Client.from_state(command.folder / ".agent-service" / "proto") as client:
        assert client.agent("walk").state == "paused"
    assert command.stop(process)[0] == 0
    assert command.left() == []


def test_it_is_not_ready_before_the_last_cell(command):
    notebook(
        command.folder / "proto.ipynb",
        "%load_ext agent_service",
        WALK,
        SERVE,
        "import time, pathlib\npathlib.Path('there').touch()\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)",
    )
    process = command.popen("serve", "--port", "0", "proto.ipynb")
    wait_until((command.folder / "there").exists, within_s=60)
    with Client.from_state(command.folder / ".agent-service" / "proto") as client:
        assert client.agent("walk").state == "created"
        ready = httpx.get(f"{client.url}/readyz")
        assert ready.status_code == 503
        assert ready.json()["parts"]["service"]["reason"] == "running code cell 4 of 4 of proto.ipynb"
        assert httpx.get(f"{client.url}/healthz").status_code == 200
        (command.folder / "go").touch()
        wait_until(lambda: httpx.get(f"{client.url}/readyz").status_code == 200)
    assert command.stop(process)[0] == 0


def test_after_a_kill_the_agent_goes_on_with_what_it_knew(command):
    notebook(command.folder / "proto.ipynb", "%load_ext agent_service", WALK, SERVE)
    process, _ = command.serve("proto.ipynb")
    state = command.folder / ".agent-service" / "proto"
    with Client.from_state(state) as client:
        client.start("walk")
        wait_until(lambda: client.agent("walk").progress.done >= 3)
    process.kill()
    process.communicate()
    process, said = command.serve("proto.ipynb")
    assert "walk is there already, running, and goes on with what it knows" in said
    with Client.from_state(state) as client:
        back = client.agent("walk")
        assert back.progress.done >= 3
        wait_until(lambda: client.agent("walk").progress.done >= back.progress.done + 3)
        client.update("walk", loop={"max_runs": 600})
    command.stop(process)
    _, said = command.serve("proto.ipynb")
    assert "its loop is not as the notebook has it" in said
    with Client.from_state(state) as client:
        assert client.agent("walk").progress.total == 600


def test_a_mix_is_one_service(command):
    (command.folder / "script.py").write_text(SCRIPT)
    (command.folder / "lab_agents.py").write_text(
        "spec = {'type': 'sobol', 'config': {'bounds': {'mirror_x': [-5, 5]}}, 'outcome': 'flux'}\n"
    )
    notebook(command.folder / "proto.ipynb", "%load_ext agent_service", WALK, SERVE)
    (command.folder / "service.toml").write_text(
        '[[agents]]\nname = "filed"\ntype = "sobol"\nconfig = { bounds = { mirror_x = [-1, 1] } }\n'
        'actuators = ["mirror_x"]\nsensors = ["flux"]\noutcome = "flux"\n'
    )
    process, said = command.serve("script.py", "proto.ipynb", "lab_agents:spec", "service.toml")
    assert "created\n" in said
    with Client.from_state(command.folder / "service.state") as client:
        assert sorted(one.name for one in client.agents()) == ["filed", "scripted", "spec", "walk"]
    assert command.stop(process)[0] == 0


@pytest.mark.parametrize(
    ("cells", "code", "said"),
    [
        (["x = 1", "y = 2\n\nz = 1 / 0"], 1, "proto.ipynb: code cell 2, line 3: ZeroDivisionError: division by zero"),
        (["def f(:"], 1, "proto.ipynb: code cell 1, line 1: SyntaxError"),
        (
            ["%load_ext agent_service", "%agent_serve nobody"],
            1,
            "proto.ipynb: code cell 2, line 1: the name 'nobody' is not defined",
        ),
        (["x = 1"], 2, "proto.ipynb serves nothing"),
    ],
)
def test_a_notebook_that_cannot_be_served_says_where(command, cells, code, said):
    notebook(command.folder / "proto.ipynb", *cells)
    done = command.run("serve", "--port", "0", "proto.ipynb")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert command.left() == []


@pytest.mark.parametrize(
    ("target", "text", "said"),
    [
        ("script.py", "import agent_service\n\nraise KeyError('k')\n", "script.py, line 3: KeyError: 'k'"),
        ("script.py", "import sys\nsys.exit(3)\n", "script.py ended with exit code 3"),
        ("nothing.ipynb", None, "nothing.ipynb is not there"),
        ("proto.ipynb", "{}", "proto.ipynb is no notebook of format 4"),
        ("proto.ipynb", "not json", "is no notebook"),
        ("lab:missing", None, "lab:missing cannot be imported"),
        ("whatever", None, "whatever cannot be served; give NOTEBOOK.ipynb"),
    ],
)
def test_a_target_that_cannot_be_served_is_one_line(command, target, text, said):
    if text is not None:
        (command.folder / target).write_text(text)
    done = command.run("serve", "--port", "0", target)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_reload_serves_the_edited_notebook(command):
    notebook(command.folder / "proto.ipynb", "%load_ext agent_service", WALK, SERVE)
    process = command.popen("serve", "--reload", "--port", "0", "--state", "s", "proto.ipynb")
    state = command.folder / "s"
    wait_until((state / "service.json").exists, within_s=60)
    first = json.loads((state / "service.json").read_text())["session"]
    notebook(
        command.folder / "proto.ipynb", "%load_ext agent_service", WALK, SERVE.replace("--name walk", "--name edited")
    )

    def edited():
        try:
            if json.loads((state / "service.json").read_text())["session"] == first:
                return False
            with Client.from_state(state) as client:
                return "edited" in [one.name for one in client.agents()]
        except Exception:  # noqa: BLE001 - it is between two lives
            return False

    wait_until(edited, within_s=60)
    assert command.stop(process, signal.SIGINT)[0] == 0
    wait_until(lambda: command.left() == [])


def test_a_file_beside_a_notebook_says_what_service_it_is(command):
    """Its sections count, its agents are there too, and the notebook brings the startup."""
    (command.folder / "site_startup.py").write_text(
        "from agent_service.plans.beamline import simulated\nglobals().update(simulated())\n"
    )
    (command.folder / "service.toml").write_text(
        '[service]\nstate = "mine"\n[run_engine]\nmd = { proposal = "p" }\n[security]\nmetrics = "open"\n'
        "[guardrails]\nbounds = { mirror_x = [0, 0.05] }\n"
        '[[agents]]\nname = "filed"\ntype = "sobol"\nconfig = { bounds = { mirror_x = [0, 1] } }\n'
        'actuators = ["mirror_x"]\noutcome = "flux"\n'
    )
    notebook(command.folder / "proto.ipynb", "%load_ext agent_service", WALK, f"{SERVE} --startup site_startup")
    process, _ = command.serve("proto.ipynb", "service.toml")
    with Client.from_state(command.folder / "mine") as client:
        assert {one.name for one in client.agents()} == {"filed", "walk"}
        assert httpx.get(f"{client.url}/metrics").status_code == 200
        client.start("walk")
        wait_until(lambda: client.suggestions("walk", state="rejected"))
    assert command.stop(process)[0] == 0
