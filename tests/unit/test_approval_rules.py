"""What the facts say of approvals: whose they are, what takes them away, and what a brain hears of it."""

from itertools import count

from agent_service.agents.record.agent import AgentRecord
from agent_service.agents.record.remembered import is_told
from agent_service.agents.record.replay import facts_of
from agent_service.models import Event, EventKind, by_hand, utcnow

SPEC = {"name": "a", "type": "sobol", "actuators": ["x"], "outcome": "s"}


def folded(*facts):
    created = Event(
        seq=1, time=utcnow(), agent="a", kind=EventKind.AGENT_STATE, data={"state": "created", "spec": SPEC}
    )
    record = AgentRecord.created(created)
    for seq, data in enumerate(facts, start=2):
        record.apply(fact_of(seq, data))
    return record


def fact_of(seq, data):
    return Event(seq=seq, time=utcnow(), agent="a", kind=EventKind.SUGGESTION_STATE, data={"id": "s", **data})


NEW = {"state": "proposed", "point": {"x": 1.0}, "by": "loop", "batch": "s"}
YES = {"state": "approved", "word": True, "by": "alice"}
AGAIN = {"state": "proposed", "point": {"x": 1.0}, "by": "loop", "again": True, "reason": "it expired"}


def test_an_approval_says_whose_it_is_and_is_counted():
    record = folded(NEW, YES)
    assert record.suggestions["s"].approved_by == "alice"
    assert (record.approvals, record.approved_by_person) == (1, {"s"})


def test_one_that_expired_counts_no_more_and_is_one_suggestion_to_the_brain():
    record = folded(NEW, YES, AGAIN)
    one = record.suggestions["s"]
    assert (one.state, one.approved_by, one.approved_at, one.reason) == ("proposed", None, None, "it expired")
    assert (record.approvals, record.approved_by_person, len(record.open)) == (0, set(), 1)
    assert record.fates.total() == 1
    told = [fact for fact in map(fact_of, count(2), (NEW, YES, AGAIN)) if is_told(fact)]
    assert len(facts_of(told)) == 1
    assert folded(NEW, YES, AGAIN, YES).approvals == 1


def test_who_gives_a_claim_back_unused_approves_nothing():
    record = folded(NEW, {"state": "approved"}, {"state": "submitted"}, {"state": "approved", "by": "program"})
    assert record.approved_by_person == set()
    assert record.suggestions["s"].approved_by is None


def test_a_journal_of_before_tells_an_approval_by_whose_it_is():
    assert folded(NEW, {"state": "approved", "by": "alice"}).approved_by_person == {"s"}


def test_the_stricter_of_two_approvals_is_the_one_that_asks_more():
    assert sorted(["first 12", "required", "auto", "first 3"], key=by_hand) == [
        "auto",
        "first 3",
        "first 12",
        "required",
    ]
