"""The modules that draw a service in a browser, under node's own test runner; and linked as a notebook loads them."""

import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from agent_service.brains import types
from agent_service.models import LoopSpec
from agent_service.server.view_files import VIEW, view_file
from notebook_widgets.panels.panel import page

HERE = Path(__file__).parent
VIEW_FOLDER = str(files("agent_service.server") / "static" / "view")

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def run(name, **more):
    """Run a file of tests; what failed is what it printed."""
    env = {**os.environ, "VIEW": VIEW_FOLDER, **more}
    ran = subprocess.run(
        ["node", "--test", "--test-force-exit", "--test-timeout=100000", str(HERE / name)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(re.search(r"^# pass (\d+)", ran.stdout, re.MULTILINE)[1]) > 0


@pytest.mark.parametrize(
    "name", ["belief.test.mjs", "fold.test.mjs", "forms.test.mjs", "texts.test.mjs", "units.test.mjs"]
)
def test_without_a_service(name):
    schemas = {"bayes": types.resolve("bayes").schema(), "loop": LoopSpec.model_json_schema()}
    run(name, SCHEMAS=json.dumps(schemas))


@pytest.mark.timeout(600)
def test_with_a_real_service(served):
    run("live.test.mjs", URL=served.url, KEY=served.server.api_key)


def linked():
    first, _, loader = page().partition("\n")
    return json.loads(first.removeprefix("const sources = ").removesuffix(";")), loader


def test_a_notebook_s_module_holds_all_it_imports():
    sources, loader = linked()
    there = set()
    for name, source in sources.items():
        needed = re.findall(r"^import .* from \"\./(\w+)\.js\";$", source, re.MULTILINE)
        assert set(needed) <= there, f"what {name} imports comes first"
        assert len(needed) == len(re.findall(r"^import ", source, re.MULTILINE)) == source.count('.js"')
        there.add(name)
    assert [source.count("export default") for source in sources.values()] == [0] * (len(sources) - 1) + [1]
    assert not re.search(r"^import ", loader, re.MULTILINE)
    assert not re.search(r"https?://(?!www\.w3\.org)", "".join(sources.values())), "a closed network has no CDN"
    assert set(VIEW) == {path.stem for path in Path(VIEW_FOLDER).glob("*.js")}
    assert ".as-panel" in view_file("panel.css")


LOAD = """
globalThis.Blob = class { constructor(parts) { this.code = parts.join(""); } };
URL.createObjectURL = (blob) => `data:text/javascript;base64,${Buffer.from(blob.code).toString("base64")}`;
const { default: panel } = await import(process.argv[1]);
console.log(typeof panel.render);
"""  # Node imports no blob


def test_a_notebook_s_module_is_sound_and_its_imports_are_there(tmp_path):
    found = tmp_path / "page.mjs"
    found.write_text(page())
    arguments = ["node", "--input-type=module", "-e", LOAD, str(found)]
    loaded = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert loaded.stdout == "function\n", loaded.stderr
