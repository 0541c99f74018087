"""docs/deploy.md: every command on it is run, in the order of the page, on a prototype."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from commands import Command
from prototype import SERVE, WALK, notebook

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
AGENT = "{'type': 'sobol', 'config': {'bounds': {'mirror_x': [-5, 5]}}, 'outcome': 'flux'}"


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A folder with all that the page speaks of; what one command leaves there, the next one finds."""
    made = Command(tmp_path_factory.mktemp("site"))
    notebook(made.folder / "prototype.ipynb", "%load_ext agent_service", WALK, SERVE)
    (made.folder / "service.toml").write_text('[service]\nstate = "state"\ncatalog = "none"\n')
    (made.folder / "my_agents.py").write_text(f"aligner = {AGENT}\n")
    made.environment["AGENT_SERVICE_SERVICE__PORT"] = "0"
    yield made
    made.close()


def test_the_page_shows_commands():
    assert len(LINES) > 8


@pytest.mark.parametrize("line", LINES)
def test_each_command_does_what_the_page_says(command, line):
    words = shlex.split(line)
    if words[0].startswith("AGENT_SERVICE_CONFIG="):
        assert "agent_service:create_app" in words  # tests/conformance/test_homes.py runs it
        return
    assert words.pop(0) == "agent-service"
    if words[0] != "serve":
        done = command.run(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout
        return
    if "--port" in words:
        words[words.index("--port") + 1] = "0"
    process = command.popen(*words)
    said = next(one for one in process.stdout if one.startswith("Serving at "))
    assert said
    assert command.stop(process, 2)[0] == 0
