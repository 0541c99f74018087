"""The rules themselves: pure functions of a point and of what went before."""

import pytest
from hypothesis import given, strategies as st

from agent_service.agents import guardrail_checks
from agent_service.agents.guardrail_checks import RunHistory
from agent_service.errors import OutOfBounds
from agent_service.models import Guardrails

NOW = 1000.0  # of a clock that nobody sets


def ago(*seconds):
    return [NOW - one for one in seconds]


@pytest.mark.parametrize(
    ("rails", "standing", "rule"),
    [
        ({"bounds": {"x": (0, 1)}}, None, "guardrails.bounds.x: x = 2 is outside [0, 1]"),
        (
            {"max_step": {"x": 0.5}},
            {"positions": {"x": 1.0}},
            "guardrails.max_step.x: x = 2 is 1 from 1, more than 0.5",
        ),
        ({"max_step": {"x": 0.5}}, {"positions": {"x": float("nan")}}, "guardrails.max_step.x"),
        (
            {"max_step": {"x": 5}},
            {"positions": {"x": 1.0}, "places": {"x": float("nan")}},
            "guardrails.max_step.x: where x is cannot be found out now",
        ),
        ({"bounds": {"x": (None, 1)}}, None, "guardrails.bounds.x: x = 2 is above 1"),
        ({"bounds": {"x": (3, None)}}, None, "guardrails.bounds.x: x = 2 is below 3"),
        ({"rules": ["x < 2"]}, None, "guardrails.rules: x < 2 does not hold: x = 2"),
        ({"rules": ["x < y"]}, {"places": {"y": 1.0}}, "guardrails.rules: x < y does not hold: x = 2, y = 1"),
        ({"rules": ["x < y"]}, None, "guardrails.rules: x < y cannot be judged: nobody knows where y is"),
        ({"max_step": {"x": 0.5}}, {"places": {"x": 1.0}}, "guardrails.max_step.x: x = 2 is 1 from 1"),
        (
            {"max_step": {"x": 0.5}},
            {"positions": {"x": 1.9}, "places": {"x": 1.0}},
            "guardrails.max_step.x: x = 2 is 1 from 1",
        ),
        ({"plans": ["scan"]}, {}, "guardrails.plans: the plan acquire is not on the list: scan"),
        ({"plans": []}, {}, "not on the list: none"),
        ({"budget_runs": 3}, {"runs": 3}, "guardrails.budget_runs: 3 runs were begun, and the budget is 3"),
        ({"budget_time_s": 60}, {"run_time_s": 61.0}, "guardrails.budget_time_s: the runs took 61 s"),
    ],
)
def test_each_rule_forbids_and_is_named(rails, standing, rule):
    known = None if standing is None else RunHistory(plan="acquire", **standing)
    assert rule in guardrail_checks.why_not({"x": 2.0}, Guardrails(**rails), known)
    with pytest.raises(OutOfBounds) as refusal:
        guardrail_checks.check({"x": 2.0}, Guardrails(**rails), known)
    assert refusal.value.errors[0].field == rule.partition(":")[0] or rule.startswith("not on")


@pytest.mark.parametrize(
    ("rails", "standing"),
    [
        ({}, {}),
        ({"bounds": {"x": (0, 2), "y": (0, 1)}}, {}),
        ({"bounds": {"x": (None, 2)}, "unbounded": ["x"]}, {}),
        ({"rules": ["x <= 2", "y < z"]}, {}),
        ({"max_step": {"x": 1}}, {"positions": {"x": 1.0}}),
        ({"max_step": {"x": 0.1}}, {"positions": {"y": 1.0}}),  # nobody knows where it is
        (
            {"max_step": {"x": 1}},
            {"positions": {"x": 1.0}, "places": {"x": 0.99}},
        ),  # it is where it was sent, or nearly
        ({"max_step": {"x": 1}}, {"positions": {"x": 9.0}, "places": {"x": 1.5}}),  # it never got there
        ({"plans": ["acquire"]}, {}),
        ({"budget_runs": 3, "budget_time_s": 60}, {"runs": 2, "run_time_s": 59.0}),
    ],
)
def test_what_keeps_the_rules_may_be_measured(rails, standing):
    assert guardrail_checks.why_not({"x": 2.0}, Guardrails(**rails), RunHistory(plan="acquire", **standing)) == ""


@pytest.mark.parametrize(
    ("rate", "handed_over", "wait_s"),
    [
        (None, ago(0.1, 0), 0),
        (2, ago(), 0),
        (2, ago(10), 0),
        (2, ago(40, 10), 20),
        (2, ago(70, 10), 0),
        (0.5, ago(30), 90),
        (0.5, ago(130), 0),
        (2.5, ago(40, 10), 20),
    ],
)
def test_how_long_the_next_plan_waits(rate, handed_over, wait_s):
    assert guardrail_checks.wait_s(Guardrails(max_runs_per_minute=rate), handed_over, NOW) == pytest.approx(wait_s)


@given(rate=st.floats(0.01, 30), steps=st.lists(st.floats(0, 100), max_size=60))
def test_never_more_in_a_minute_than_allowed(rate, steps):
    """Whoever waits as long as told never hands over more than the rate in any minute."""
    rails, now, handed_over = Guardrails(max_runs_per_minute=rate), NOW, []
    for step in steps:
        now += step
        now += guardrail_checks.wait_s(rails, handed_over, now) + 1e-5
        handed_over.append(now)
    window = max(60, 60 / rate)
    for one in handed_over:
        assert sum(one <= other < one + window for other in handed_over) <= max(1, rate)


def test_what_cannot_wait_is_refused_and_told_when_to_come_again():
    rails = Guardrails(max_runs_per_minute=2)
    guardrail_checks.check_rate(rails, ago(40), NOW)
    guardrail_checks.check_rate(Guardrails(), ago(1, 1, 1), NOW)
    with pytest.raises(OutOfBounds, match=r"max_runs_per_minute: 2 a minute are allowed.* try again in 20 s"):
        guardrail_checks.check_rate(rails, ago(40, 10), NOW)


def test_the_stricter_of_two_counts():
    one = Guardrails(bounds={"x": (0, 2), "y": (0, 1)}, max_step={"x": 2}, budget_runs=3, plans=["a", "b"])
    other = Guardrails(bounds={"x": (1, 3), "z": (0, 1)}, max_step={"x": 1}, max_runs_per_minute=5, plans=["b", "c"])
    for both in (guardrail_checks.stricter(one, other), guardrail_checks.stricter(other, one)):
        assert both.bounds == {"x": (1, 2), "y": (0, 1), "z": (0, 1)}
        assert (both.max_step, both.budget_runs, both.max_runs_per_minute) == ({"x": 1}, 3, 5)
        assert (both.budget_time_s, both.plans) == (None, ["b"])
        assert guardrail_checks.loosened(one, both) == guardrail_checks.loosened(other, both) == []
    assert guardrail_checks.stricter(one, Guardrails()) == one
    apart = guardrail_checks.stricter(Guardrails(bounds={"x": (0, 1)}), Guardrails(bounds={"x": (2, 3)}))
    assert all(guardrail_checks.why_not({"x": x}, apart) for x in (0.5, 1.5, 2.5))


ENDS = st.tuples(st.none() | st.floats(-9, 9), st.none() | st.floats(-9, 9)).filter(
    lambda ends: ends != (None, None) and (None in ends or ends[0] <= ends[1])
)
RAILS = st.builds(
    Guardrails,
    bounds=st.dictionaries(st.sampled_from("xy"), ENDS),
    rules=st.lists(st.sampled_from(["x < y", "abs(x - y) <= 3", "x > -5"]), unique=True),
)


@given(one=RAILS, other=RAILS, x=st.floats(-10, 10) | st.just(float("nan")), y=st.floats(-10, 10))
def test_what_either_forbids_is_forbidden_and_what_was_forbidden_is_not_allowed_without_notice(one, other, x, y):
    point = {"x": x, "y": y}
    forbids = [bool(guardrail_checks.why_not(point, rails)) for rails in (one, other)]
    both = guardrail_checks.stricter(one, other)
    assert bool(guardrail_checks.why_not(point, both)) is any(forbids)
    assert guardrail_checks.loosened(one, both) == guardrail_checks.loosened(other, both) == []
    if forbids == [True, False]:
        assert guardrail_checks.loosened(one, other), "it allows what was forbidden, and nobody is asked"


@pytest.mark.parametrize(
    ("before", "after", "loose"),
    [
        ({"bounds": {"x": (0, 5)}}, {"bounds": {"x": (0, None)}}, ["bounds.x"]),
        ({"bounds": {"x": (None, 5)}}, {"bounds": {"x": (0, 5)}}, []),
        ({"bounds": {"x": (None, 5)}}, {"bounds": {"x": (0, 6)}}, ["bounds.x"]),
        ({"bounds": {"x": (0, 5)}}, {"unbounded": ["x"]}, ["bounds.x"]),
        ({}, {"unbounded": ["x"]}, []),
        ({"rules": ["x < 3"]}, {"rules": ["x < 3", "x > 0"]}, []),
        ({"rules": ["x < 3"]}, {"rules": ["x < 2"]}, ["rules"]),
    ],
)
def test_what_is_looser(before, after, loose):
    assert guardrail_checks.loosened(Guardrails(**before), Guardrails(**after)) == loose


def test_what_devices_state_holds_beside_what_is_written():
    rails = guardrail_checks.EffectiveGuardrails.of(Guardrails(bounds={"x": (0, 9)}), {"x": (None, 5), "y": (0, 1)}, {})
    assert guardrail_checks.why_not({"x": 7.0}, rails) == (
        "device_limits.x: x = 7 is above 5, the limits that the device states"
    )
    assert "device_limits.x" in guardrail_checks.why_not({"x": float("nan")}, rails)
    assert guardrail_checks.why_not({"x": 5.0, "z": 1e9}, rails) == ""


@pytest.mark.parametrize(
    ("ends", "kept"),
    [([float("-inf"), 5], (None, 5)), ([0, float("inf")], (0, None)), ([None, 5], (None, 5)), ([0, 5], (0, 5))],
)
def test_bounds_have_one_end_or_two(ends, kept):
    assert Guardrails(bounds={"x": ends}).bounds == {"x": kept}


@pytest.mark.parametrize(
    "ends", [[None, None], [float("-inf"), float("inf")], [float("nan"), 1], [float("inf"), 1], [2, 1], [1], 3]
)
def test_what_are_no_bounds(ends):
    with pytest.raises(ValueError, match="bounds"):
        Guardrails(bounds={"x": ends})
