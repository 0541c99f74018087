"""Ids of suggestions, the service's and the brain's."""

import numpy as np
import pytest

from agent_service.brains.adapters.suggestion_ids import SuggestionIds


@pytest.fixture
def ids():
    return SuggestionIds(["x", "y"])


def test_a_brain_waits_for_a_suggestion_until_it_is_told_once(ids):
    ids.keep("s1", 7)
    assert ids.waits("s1")
    assert ids.pop("s1") == 7
    assert not ids.waits("s1")
    assert ids.pop("s1") is None


def test_without_an_id_the_brain_waits_for_nothing(ids):
    ids.keep("s1", None)
    assert not ids.waits("s1")


def test_a_brain_that_gives_no_ids_waits_for_its_own_suggestions(ids):
    ids.keep_own("s1", None)
    assert ids.waits("s1")
    ids.rename("s1", "s2")
    assert (ids.waits("s1"), ids.waits("s2")) == (False, True)
    assert ids.pop("s2") is None
    assert not ids.waits("s2")
    ids.keep_own("s3", None)
    ids.keep_own("s4", 0)
    assert not ids.waits("s3"), "one that gives ids is told of those only that have one"


def test_what_the_brain_means_is_found_by_its_id_long_after(ids):
    ids.keep("s1", 0)
    ids.pop("s1")
    assert ids.find(0, {}) == "s1"
    assert ids.find(1, {"x": 1.0, "y": 2.0}) is None


def test_what_the_brain_means_is_found_by_the_place_that_was_measured(ids):
    ids.measured("s1", {"x": 1, "y": 2.0, "flux": 3.0})
    assert ids.find(None, {"x": np.float64(1), "y": 2}) == "s1"
    assert ids.find(None, {"x": 1.0, "y": 2.5}) is None
