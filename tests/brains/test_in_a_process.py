"""One suite over every family, each in a process of its own; `test_in_a_thread` has the same in threads."""

import pytest
from families import FAMILIES

pytestmark = pytest.mark.timeout(1500)
EXECUTOR = "process"


@pytest.mark.parametrize("family", FAMILIES)
def test_its_data_survive_whatever_happens(stories, family):
    stories[family].end()
