"""One suite over every family, in a thread of the service; `test_in_a_process` has the same in processes."""

import pytest
from families import FAMILIES

pytestmark = pytest.mark.timeout(1500)
EXECUTOR = "thread"


@pytest.mark.parametrize("family", FAMILIES)
def test_its_data_survive_whatever_happens(stories, family):
    stories[family].end()
