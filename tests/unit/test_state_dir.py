"""The state directory: one service at a time, on a local disk, with a key of its own."""

import os
import signal
import stat
import subprocess
import sys

import pytest

from agent_service.errors import UsageError
from agent_service.journal import JournalLog, SqliteStore
from agent_service.service.keys import KeyFile, Keyring
from agent_service.state_dir import StateDir, private_files
from agent_service.state_dir.lock import file_system


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


def test_a_folder_that_others_can_write_to_is_refused_with_what_to_type(tmp_path):
    for mode in (0o770, 0o707, 0o777):
        folder = tmp_path / f"it's {mode}"
        folder.mkdir()
        folder.chmod(mode)
        with pytest.raises(UsageError, match=r"others can write.*chmod go-w") as refused:
            StateDir(folder).lock()
        assert not list(folder.iterdir())
        command = refused.value.detail.rpartition(": ")[2]
        subprocess.run(command, shell=True, check=True)
        with StateDir(folder):
            pass
    made = tmp_path / "readable"
    made.mkdir(mode=0o755)
    with StateDir(made):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(UsageError, match=r"belongs to (nobody|user 65534)"):
        StateDir(folder).lock()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder", "writable", "theirs"])
def test_a_key_that_somebody_else_could_have_put_there_is_refused(tmp_path, kind):
    state = tmp_path / "state"
    with StateDir(state) as held:
        elsewhere = tmp_path / "elsewhere"
        if kind in ("link", "dangling"):
            held.key_file.symlink_to(elsewhere)
            if kind == "link":
                elsewhere.write_text("0123")
        elif kind == "pipe":
            os.mkfifo(held.key_file)
        elif kind == "folder":
            held.key_file.mkdir()
        else:
            held.key_file.write_text("0123")
            held.key_file.chmod(0o660 if kind == "writable" else 0o600)
            if kind == "theirs":
                if os.geteuid() != 0:
                    pytest.skip("only root can give a file away")
                os.chown(held.key_file, 65534, -1)
        with pytest.raises(UsageError, match=r"link|no file|others can write|belongs to"):
            held.api_key()
        assert kind == "link" or not elsewhere.exists(), "nothing is made through a link"


def test_a_key_that_others_could_read_is_made_private(tmp_path):
    with StateDir(tmp_path / "state") as state:
        state.key_file.write_text("0123\n")
        state.key_file.chmod(0o644)
        assert state.api_key() == ("0123", False)
        assert stat.S_IMODE(state.key_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("planted", ["link", "file"])
def test_no_key_goes_through_what_was_planted(tmp_path, planted):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with StateDir(tmp_path / "state") as state:
        temporary = state.path / f".api_key.{os.getpid()}"
        if planted == "link":
            temporary.symlink_to(victim)
        else:
            temporary.write_text("x")
            temporary.chmod(0o666)
        key, made = state.api_key()
        assert made
        assert state.key_file.read_text().strip() == key
        assert stat.S_IMODE(state.key_file.stat().st_mode) == 0o600
        assert not state.key_file.is_symlink()
    assert victim.read_text() == "precious"


def test_a_mount_whose_name_the_table_quotes(tmp_path):
    folder = tmp_path / "a #b"
    folder.mkdir()
    mounts = tmp_path / "mounts"
    quoted = str(folder).replace(" ", "\\040").replace("#", "\\043")
    mounts.write_text(f"server:/ {quoted} nfs rw 0 0\n")
    assert file_system(folder / "x", mounts=mounts) == "nfs"


@pytest.mark.parametrize("name", ["api_key", "keys.jsonl"])
def test_keys_that_others_could_have_written_are_refused_and_not_made_private_unseen(tmp_path, name):
    (tmp_path / "state").mkdir(mode=0o755)
    state = StateDir(tmp_path / "state")
    file = state.path / name
    file.write_text("")
    file.chmod(0o666)
    with state:
        pass
    with pytest.raises(UsageError, match="others can write to the file"):
        private_files.read(file)


@pytest.mark.parametrize("content", ["", "\n", "  \n"])
def test_an_empty_file_is_no_key(tmp_path, content):
    """As a full disk or a copy that was cut short leaves it."""
    with StateDir(tmp_path / "state") as state:
        private_files.write(state.key_file, content)
        with pytest.raises(FileNotFoundError):
            state.read_key()
        key, made = state.api_key()
        assert (len(key), made) == (48, True)
        assert state.read_key() == key


def test_the_empty_key_opens_nothing(tmp_path):
    assert Keyring(KeyFile(tmp_path / "keys.jsonl"), "").find("") is None


async def test_a_journal_that_is_a_link_is_refused(tmp_path):
    with StateDir(tmp_path / "state") as state:
        for target in (tmp_path / "nowhere", tmp_path / "file"):
            state.journal.symlink_to(target)
            with pytest.raises(UsageError, match="is a link"):
                JournalLog(SqliteStore(state.journal)).open()
            assert not (tmp_path / "nowhere").exists()
            state.journal.unlink()
            (tmp_path / "file").touch()
