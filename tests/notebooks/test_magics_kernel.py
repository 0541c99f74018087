"""The magics in real kernels, whose event loop runs while a cell does."""

import kernels
import pytest

SERVE = "--catalog none --startup rig --actuators x,y --outcome signal --max-runs 2"
CELLS = """
import asyncio
from brainbox import Walker

class Connected(Walker):
    pass

async def ticking():
    while True:
        ticks.append(1)
        await asyncio.sleep(0)

async def connected():
    here = asyncio.get_running_loop()
    assert here is kernels_own, "what it makes belongs to the kernel's loop"
    seen = len(ticks)
    while len(ticks) < seen + 3:
        await asyncio.sleep(0)
    return Connected()

ticks, kernels_own = [], asyncio.get_running_loop()
task = asyncio.ensure_future(ticking())
"""


@pytest.fixture
def kernel(request, tmp_path):
    with kernels.kernel(tmp_path, getattr(request, "param", None)) as running:
        yield running


every_version = pytest.mark.parametrize("kernel", [None, *kernels.VERSIONS], indirect=True, ids=str)


def served(kernel):
    """Serve what an async function makes, run it to its end, and end the service."""
    kernel.run(CELLS)
    kernel.run(f"%agent_serve connected() {SERVE}")
    kernel.run("service.client.start('connected')\ndone = service.client.wait('connected').progress.done")
    assert kernel.value("done") == "2"
    assert kernel.value("'nest_asyncio' in __import__('sys').modules") == "True"
    kernel.run("task.cancel()\nawait asyncio.sleep(0)")  # cells are awaited as before
    kernel.run("%agent_stop --all\n%unload_ext agent_service")
    assert kernel.value("[one.name for one in __import__('threading').enumerate() if 'agent' in one.name]") == "[]"


@every_version
def test_a_magic_waits_for_what_must_be_awaited(kernel):
    kernel.run("%load_ext agent_service")
    kernel.run("from brainbox import Walker\nwalker = Walker()")
    kernel.run(f"%agent_serve walker {SERVE}\n%agent_stop --all")
    assert kernel.value("'nest_asyncio' in __import__('sys').modules") == "False", "only for those who need it"
    served(kernel)


@every_version
def test_magics_after_nest_asyncio_was_applied(kernel):
    kernel.run("import nest_asyncio\nnest_asyncio.apply()")
    kernel.run("%load_ext agent_service")
    served(kernel)


def test_a_mistake_is_one_line_and_the_kernel_goes_on(kernel):
    kernel.run("%load_ext agent_service")
    said = []

    def hear(message):
        if message["msg_type"] in ("stream", "error"):
            said.append(message["content"])

    reply = kernel.client.execute_interactive("%agent_serve nobody", timeout=30, output_hook=hear)
    assert reply["content"]["status"] == "error"
    assert said == [
        {
            "name": "stderr",
            "text": "UsageError: the name 'nobody' is not defined; run the cell that defines it first\n",
        }
    ]
    kernel.run("1 + 1")


def test_the_panel_is_shown_once_below_the_cell(kernel):
    kernel.run("%load_ext agent_service")
    kernel.run("from brainbox import Walker\nwalker = Walker()")
    shown = []

    def hear(message):
        if message["msg_type"] in ("display_data", "execute_result"):
            shown.append(message["content"]["data"])

    kernel.client.execute_interactive(f"%agent_serve walker {SERVE}", timeout=30, output_hook=hear)
    [picture, panel] = shown  # what a saved notebook shows, and the panel
    assert "application/vnd.jupyter.widget-view+json" not in picture
    assert "application/vnd.jupyter.widget-view+json" in panel
    kernel.run("%agent_stop --all")
