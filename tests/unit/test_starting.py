"""A service that starts says so, to who asks by its state directory; Ctrl-C before it can hear of it is no failure."""

import os
import subprocess
import sys

import pytest

from agent_service.client import Client
from agent_service.errors import UsageError
from agent_service.state_dir import STARTS_WITHIN_S, StateDir, marked_starting, starting

INTERRUPTED = """
import runpy, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupts())
runpy.run_module("agent_service", run_name="__main__")
"""


def test_who_asks_meanwhile_is_told_to_wait(tmp_path):
    state = StateDir(tmp_path / "state")
    with marked_starting(state):
        assert starting(state) == os.getpid()
        with pytest.raises(UsageError, match=rf"a service is starting on .*state \(process {os.getpid()}\)"):
            Client.from_state(state.path)
    with pytest.raises(UsageError, match="no service runs on"):
        Client.from_state(state.path)


@pytest.mark.parametrize("mark", ["", "x", "0x1", "999999999"])
def test_a_mark_of_nobody_means_nothing(tmp_path, mark):
    state = StateDir(tmp_path)
    state.starting_file.write_text(mark)
    assert starting(state) is None


def test_a_mark_of_long_ago_means_nothing(tmp_path):
    state = StateDir(tmp_path)
    state.starting_file.write_text(str(os.getpid()))
    assert starting(state) == os.getpid()
    before = state.starting_file.stat().st_mtime - STARTS_WITHIN_S - 1
    os.utime(state.starting_file, (before, before))
    assert starting(state) is None


def test_ctrl_c_while_it_is_imported_shows_no_traceback():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "stopped\n")
