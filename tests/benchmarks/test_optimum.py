"""The promise of the demo: 30 runs find the optimum, and luck alone does not."""

from __future__ import annotations

import pytest

from .optimum import BRAINS, ENOUGH, search

SEEDS = range(10)


def found(name: str) -> int:
    return sum(search(BRAINS[name](seed), seed=seed).part >= ENOUGH for seed in SEEDS)


@pytest.mark.long
def test_bayes_finds_the_optimum_in_nine_of_ten_seeds() -> None:
    assert found("bayes") >= 9


def test_random_search_does_not() -> None:
    assert found("random") <= 3
