"""What not every machine has: a test that wants it is skipped, unless CI is set, where it must run."""

import importlib
import os

import pytest


def needs(found, why):
    """Return ``found`` when there is something; else skip with a reason, or fail in CI."""
    if not found:
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why, allow_module_level=True)
    return found


def module(name):
    """Return a module of the developers' tools."""
    return importlib.import_module(name) if os.environ.get("CI") else pytest.importorskip(name)
