"""What Binder would build: the recipe that repo2docker writes, the pins and the scripts; no container is needed."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import wanted

ROOT = Path(__file__).parents[2]
BINDER = ROOT / "binder"
FIRST = "notebooks/01-quickstart.ipynb"
SOURCES = ("agent_service", "notebook_widgets", "binder", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The Dockerfile that repo2docker writes for the project; nothing is built and no container engine is asked."""
    with warnings.catch_warnings(action="ignore"):  # an old name of a module that it uses
        wanted.module("repo2docker")
    copy = copied(tmp_path_factory.mktemp("binder") / "project")
    told = subprocess.run(
        [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def copied(there):
    """Copy what an image needs of the project, without caches and state."""
    there.mkdir()
    for name in SOURCES:
        one = ROOT / name
        if one.is_dir():
            shutil.copytree(one, there / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(one, there / name)
    return there


def pins(path):
    lines = path.read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_recipe_installs_the_pins_then_the_package_and_starts_by_our_script(recipe):
    steps = [
        'pip install --no-cache-dir -r "binder/requirements.txt"',
        "RUN ./binder/postBuild",
        'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"',
    ]
    found = [recipe.find(step) for step in steps]
    assert -1 not in found, recipe
    assert found == sorted(found)
    assert "environment-2epy-2d3-2e11-2dlinux" in recipe  # the Python of runtime.txt


def test_the_pins_are_those_of_constraints_and_all_that_is_needed():
    told = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "binder-pins")], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    said = "binder/requirements.txt is old; .ci/binder-pins prints it anew"
    assert told.stdout == (BINDER / "requirements.txt").read_text(), said


def test_the_pins_are_versions_that_ci_tests_and_name_no_index():
    pinned, tested = pins(BINDER / "requirements.txt"), pins(ROOT / "constraints.txt")
    assert pinned.items() <= tested.items()
    assert {"jupyterlab", "jupyter-server-proxy", "ipykernel", "anywidget", "bluesky", "hatchling"} <= pinned.keys()
    assert not {"pytest", "ruff", "jupyter-repo2docker"} & pinned.keys()
    assert all(mark not in (BINDER / "requirements.txt").read_text() for mark in ("--", "://", "@"))


def test_the_package_is_built_and_installed_with_nothing_from_elsewhere(tmp_path):
    wanted.module("hatchling")
    copy = copied(tmp_path / "project")
    env = {**os.environ, "PIP_TARGET": str(tmp_path / "there"), "PIP_NO_INDEX": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    told = subprocess.run(
        [copy / "binder" / "postBuild"], cwd=copy, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert (tmp_path / "there" / "agent_service" / "__init__.py").is_file()
    assert (tmp_path / "there" / "agent_service" / "server" / "static" / "view" / "agent_panel.js").is_file()
    assert (tmp_path / "there" / "notebook_widgets" / "panels" / "static" / "widget.js").is_file()


def test_start_becomes_what_it_is_told_to_run():
    code = "import json, os; print(json.dumps([os.getpid(), os.environ['OMP_NUM_THREADS']]))"
    with subprocess.Popen([BINDER / "start", sys.executable, "-c", code], stdout=subprocess.PIPE) as started:
        answer, _ = started.communicate(timeout=30)
    assert json.loads(answer) == [started.pid, "1"]  # the same process: signals of the hub reach it


def test_the_link_that_the_documentation_forms_opens_a_notebook_that_is_there():
    told = (ROOT / "notebooks" / "README.md").read_text()
    assert f"urlpath=lab/tree/{FIRST}" in told
    assert (ROOT / FIRST).is_file()
