"""Answers are kept for a day, and one that cannot be written is kept in memory."""

import asyncio
import sqlite3
from datetime import timedelta

import pytest

from agent_service.errors import UsageError
from agent_service.models import Event, EventKind, utcnow
from agent_service.service import idempotency as module
from agent_service.service.idempotency import KEPT_S, Answers, KeptAnswer

ANSWER = KeptAnswer("digest", 200, "application/json", "", b"{}")


@pytest.fixture
def opened(tmp_path):
    """Open the answers of one state directory, as often as wanted."""
    every = []

    def make():
        answers = Answers(tmp_path / "answers.db")
        answers.open()
        every.append(answers)
        return answers

    yield make
    for each in every:
        each.close()


def fact(mark):
    return Event(seq=1, time=utcnow(), agent="a", kind=EventKind.REPORT, data={"request": mark})


async def test_an_answer_is_there_after_a_restart(opened):
    first = opened()
    await first.keep("mark", ANSWER)
    first.close()
    assert await opened().find("mark") == ANSWER
    assert await opened().find("another") is None


async def test_after_a_day_it_is_forgotten(opened, monkeypatch):
    first = opened()
    await first.keep("mark", ANSWER)
    first.close()
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + module.KEPT_S - 60)
    assert await opened().find("mark") == ANSWER
    monkeypatch.setattr(module.time, "time", lambda: now + module.KEPT_S + 60)
    assert await opened().find("mark") is None


async def test_where_a_job_is_means_nothing_after_a_restart(opened):
    first = opened()
    await first.keep("mark", ANSWER, in_memory=True)
    assert await first.find("mark") == ANSWER
    assert await opened().find("mark") is None


async def test_an_answer_that_cannot_be_written_is_kept_in_memory(opened, tmp_path, caplog):
    answers = opened()
    with sqlite3.connect(tmp_path / "answers.db") as other:
        other.execute("DROP TABLE answers")
    await answers.keep("mark", ANSWER)
    assert await answers.find("mark") == ANSWER
    assert "could not be written" in caplog.text


async def test_facts_wait_for_their_answer(opened):
    answers = opened()
    answers.on_fact(fact("mark"))
    assert [event.seq for event in answers.facts_of("mark")] == [1]
    await answers.keep("mark", ANSWER)
    answers.on_fact(fact("mark"))
    assert answers.facts_of("mark") == []


async def test_facts_of_requests_that_are_forgotten_are_too(opened):
    answers = opened()
    old = fact("old")
    answers.on_fact(Event.known(**{**vars(old), "time": old.time - timedelta(seconds=KEPT_S + 60)}))
    assert answers.facts_of("old") == []


async def test_one_at_a_time(opened):
    answers, order = opened(), []

    async def ask(name):
        async with answers.in_turn("mark"):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(*(ask(name) for name in "abc"))
    assert order == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "answers.db").write_text("this is no database, and long enough to be looked at as one" * 20)
    with pytest.raises(UsageError, match="remove it"):
        Answers(tmp_path / "answers.db").open()
