"""The kernel's control where there is no kernel, and overrides by themselves."""

import subprocess
import sys

import pytest
from bluesky.utils import DefaultDuringTask
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from notebook_widgets import kernel
from notebook_widgets.kernel._override import Override


@pytest.fixture
def shell(monkeypatch, tmp_path):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)  # IPython warns when it is not the one that runs this
    config = Config()
    config.HistoryManager.enabled = False  # it has a thread
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("given", [True, False])
def test_outside_a_kernel_nothing_is_overridden(shell, given):
    before = DefaultDuringTask.block
    hooks = list(shell.events.callbacks["pre_run_cell"])
    control = kernel.install(shell if given else None)
    assert control.ways == ()
    assert DefaultDuringTask.block is before
    assert shell.events.callbacks["pre_run_cell"] == hooks
    assert kernel.KernelControl.current is None
    control.restore()
    kernel.uninstall()


def test_importing_it_starts_nothing_and_loads_neither_bluesky_nor_the_kernel():
    code = (
        "import sys, threading, notebook_widgets.kernel as k\n"
        "k.install().restore()\n"
        "print(threading.active_count(), {'bluesky', 'ipykernel', 'zmq', 'IPython.core'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "1 set()"


class Thing:
    def says(self, word):
        return word


def loud(original, thing, word):
    return original(thing, word).upper()


def test_an_override_is_undone_once():
    stock = Thing.says
    override = Override(Thing, "says", loud)
    assert Thing().says("a") == "A"
    override.restore()
    override.restore()
    assert Thing.says is stock
    assert Thing().says("a") == "a"


def test_an_override_below_somebody_elses_stays_and_does_nothing():
    stock = Thing.says
    override = Override(Thing, "says", loud)
    ours = Thing.says
    theirs = Thing.says = lambda self, word: ours(self, word) + "!"
    try:
        assert Thing().says("a") == "A!"
        override.restore()
        assert Thing.says is theirs
        assert Thing().says("a") == "a!"
    finally:
        Thing.says = stock
