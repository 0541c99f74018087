"""The socket of the RunEngine's process: nobody but this user reaches it, whatever the modes of files say."""

import asyncio
import os
import stat
import subprocess
import sys

import pytest
from services import running

from agent_service.errors import UsageError
from agent_service.plans.sinks.engine_process import EngineLauncher
from agent_service.plans.sinks.engine_settings import EngineSettings

SOMEBODY = 65534
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

CONNECTS = """
import os, socket, sys
os.chdir(sys.argv[1])  # the folders above are this user's
os.setuid(int(sys.argv[2]))
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(30)
    connection.connect("engine.sock")
    print(len(connection.recv(1)))
"""

LISTENS = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setuid(int(sys.argv[2]))
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind("engine.sock")
    listening.listen()
    print("listens", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The state directory of a service whose RunEngine has a process of its own."""
    monkeypatch.setenv("GATES", str(tmp_path))
    with running(tmp_path / "state", run_engine={"startup": "engine_rig", "process": True}) as service:
        yield tmp_path / "state"
        assert service.get("queue")["state"] == "idle"


def test_only_this_user_may_open_it(state):
    found = (state / "engine.sock").stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, os.getuid())
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


@NEEDS_ROOT
@pytest.mark.parametrize(("user", "n_bytes"), [(os.geteuid(), 1), (SOMEBODY, 0)], ids=["this user", "another"])
def test_it_hangs_up_on_another_user_who_can_open_it(state, user, n_bytes):
    """The modes are loosened, so that who connects is all that counts."""
    state.chmod(0o711)
    (state / "engine.sock").chmod(0o666)
    command = [sys.executable, "-c", CONNECTS, str(state), str(user)]
    heard = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(heard.stdout) == n_bytes, "the process says hello to whom it serves, and nothing to others"


@NEEDS_ROOT
def test_a_socket_of_another_user_in_its_place_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    command = [sys.executable, "-c", LISTENS, str(tmp_path), str(SOMEBODY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "listens\n"
        launcher = EngineLauncher(tmp_path, EngineSettings(), waits_s=1, keeps_documents=False)
        with pytest.raises(UsageError, match=r"engine.sock in .* is another user's; remove it"):
            asyncio.run(launcher.connect())
        other.stdin.close()
