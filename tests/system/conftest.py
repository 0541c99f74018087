"""What the tests of the whole program share."""

import pytest
from commands import Command


@pytest.fixture
def command(tmp_path):
    """The command line in a folder of its own; what it started ends with the test."""
    made = Command(tmp_path)
    yield made
    made.close()
