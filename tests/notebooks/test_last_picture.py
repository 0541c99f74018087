"""What a notebook shows of a panel when nobody draws it: opened again, printed, run without a page."""

import re

import lab
import pytest
import wanted
from panel_cells import WALKER, Notebook, Screen
from services import wait_until

nbconvert = wanted.module("nbconvert")
nbformat = wanted.module("nbformat")

PANEL = "panel = AgentPanel(service, 'asked')\npanel"
BOTH = "from IPython.display import display\ndisplay(ServicePanel(service), 'between')"
SAVE = "() => window.jupyterapp.shell.currentWidget.context.save()"
LOST = "Error displaying widget"
DRAWN = '.as-kept svg [data-points="3"]'


@pytest.fixture(scope="module")
def saved(jupyter, browser):
    """A notebook that was saved while its panels lived, and whose kernel has ended since."""
    notebook = Notebook(jupyter, "last", WALKER, PANEL, BOTH, "panel.close()")
    with lab.opened(browser, jupyter, notebook.name) as shown:
        for index in range(5):
            shown.run_cell(index)
        panel = Screen(shown, "asked")
        panel.state("created")
        panel.press("Start")
        panel.state("running")
        assert not shown.page.get_by_text("As it was at").first.is_visible(), "the panel itself is there"
        with wait_until(notebook.client, within_s=60, what="the service") as client:
            for _ in range(3):
                waiting = wait_until(lambda: client.suggestions("asked", state="proposed"), what="a suggestion")
                client.approve(waiting[0].id)
                wait_until(lambda one=waiting[0]: client.suggestion(one.id).state == "ingested", what="it measured")
        panel.says("3 runs")
        shown.run_cell(5)
        panel.root.wait_for(state="detached")
        wait_until(lambda: shown.page.locator(DRAWN).count(), within_s=60, what="its last picture in its place")
        shown.page.get_by_text("As it was at").first.wait_for()
        shown.page.evaluate(SAVE)
    jupyter.end_kernels()
    return notebook


@pytest.mark.parametrize("front_end", ["lab", "notebook"])
def test_opened_again_it_is_there_with_its_time_and_no_word_of_a_lost_widget(jupyter, browser, saved, front_end):
    with lab.opened(browser, jupyter, saved.name, front_end) as shown:
        last = shown.page.locator(".as-kept")
        last.first.wait_for(timeout=lab.SHOWS_WITHIN_MS)
        wait_until(lambda: shown.page.get_by_text(LOST).count() == 2, within_s=60, what="what the widgets say")
        assert last.count() == 2
        assert not any(one.is_visible() for one in shown.page.get_by_text(LOST).all())
        asked = last.filter(has_text="asked").first.inner_text()
        assert "3 runs" in asked
        assert re.search(r"As it was at .*\d:\d\d", asked)
        assert shown.page.locator(DRAWN).count()
    jupyter.end_kernels()


def test_printed_it_is_there_without_a_script(browser, saved, jupyter):
    notebook = nbformat.read(jupyter.root / saved.name, as_version=4)
    page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    (jupyter.root / "printed.html").write_text(page)
    with browser.new_context(java_script_enabled=False) as context:
        shown = context.new_page()
        shown.goto((jupyter.root / "printed.html").as_uri())
        shown.emulate_media(media="print")
        assert shown.locator(".as-kept").first.is_visible()
        assert shown.locator(DRAWN).count()
        assert not shown.get_by_text("<AgentPanel").is_visible()
