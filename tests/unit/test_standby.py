"""A standby that follows what the leader writes, and what it says meanwhile."""

import asyncio

import pytest

from agent_service.errors import BackendUnavailable
from agent_service.models import Event, EventKind, utcnow
from agent_service.service.leader import JournalFold, stand_by


class Journal:
    """A journal that another service writes; ``answers`` are what its reads return or raise, the last for ever."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def snapshot(self):
        return None

    def read(self, *, after, limit):
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, *, after, within_s):
        pass

    def await_turn(self, given_up):
        return not given_up.wait(60)


def fact(seq):
    return Event.known(seq=seq, time=utcnow(), agent="a", kind=EventKind.REPORT, data={})


async def said_while_standing_by(journal, enough):
    said = []
    task = asyncio.create_task(stand_by(journal, JournalFold(journal, None, None), said.append))
    async with asyncio.timeout(60):
        while not task.done() and not enough(said):
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
    return said


async def test_a_standby_says_whether_another_leads_or_the_journal_cannot_be_read():
    journal = Journal([], BackendUnavailable("gone"), [])
    said = await said_while_standing_by(journal, lambda said: len(said) > 2)
    assert said[:3] == [
        "standing by: another service leads",
        "standing by: the journal cannot be read now, and its log says why",
        "standing by: another service leads",
    ]


async def test_a_standby_that_missed_what_went_into_a_snapshot_ends_and_does_not_wait_for_its_turn():
    """Started again it reads the snapshot; it would have failed as it took over."""
    with pytest.raises(BackendUnavailable, match="before this standby had read them; start it again"):
        await said_while_standing_by(Journal([fact(5)]), lambda said: len(said) > 2)
