"""``agent-service export``: the folder serves the prototype in a new environment, somewhere else."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prototype import SERVE, WALK, notebook
from services import wait_until

from agent_service.client import Client

OUTCOMES = "def found(run, suggestions):\n    return [{'flux': 1.0} for _ in suggestions]\n"
SITE = "from agent_service.plans.beamline import simulated\n\nglobals().update(simulated())\n"
LAB = "import numpy as np\n\nSTEP = float(np.float64(0.1))\n"


@pytest.fixture
def exported(command):
    """A prototype with a module of its own, served, measured a while, and exported with its memory as it runs."""
    (command.folder / "lab.py").write_text(LAB)
    (command.folder / "site_startup.py").write_text(SITE)
    (command.folder / "outcomes.py").write_text(OUTCOMES)
    (command.folder / "unrelated.py").write_text("raise RuntimeError\n")
    serve = SERVE.replace("--outcome flux", "--evaluate outcomes:found")
    notebook(
        command.folder / "proto.ipynb", "%load_ext agent_service\nimport lab", WALK, f"{serve} --startup site_startup"
    )
    process, _ = command.serve("proto.ipynb")
    state = command.folder / ".agent-service" / "proto"
    with Client.from_state(state) as client:
        client.start("walk")
        wait_until(lambda: client.agent("walk").progress.done >= 3)
        done = command.run("export", "proto.ipynb", "-o", "out", "--with-state", "--catalog", "none")
        assert done.returncode == 0, done.stderr
        api = httpx.get(f"{client.url}/openapi.json").json()
        measured = client.agent("walk").progress.done
    command.stop(process)
    return command.folder / "out", api, measured, (state / "api_key").read_text()


def test_what_is_in_the_folder(exported):
    folder, _, _, key = exported
    names = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    kept = {one for one in names if not one.startswith("wheels/")}
    assert kept == {
        "README.md",
        "agent-service.service",
        "lab.py",
        "outcomes.py",
        "proto.ipynb",
        "requirements.txt",
        "service.toml",
        "site_startup.py",
        "state/arrived",
        "state/journal.db",
    }
    pins = (folder / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"\./wheels/\S+\.whl|[A-Za-z0-9_.-]+==\S+", one) for one in pins)
    assert {"numpy", "fastapi", "bluesky"} <= {one.partition("==")[0].lower() for one in pins}
    for name in names:
        assert key.strip().encode() not in (folder / name).read_bytes(), name
        assert str(folder.parent).encode() not in (folder / name).read_bytes(), name


@pytest.mark.long
@pytest.mark.timeout(900)
def test_it_serves_in_a_new_environment_elsewhere(exported, command, tmp_path):
    folder, api, measured, _ = exported
    elsewhere = tmp_path / "another machine" / "proto"
    elsewhere.parent.mkdir()
    shutil.move(folder, elsewhere)
    subprocess.run([sys.executable, "-m", "venv", elsewhere / ".venv"], check=True)
    python = elsewhere / ".venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]
    subprocess.run(install, check=True, cwd=elsewhere, stdout=subprocess.DEVNULL)
    command.environment.pop("PYTHONPATH", None)
    command.folder, command.command = elsewhere, (str(python), "-m", "agent_service")
    process, said = command.serve("proto.ipynb", "service.toml")
    assert "walk is there already, paused, and goes on with what it knows" in said
    with Client.from_state(elsewhere / "state") as client:
        assert Path(client.service().state_dir) == elsewhere / "state"
        arrived = client.agent("walk")
        assert arrived.state == "paused"
        assert 3 <= arrived.progress.done <= measured
        assert httpx.get(f"{client.url}/openapi.json").json() == api
        client.resume("walk")
        wait_until(lambda: client.agent("walk").progress.done >= arrived.progress.done + 2)
    assert not (elsewhere / "state" / "arrived").exists()
    assert command.stop(process)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["proto.ipynb", "-o", "full"], "full is there already and not empty"),
        (["nothing.ipynb", "-o", "new"], "is no notebook or script"),
        (["proto.ipynb", "-o", "new", "--with-state"], "there is no journal in"),
        (["proto.ipynb", "-o", "new", "--state", "s"], "say --with-state too"),
        (["proto.ipynb", "-o", "new", "--with-state", "--state", "newer"], "written by a newer agent-service"),
        (["proto.ipynb", "-o", "new", "--with-state", "--state", "rotten"], "file is not a database"),
        (["proto.ipynb", "-o", "new", "--with-state", "--state", "empty"], "holds no journal"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing_behind(command, arguments, said):
    notebook(command.folder / "proto.ipynb", WALK)
    for name in ("full", "newer", "rotten", "empty"):
        (command.folder / name).mkdir()
    (command.folder / "full" / "mine.txt").write_text("keep")
    (command.folder / "rotten" / "journal.db").write_text("no journal at all " * 100)
    (command.folder / "empty" / "journal.db").touch()
    with contextlib.closing(sqlite3.connect(command.folder / "newer" / "journal.db")) as file, file:
        file.execute("create table meta (key text, value text)")
        file.execute("insert into meta values ('schema_version', '99')")
    before = sorted(command.folder.rglob("*"))
    done = command.run("export", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert sorted(command.folder.rglob("*")) == before


@pytest.mark.long
def test_it_says_how_to_serve_it_with_its_memory_and_does_not_begin_without(command, tmp_path):
    """As a person finds out: without the service.toml, without the folder state, and as the command itself says."""
    name = "my prøto"
    notebook(command.folder / f"{name}.ipynb", "%load_ext agent_service", WALK, SERVE)
    process, _ = command.serve(f"{name}.ipynb")
    [state] = (command.folder / ".agent-service").iterdir()
    with Client.from_state(state) as client:
        client.start("walk")
        measured = wait_until(lambda: (done := client.agent("walk").progress.done) >= 3 and done)
    command.stop(process)
    forgetful = command.run("export", f"{name}.ipynb", "-o", "without", "--catalog", "none")
    assert "--with-state takes it along" in forgetful.stdout
    done = command.run("export", f"{name}.ipynb", "-o", "with it", "--with-state", "--catalog", "none")
    assert done.returncode == 0, done.stderr
    said = f"agent-service serve '{name}.ipynb' service.toml"
    assert said in done.stdout
    folder = command.folder / "with it"
    assert said in (folder / "README.md").read_text()
    assert f'serve "{name}.ipynb" service.toml' in (folder / "agent-service.service").read_text()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    command.folder = elsewhere
    refused = command.run("serve", f"{name}.ipynb", "--port", "0")
    assert refused.returncode != 0
    assert "was exported with its memory" in refused.stderr
    assert "service.toml" in refused.stderr
    assert not (elsewhere / ".agent-service").exists()
    (elsewhere / "state").rename(elsewhere / "left behind")
    refused = command.run("serve", f"{name}.ipynb", "service.toml", "--port", "0")
    assert refused.returncode != 0
    assert "holds no journal" in refused.stderr
    assert "require_state" in refused.stderr
    (elsewhere / "left behind").rename(elsewhere / "state")
    process, _ = command.serve(f"{name}.ipynb", "service.toml")
    with Client.from_state(elsewhere / "state") as client:
        assert client.agent("walk").progress.done >= measured
        assert client.agent("walk").state == "paused"
    command.stop(process)
    process, _ = command.serve(f"{name}.ipynb", "--state", "fresh")  # who says so begins without
    with Client.from_state(elsewhere / "fresh") as client:
        assert client.agent("walk").progress.done == 0
    command.stop(process)
