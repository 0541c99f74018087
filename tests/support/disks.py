"""A full disk for whoever writes in this process, without privileges and for root too."""

import contextlib
import resource


@contextlib.contextmanager
def largest_file(size):
    """No file may grow beyond ``size`` bytes meanwhile: to whoever writes, that is a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
