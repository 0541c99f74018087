"""Where a document comes from."""

from __future__ import annotations

from enum import Enum


class Origin(Enum):
    """Where a document comes from, and so what may be wrong with it."""

    HERE = "here"
    """A RunEngine of this process, or whoever posts: in order."""
    ELSEWHERE = "elsewhere"
    """A broker: in any order, more than once, or not at all."""
    CATALOGUE = "catalogue"
    """A catalogue, which gives events uids of its own and each number once."""
