"""How the panel looks, light and dark; with SCREENSHOTS=DIRECTORY the pictures of the README are written there."""

import io
import os
import pathlib

import lab
import pytest
import wanted
from panel_cells import Notebook, Screen
from services import wait_until

DONE, WAITING, MAX_BYTES = 20, 3, 200_000
ALIGNER = f"""
import bluesky.plan_stubs as bps
from agent_service.plans.library import acquire

begun = []

def measure(suggestions, actuators, sensors, md=None):
    begun.append(suggestions)
    while len(begun) > {DONE} and not GO.exists():
        yield from bps.checkpoint()
        yield from bps.sleep(0.05)
    return (yield from acquire(suggestions, actuators, sensors, md))

bounds = {{"mirror_x": [-5, 5], "mirror_y": [-5, 5]}}
aligner = {{"type": "bayes", "config": {{"bounds": bounds, "objective": "flux", "maximize": True}}, "plan": measure,
           "loop": {{"max_runs": 30}}, "guardrails": {{"bounds": {{"mirror_x": [-4, 4], "mirror_y": [-4, 4]}}}}}}
service = agent_service.serve({{"aligner": aligner}}, catalog="none", state=HERE / "state", start=True)
"""
ADDRESS = """
address = {"url": service.url, "api_key": (HERE / "state" / "api_key").read_text().strip()}
(HERE / "address.tmp").write_text(json.dumps(address))
(HERE / "address.tmp").replace(HERE / "address.json")
AgentPanel(service, "aligner")
"""
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
_LUMINANCE = """panel => {
  const parts = getComputedStyle(panel).backgroundColor.match(/[\\d.]+/g).map(Number);
  return (0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2]) / 255;
}"""
_CUT = """panel => [...panel.querySelectorAll("*:not(.as-hidden)")].filter((one) =>
  one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === "hidden").map((one) => one.className)"""


@pytest.fixture(scope="module")
def page(jupyter, browser):
    imports = "import json\nimport agent_service\nfrom notebook_widgets import AgentPanel, ServicePanel"
    notebook = Notebook(jupyter, "screens", f"{imports}\n{ALIGNER}\n{ADDRESS}")
    size = {"viewport": {"width": 1180, "height": 1150}, "device_scale_factor": 2}
    with lab.opened(browser, jupyter, notebook.name, **size) as shown:
        shown.run_all()
        with wait_until(notebook.client, within_s=60, what="the service") as client:
            wait_until(lambda: client.agent("aligner").progress.done >= DONE, within_s=600, what=f"{DONE} runs")
            while len(client.suggestions("aligner", state="proposed")) < WAITING:  # one out of bounds is rejected
                client.suggest("aligner", 1)
        yield shown
        notebook.go.touch()
    jupyter.end_kernels()


def shoot(shown, name):
    """Of a panel or a page: take a picture with at most 256 colours, small enough to be kept in git."""
    image = wanted.module("PIL.Image")
    taken = image.open(io.BytesIO(getattr(shown, "root", shown).screenshot(animations="disabled")))
    small = io.BytesIO()
    taken.convert("RGB").quantize(256, image.Quantize.MEDIANCUT, kmeans=2, dither=image.Dither.NONE).save(
        small, "PNG", optimize=True
    )
    assert len(small.getvalue()) < MAX_BYTES
    if directory := os.environ.get("SCREENSHOTS"):
        (pathlib.Path(directory) / f"{name}.png").write_bytes(small.getvalue())


def wearing(page, look):
    """Return the panel in one of JupyterLab's themes."""
    page.page.evaluate(
        "theme => { window.jupyterapp.commands.execute('apputils:change-theme', { theme }) }", THEMES[look]
    )
    panel = Screen(page, "aligner")
    wait_until(lambda: (panel.root.evaluate(_LUMINANCE) > 0.5) is (look == "light"), what=f"the {look} theme")
    return panel


@pytest.mark.parametrize("look", THEMES)
def test_the_panel_is_aligned_and_follows_the_theme(page, look):
    panel = wearing(page, look)
    panel.says(f"{DONE} of 30 runs")
    panel.says(str(WAITING), panel.root.get_by_role("tab", name="Inbox"))
    panel.tab("Inbox")
    tops = {round(panel.button(name).bounding_box()["y"]) for name in ("Pause", "Stop", "Stop everything")}
    assert len(tops) == 1, "the commands stand in one line"
    plots = [one.bounding_box() for one in panel.root.locator("figure").all()]
    assert len({round(one["y"]) for one in plots}) == 1
    assert panel.root.evaluate(_CUT) == []
    shoot(panel, f"panel-{look}")


def test_the_form(page):
    panel = wearing(page, "light")
    panel.tab("Configure")
    panel.field("runs at most").wait_for()
    assert panel.root.evaluate(_CUT) == []
    shoot(panel, "panel-configure")


@pytest.mark.parametrize("look", THEMES)
def test_axe_finds_nothing_serious_on_any_tab(page, look):
    panel = wearing(page, look)
    found = {}
    for tab in panel.root.get_by_role("tab").all():
        tab.click()
        found[tab.inner_text()] = lab.serious(page.page, "section.as-panel")
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
