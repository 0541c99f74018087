"""What stands beside a suggestion's point: who proposed it, why, and what its brain expects there."""

import pytest

from agent_service.models import Suggestion, utcnow


def remarks(extra=None, **fields):
    times = {"created_at": utcnow(), "updated_at": utcnow()}
    return Suggestion(id="s", agent="a", state="proposed", point={"x": 1}, extra=extra or {}, **times, **fields).remarks


def test_nothing_is_said_of_a_plain_suggestion():
    assert remarks() == []
    assert remarks({"_acquisition": "EI", "trial": 3}) == []


def test_reasons_of_brains_and_of_people():
    assert remarks({"_reason": "the largest\nvariance"}) == ["the largest variance"]
    assert remarks({"_reason": "a flank"}, proposed_by="alice") == ["proposed by alice: a flank"]
    assert remarks(proposed_by="alice") == ["proposed by alice"]
    assert remarks({"_reason": "a flank"}, reason="the queue was held") == ["a flank", "the queue was held"]


@pytest.mark.parametrize(
    ("prediction", "words"),
    [
        ({"flux": 3.25}, "flux 3.25"),
        ({"flux": [3.25, 0.125], "width": 1}, "flux 3.25 ± 0.125, width 1"),
        ({"flux": {"mean": 3.25, "std": 0.125}}, "flux 3.25 ± 0.125"),
        ({"flux": {"mean": 1, "low": 0, "high": 2}}, 'flux {"mean": 1, "low": 0, "high": 2}'),
        ({"flux": True}, "flux true"),
        ([1, 2], "[1, 2]"),
        ("a lot", '"a lot"'),
    ],
)
def test_predictions(prediction, words):
    assert remarks({"_prediction": prediction}) == [f"expects {words}"]
