"""Full disks: for whoever writes in this process, without privileges and for root too; and a real one, for root."""

import contextlib
import errno
import resource
import subprocess

import pytest


@contextlib.contextmanager
def largest_file(size):
    """No file may grow beyond ``size`` bytes meanwhile: to whoever writes, that is a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def small_disk(path):
    """Mount a disk of one megabyte at a new folder; skip the test where that is not allowed."""
    path.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=False, capture_output=True
    )
    if mounting.returncode:
        pytest.skip("needs to mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@contextlib.contextmanager
def filled(disk):
    """No byte is left on a small disk meanwhile."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
        with pytest.raises(OSError, match="No space left") as full:
            file.write(bytes(1))
        assert full.value.errno == errno.ENOSPC
    try:
        yield
    finally:
        filler.unlink()
