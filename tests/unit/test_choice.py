"""Which of several runs counts."""

from typing import Any

import numpy as np
import pytest

from agent_service.documents.choice import Chosen, Made, can_tell, choose, matches
from agent_service.documents.runs import Run


def run(uid: str, status: str | None = "success", reason: str = "", **md: Any) -> Run:
    stop = [] if status is None else [("stop", {"run_start": uid, "exit_status": status, "reason": reason})]
    return Run((("start", {"uid": uid, **md}), *stop))


DARK, LIGHT = run("dark", purpose="dark"), run("light", purpose="light")
BAD = run("bad", "fail", "no beam", purpose="light")
OPEN = run("open", None, purpose="light")
WANTED: dict[str, Any] = {"purpose": "light"}


@pytest.mark.parametrize(
    ("runs", "rule", "every", "expected"),
    [
        ([LIGHT], None, False, ["light"]),
        ([DARK, LIGHT], "first", False, ["dark"]),
        ([DARK, LIGHT], "last", False, ["light"]),
        ([DARK, LIGHT], WANTED, False, ["light"]),
        ([BAD, DARK, LIGHT], WANTED, False, ["light"]),
        ([BAD, LIGHT], "last", False, ["light"]),
        ([DARK, LIGHT], None, True, ["dark", "light"]),
        ([DARK, LIGHT, DARK], {"purpose": "dark"}, True, ["dark", "dark"]),
        ([DARK, LIGHT], None, False, "fail: the plan made 2 runs for this suggestion"),
        ([DARK, OPEN], None, False, "fail: the plan made 2 runs for this suggestion"),
        ([LIGHT, LIGHT], WANTED, False, "fail: 2 of the plan's 2 runs have purpose = 'light', and one is to count"),
        ([DARK], WANTED, False, "fail: none of the plan's 1 runs has purpose = 'light'"),
        ([LIGHT, BAD], "last", False, "fail: no beam"),
        ([DARK, BAD], None, True, "fail: no beam"),
        ([run("gone", "abort")], None, False, "abort: the run ended with exit_status abort"),
        ([OPEN], None, False, "fail: run open was left open"),
        ([], "last", False, "fail: the plan made no run"),
    ],
)
def test_the_plan_has_ended(runs: list[Run], rule: Any, every: bool, expected: list[str] | str) -> None:
    chosen = choose(Made(tuple(runs)), rule, every=every)
    if isinstance(expected, list):
        assert chosen == Chosen(tuple(chosen.runs))
        assert [one.uid for one in chosen.runs] == expected
    else:
        assert chosen.runs == ()
        assert f"{chosen.exit_status}: {chosen.reason}".startswith(expected)


@pytest.mark.parametrize(
    ("runs", "rule", "every", "status"),
    [
        ([DARK], None, False, "success"),
        ([DARK], "first", False, "success"),
        ([LIGHT], WANTED, False, "success"),
        ([DARK, LIGHT], None, False, "fail"),
        ([DARK], "last", False, "unknown"),
        ([DARK], WANTED, False, "unknown"),
        ([DARK], None, True, "unknown"),
    ],
)
def test_the_plan_was_not_seen_to_its_end(runs: list[Run], rule: Any, every: bool, status: str) -> None:
    assert choose(Made(tuple(runs), ended=False), rule, every=every).exit_status == status


def test_who_says_nothing_but_documents() -> None:
    dark, light = DARK.start, LIGHT.start
    assert can_tell(None, every=False, starts=[dark])
    assert can_tell("first", every=False, starts=[dark])
    assert not can_tell("last", every=False, starts=[dark, light])
    assert not can_tell(None, every=True, starts=[dark, light])
    assert not can_tell(WANTED, every=False, starts=[dark])
    assert can_tell(WANTED, every=False, starts=[dark, light])


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        (1.0, 1, True),
        (np.float64(1), 1, True),
        (True, 1, False),
        (1, True, False),
        (("x", "y"), ["x", "y"], True),
        (np.array([1, 2]), [1, 2], True),
        ([1, 2], [1], False),
        ({"name": "gold", "size": 3}, {"name": "gold"}, True),
        ({"name": "gold"}, {"name": "lead"}, False),
        ("gold", {"name": "gold"}, False),
        (None, None, True),
        ("1", 1, False),
    ],
)
def test_metadata(found: Any, wanted: Any, same: bool) -> None:
    assert matches({"it": found}, {"it": wanted}) is same
    assert not matches({"other": found}, {"it": wanted})
