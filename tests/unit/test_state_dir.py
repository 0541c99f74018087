"""The state directory: one service at a time, on a local disk, with a key of its own."""

import os
import signal
import stat
import subprocess
import sys

import pytest

from agent_service.errors import UsageError
from agent_service.state_dir import StateDir, file_system


def test_one_service_at_a_time(tmp_path):
    with StateDir(tmp_path / "s"):
        with pytest.raises(UsageError, match=f"in use by another service .process {os.getpid()}"):
            StateDir(tmp_path / "s").lock()
    with StateDir(tmp_path / "s"):
        pass


def test_a_kill_9_releases_it(tmp_path):
    script = """
import sys, time
from pathlib import Path
from agent_service.state_dir import StateDir
StateDir(Path(sys.argv[1])).lock()
one = StateDir(Path(sys.argv[1] + "-held")); one.lock()
print("locked", flush=True); time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "locked\n"
        with pytest.raises(UsageError, match="in use"):
            StateDir(tmp_path / "s-held").lock()
        os.kill(child.pid, signal.SIGKILL)
    with StateDir(tmp_path / "s-held"):
        pass


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "lustre", "fuse.sshfs"])
def test_a_network_file_system_is_refused_before_anything_is_made(tmp_path, kind):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/home {tmp_path} {kind} rw 0 0\n")
    with pytest.raises(UsageError, match=f"network file system .{kind}.*--state"):
        StateDir(tmp_path / "state", mounts=mounts).lock()
    assert not (tmp_path / "state").exists()


def test_the_innermost_mount_counts(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/ / nfs rw 0 0\n/dev/sdb {tmp_path} ext4 rw 0 0\n")
    assert file_system(tmp_path / "x", mounts=mounts) == "ext4"
    assert file_system(tmp_path.parent, mounts=mounts) == "nfs"
    assert file_system(tmp_path, mounts=tmp_path / "no-such-table") is None


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        StateDir(tmp_path / "file" / "state").lock()


def test_the_key_is_made_once_and_private(tmp_path):
    with StateDir(tmp_path) as state:
        key, made = state.api_key()
        assert made
        assert len(key) == 48
        assert stat.S_IMODE(state.key_file.stat().st_mode) == 0o600
        assert state.api_key() == (key, False)
