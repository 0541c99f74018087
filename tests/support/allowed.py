"""What an administrator lets people use, and what lies around in it."""

import functools
import os
import subprocess  # noqa: F401
from functools import partial
from os import system  # noqa: F401

import bluesky.plan_stubs as bps  # noqa: F401
import bluesky.plans  # noqa: F401
from bluesky.plans import list_scan  # noqa: F401
from brainbox import Walker as TheirWalker, peak as their_peak

from agent_service.plans.library import acquire


class Walker(TheirWalker):
    """Ours, though it is made of theirs."""

    class Inner(TheirWalker):
        """Inside."""

    @classmethod
    def long(cls):
        """Make one."""
        return cls(step=2.0)


class Maker:
    """Makes walkers."""

    def make(self):
        """Make one."""
        return Walker()

    def __call__(self):
        return Walker()


maker = Maker()
make = lambda: Walker()  # noqa: E731, PLW0108 - it is about lambdas
ready = partial(Walker, step=3.0)
theirs = partial(partial(os.system, "true"))
borrowed = partial(their_peak)


@functools.lru_cache
def cached():
    """Make one."""
    return Walker()


def peak(run, suggestions):
    """Evaluate."""
    return their_peak(run, suggestions)


def scan(suggestions, actuators, sensors=(), md=None):
    """Plan."""
    return (yield from acquire(suggestions, actuators, sensors, md))
