"""Every command of ours on every page is run, in the order of the page, where there is what the page speaks of."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from commands import Command
from prototype import SERVE, WALK, notebook

DOCS = Path(__file__).parents[2] / "docs"
AGENT = "{'type': 'sobol', 'config': {'bounds': {'mirror_x': [-5, 5]}}, 'outcome': 'flux'}"
ELSEWHERE = {
    "AGENT_SERVICE_CONFIG=": "tests/conformance/test_homes.py",
    "agent-service COMMAND": "test_cli_agents.py",
    "agent-service approve": "test_cli_agents.py",
    "agent-service archive ": "test_cli.py",
    "agent-service catalog": "test_documentation.py",
    "agent-service check cluster.toml": "test_dask.py",
    "agent-service demo": "test_demo.py",
    "agent-service devices": "test_cli_agents.py",
    "agent-service inbox": "test_cli_agents.py",
    "agent-service journal copy": "tests/unit/test_journal_places.py",
    "agent-service open": "test_cli_agents.py",
    "agent-service pause": "test_cli_agents.py",
    "agent-service propose": "test_cli_agents.py",
    "agent-service reject": "test_cli_agents.py",
    "AGENT_SERVICE_API_KEY=KEY1,KEY2 agent-service relay": "tests/http/test_relay.py",
    "agent-service serve local.toml": "test_scale_page.py",
    "agent-service start aligner": "test_cli_agents.py",
    "agent-service status": "test_cli.py",
    "agent-service stop": "test_cli_stop.py",
    "agent-service watch": "test_cli_agents.py",
    "curl ": "tests/http/test_points.py",
    "helm ": "tests/unit/test_deploy_files.py",
    "pip install ": "test_binder.py",
    "podman build ": "tests/unit/test_deploy_files.py",
}
"""Commands that other tests run, for they need more."""

SCRIPT = """
from bluesky_adaptive.server import register_variable

gain = {"value": 1.0}
register_variable("gain", gain, "value")
"""


def commands(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks, and what it names in passing, in their order."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```sh\n(.*?)^```|`(agent-service [^`]+)`", text, re.MULTILINE | re.DOTALL)
    return [line for block, word in found for line in (block or word).splitlines()]


ALL = [(page.name, line) for page in sorted(DOCS.glob("*.md")) for line in dict.fromkeys(commands(page))]
HERE = [pytest.param(*one, id=" ".join(one)) for one in ALL if not one[1].startswith(tuple(ELSEWHERE))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each page; what one command leaves there, the next one finds."""
    made: dict[str, Command] = {}
    for page in {name for name, _ in ALL}:
        one = made[page] = Command(tmp_path_factory.mktemp("site"))
        notebook(one.folder / "prototype.ipynb", "%load_ext agent_service", WALK, SERVE)
        (one.folder / "service.toml").write_text('[service]\nstate = "state"\ncatalog = "none"\n')
        (one.folder / "my_agents.py").write_text(f"aligner = {AGENT}\n")
        (one.folder / "site.py").write_text(SCRIPT)
        one.environment["AGENT_SERVICE_SERVICE__PORT"] = "0"
    yield made
    for one in made.values():
        one.close()


def test_the_pages_show_commands():
    assert {"deploy.md", "security.md", "concepts.md", "service-toml.md", "reading.md"} <= {page for page, _ in ALL}
    assert len(HERE) > 18
    assert all(any(line.startswith(one) for _, line in ALL) for one in ELSEWHERE), "say of no more that they are run"


@pytest.mark.parametrize(("page", "line"), HERE)
def test_each_command_does_what_the_page_says(folders, page, line):
    command = folders[page]
    words = shlex.split(line)
    assert words.pop(0) == "agent-service"
    if words[0] != "serve":
        done = command.run(*words, *_completed(words))
        assert done.returncode == 0, done.stderr
        assert done.stdout
        return
    if "--port" in words:
        words[words.index("--port") + 1] = "0"
    process = command.popen(*words)
    said = next(one for one in process.stdout if one.startswith("Serving at "))
    assert said
    assert command.stop(process, 2)[0] == 0


def _completed(words: list[str]) -> list[str]:
    """Return what a command needs that is only named in passing."""
    return ["bob", "--scopes", "read"] if words == ["keys", "create"] else []
