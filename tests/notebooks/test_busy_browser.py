"""Buttons pressed in a real browser while a cell blocks: JupyterLab, Notebook 7 and Voila."""

import pathlib
import time

import kernels
import lab
import pytest

CELLS = (pathlib.Path(__file__).parent / "busy_cells.py").read_text()
INSTALL = "import notebook_widgets.kernel\ncontrol = notebook_widgets.kernel.install()"
RUN_ENGINE = "from bluesky import RunEngine\nRE = RunEngine({})"
IN_SUBSHELL = """code => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  kernel.subshellId = [...kernel._comms.values()][0].subshellId;
  kernel.requestExecute({ code, silent: true });
  kernel.subshellId = null;
}"""


class Busy:
    """A notebook whose cells write lines into a file, and block until there is another."""

    def __init__(self, jupyter, name, *cells, version=None):
        directory = jupyter.root / name
        self.name = f"{name}/busy.ipynb"
        self.log, self.go = directory / "log.txt", directory / "go"
        start = f"import pathlib, time\nLOG, GO = pathlib.Path({str(self.log)!r}), pathlib.Path({str(self.go)!r})\n"
        if version is not None:
            kernels.python_path(version)  # or skip
        kernel = "python3" if version is None else f"ipykernel-{version}"
        jupyter.write(self.name, start + CELLS, *cells, kernel=kernel)
        self.log.write_text("")

    def lines(self):
        return self.log.read_text().split()

    def until(self, line, times=1):
        deadline = time.monotonic() + 60
        while (lines := self.lines()).count(line) < times:
            assert time.monotonic() < deadline, f"no {line!r} ({times}), only {lines}"
            time.sleep(0.01)
        return lines


@pytest.fixture
def busy(request, jupyter):
    """Write a notebook of these cells, after those that all have."""
    directory = "".join(c if c.isalnum() else "-" for c in request.node.name)
    yield lambda *cells, version=None: Busy(jupyter, directory, *cells, version=version)
    jupyter.end_kernels()


def press(notebook, page, times=1):
    """Press the button, wait for its line, and say for a reader how long it took: no test depends on that."""
    page.page.evaluate("() => document.addEventListener('click', () => { window.clicked = Date.now() }, true)")
    page.button("Press").click()
    lines = notebook.until("pressed", times)
    took_s = notebook.log.stat().st_mtime - page.page.evaluate("() => window.clicked") / 1000
    print(f"from the click in the page to the callback's line: {took_s:.3f} s")
    return lines


@pytest.mark.parametrize("version", [None, "7.3.0"], ids=str)
@pytest.mark.parametrize("front_end", ["lab", "notebook"])
def test_pressed_while_a_cell_sleeps_and_during_a_plan(jupyter, browser, busy, front_end, version):
    runs = f"GO.unlink()\n{RUN_ENGINE}\nRE(plan())"
    notebook = busy(INSTALL, "button", "blocks()", runs, "note('next')", version=version)
    with lab.opened(browser, jupyter, notebook.name, front_end) as page:
        page.run_all()
        notebook.until("cell:begin")
        assert press(notebook, page) == ["cell:begin", "pressed"]
        notebook.go.touch()
        slept = ["cell:begin", "pressed", "cell:end"]
        assert notebook.until("plan:begin") == [*slept, "plan:begin"]
        assert press(notebook, page, times=2) == [*slept, "plan:begin", "pressed"]
        notebook.go.touch()
        assert notebook.until("next") == [*slept, "plan:begin", "pressed", "plan:end", "next"]


@pytest.mark.parametrize("front_end", ["lab", "notebook"])
def test_pressed_during_a_plan_with_an_ipykernel_without_subshells(jupyter, browser, busy, front_end):
    notebook = busy(INSTALL, "button", f"{RUN_ENGINE}\nRE(plan())", "note('next')", version="6.31.0")
    with lab.opened(browser, jupyter, notebook.name, front_end) as page:
        page.run_all()
        notebook.until("plan:begin")
        assert press(notebook, page) == ["plan:begin", "pressed"]
        assert press(notebook, page, times=2) == ["plan:begin", "pressed", "pressed"]
        notebook.go.touch()
        assert notebook.until("next") == ["plan:begin", "pressed", "pressed", "plan:end", "next"]


def test_uninstalled_a_press_waits_for_the_cell(jupyter, browser, busy):
    notebook = busy(f"{INSTALL}\nnotebook_widgets.kernel.uninstall()", "button", "blocks()")
    with lab.opened(browser, jupyter, notebook.name) as page:
        page.run_all()
        notebook.until("cell:begin")
        page.button("Press").click()
        # what the page sends to the subshell after the press runs in it: so the press did not go there
        page.page.evaluate(IN_SUBSHELL, "note('subshell')")
        assert notebook.until("subshell") == ["cell:begin", "subshell"]
        notebook.go.touch()
        assert notebook.until("pressed") == ["cell:begin", "subshell", "cell:end", "pressed"]


def test_the_front_ends_interrupt_still_pauses_the_run_engine(jupyter, browser, busy):
    notebook = busy(INSTALL, "button", f"{RUN_ENGINE}\ntry:\n    RE(plan())\nfinally:\n    note(RE.state)")
    with lab.opened(browser, jupyter, notebook.name) as page:
        page.run_all()
        notebook.until("plan:begin")
        page.button("Press").click()
        notebook.until("pressed")
        page.command("notebook:interrupt-kernel")
        assert notebook.until("paused") == ["plan:begin", "pressed", "paused"]


def test_pressed_again_after_the_page_was_loaded_anew(jupyter, browser, busy):
    shows = "button.on_click(lambda b: setattr(b, 'tooltip', 'pressed'))"
    notebook = busy(INSTALL, f"{shows}\nbutton", "blocks()")
    with lab.opened(browser, jupyter, notebook.name) as page:
        page.run_all()
        notebook.until("cell:begin")
        page.button("Press").click()
        notebook.until("pressed")
        notebook.go.touch()
        notebook.until("cell:end")
        # the cell's last messages may come after a save: save until nothing is left to save
        page.page.wait_for_function(
            "async () => { const c = window.jupyterapp.shell.currentWidget.context;"
            " if (c.model.dirty) await c.save(); return !c.model.dirty }"
        )
        page.page.reload()
        page.button("Press").click()
        notebook.until("pressed", times=2)


def test_voila_a_plan_that_a_button_runs_leaves_other_buttons_alive(jupyter, browser, busy):
    runs = "run = ipywidgets.Button(description='Run')\nrun.on_click(lambda _: RE(plan()))\nrun"
    notebook = busy(INSTALL, RUN_ENGINE, runs, "button")
    with lab.opened(browser, jupyter, notebook.name, "voila") as page:
        page.button("Run").click()
        notebook.until("plan:begin")
        page.button("Press").click()
        assert notebook.until("pressed") == ["plan:begin", "pressed"]
        notebook.go.touch()
        notebook.until("plan:end")
