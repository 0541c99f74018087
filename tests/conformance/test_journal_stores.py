"""One suite for journal stores: what the journal's writer and the readers of other processes count on."""

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from disks import largest_file

from agent_service.archive.decisions import Fold
from agent_service.errors import BackendUnavailable, UsageError
from agent_service.journal import JournalLog, PostgresStore, SqliteStore, reader
from agent_service.models import EventKind
from agent_service.protocols import FactRow

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class SqliteCase:
    """A store in a SQLite file: how it is made, filled up, lost and put back."""

    def __init__(self, folder, _request):
        self.file = folder / "journal.db"
        self.url = f"sqlite:///{self.file}"
        self.elsewhere = folder / "elsewhere"

    def store(self):
        return SqliteStore(self.file)

    def full(self):
        return largest_file((self.file.parent / "journal.db-wal").stat().st_size)

    def lose(self):
        self.elsewhere.mkdir()
        for part in self.file.parent.glob("journal.db*"):
            shutil.move(part, self.elsewhere / part.name)

    def put_back(self):
        for part in self.elsewhere.iterdir():
            shutil.move(part, self.file.parent / part.name)

    def usurp(self):
        """Let another store open the journal that is open."""

    def spoil(self):
        self.file.write_bytes(b"no journal at all " * 500)


class PostgresCase:
    """A store in a database of its own."""

    def __init__(self, _folder, request):
        self.server = request.getfixturevalue("postgres")
        self.url = self.server.database()

    def store(self):
        return PostgresStore(self.url)

    def full(self):
        return self.server.full(self.url)

    def usurp(self):
        pids = self.server.ask(self.url, "SELECT unnest(backends) FROM leader")
        for (pid,) in pids:
            self.server.ask(self.url, "SELECT pg_terminate_backend(%s)", pid)

    def spoil(self):
        self.server.ask(self.url, "CREATE TABLE meta (something INTEGER)")


STORES = [SqliteCase, PostgresCase]


@pytest.fixture(params=STORES)
def case(request, tmp_path):
    return request.param(tmp_path, request)


@pytest.fixture
def store(case):
    with contextlib.closing(case.store()) as made:
        assert made.open() == (0, 0, 0)
        yield made


def row(seq, kind=EventKind.REPORT, agent="a", **data):
    return FactRow(seq, NOON + timedelta(seconds=seq), agent, kind, json.dumps(data))


def write_nothing_often(store):
    for _ in range(1000):
        store.write([])


def seqs(facts):
    return [fact.seq for fact in facts]


def test_what_was_written_is_read_back_as_it_was(store):
    store.write([row(1, agent=None, text="é 測定 \\ ' \" \n", number=1e300), row(2, kind=EventKind.CONFIG)])
    first, second = store.read()
    assert (first.seq, first.agent, first.kind, first.time) == (1, None, EventKind.REPORT, NOON + timedelta(seconds=1))
    assert first.data == {"text": "é 測定 \\ ' \" \n", "number": 1e300}
    assert (second.seq, second.agent, second.kind, second.data) == (2, "a", EventKind.CONFIG, {})


def test_facts_are_read_in_order_after_a_number_by_agent_and_by_kind(store):
    kinds = [EventKind.REPORT, EventKind.INGEST]
    store.write([row(seq, kind=kinds[seq % 2], agent="ab"[seq % 3 == 0]) for seq in range(1, 10)])
    store.write([row(10)])
    assert seqs(store.read()) == list(range(1, 11))
    assert seqs(store.read(after=7)) == [8, 9, 10]
    assert seqs(store.read(after=2, limit=3)) == [3, 4, 5]
    assert seqs(store.read(agent="b")) == [3, 6, 9]
    assert seqs(store.read(kinds=[EventKind.INGEST], after=3)) == [5, 7, 9]
    assert seqs(store.read(kinds=kinds, agent="b", limit=2)) == [3, 6]
    assert seqs(store.read(newest_first=True, limit=2)) == [10, 9]
    assert seqs(store.read(newest_first=True, after=4)) == [3, 2, 1]
    assert store.read(kinds=[EventKind.CONFIG]) == store.read(after=10) == []
    assert (store.last_seq(), store.last_before(NOON)) == (10, 0)
    assert store.last_before(NOON + timedelta(seconds=4)) == 3


def test_a_batch_is_written_whole_or_not_at_all(store):
    store.write([row(1)])
    with pytest.raises(BackendUnavailable):
        store.write([row(2), row(3), row(3)])
    assert seqs(store.read()) == [1]
    store.write([row(2), row(3)])
    assert seqs(store.read()) == [1, 2, 3]


def test_a_batch_of_nothing_tells_whether_it_can_be_written(store, case):
    store.write([row(1)])
    store.write([])
    with case.full(), pytest.raises(BackendUnavailable):
        write_nothing_often(store)
    store.write([])
    assert seqs(store.read()) == [1]


def test_a_full_disk_is_refused_and_what_was_written_stays(store, case):
    store.write([row(1)])
    with case.full():
        with pytest.raises(BackendUnavailable) as caught:
            store.write([row(2, pad="x" * 100_000)])
        assert caught.value.detail
        assert "\n" not in caught.value.detail
        with pytest.raises(BackendUnavailable):
            store.compact(1, json.dumps({"pad": "x" * 100_000}))
        assert seqs(store.read()) == [1]
        assert store.snapshot() is None
        assert store.lost() is None
    store.write([row(2)])
    assert seqs(store.read()) == [1, 2]


@pytest.mark.parametrize("case", [SqliteCase], indirect=True)  # a database cannot be moved away
def test_a_lost_store_takes_nothing_more_until_it_is_back(store, case):
    store.write([row(1)])
    assert store.lost() is None
    case.lose()
    assert "moved away" in store.lost()
    for attempt in (lambda: store.write([row(2)]), lambda: store.write([]), lambda: store.compact(1, "{}")):
        with pytest.raises(BackendUnavailable, match="moved away"):
            attempt()
    case.put_back()
    assert store.lost() is None
    store.write([row(2)])
    assert seqs(reader(case.url).read()) == [1, 2]


def test_a_snapshot_stands_for_the_facts_up_to_its_number(store, case):
    store.write([row(seq) for seq in range(1, 6001)])
    store.compact(3, json.dumps({"n": 3}))
    assert store.snapshot() == (3, {"n": 3})
    assert store.read(limit=1)[0].seq == 4
    store.compact(6000, json.dumps({"n": 6000}))
    assert store.snapshot() == (6000, {"n": 6000})
    assert store.read() == []
    assert store.last_seq() == 6000
    store.close()
    with contextlib.closing(case.store()) as again:
        assert again.open() == (6000, 6000, 6000)
        again.write([row(6001)])
        assert seqs(again.read(after=6000)) == [6001]


def test_facts_that_somebody_still_needs_stay_beside_the_snapshot_that_holds_them(store, case):
    store.write([row(seq) for seq in range(1, 11)])
    store.compact(8, "{}", forget=3)
    assert store.snapshot() == (8, {})
    assert seqs(store.read()) == [4, 5, 6, 7, 8, 9, 10]
    store.close()
    with contextlib.closing(case.store()) as again:
        assert again.open() == (10, 8, 3)
        again.compact(8, '{"n":2}', forget=8)
        assert again.snapshot() == (8, {"n": 2})
        assert seqs(again.read()) == [9, 10]


FATES = [
    ("proposed", {"point": {"x": 1.50}, "by": "loop"}),
    ("approved", {}),
    ("approved", {"point": {"x": 2.0}}),
    ("submitted", {}),
    ("running", {"run_uid": "r"}),
    ("abandoned", {"reason": "so"}),
    ("measured", {"outcome": {"y": 1.0}}),
    ("ingested", {}),
]


def test_what_brains_were_told_stays_when_facts_are_forgotten_and_goes_with_the_agent(store, case):
    facts = [
        row(1, EventKind.AGENT_STATE, state="created", spec={}),
        row(2, EventKind.AGENT_STATE, "b", state="created"),
    ]
    for seq, (state, data) in enumerate(FATES, start=3):
        facts.append(row(seq, EventKind.SUGGESTION_STATE, id="s", state=state, **data))
    kinds = [EventKind.INGEST, EventKind.CONFIG, EventKind.METHOD, EventKind.REPORT]
    facts += [row(seq, kind) for seq, kind in enumerate(kinds, start=11)]
    facts += [row(15, EventKind.INGEST, "b"), row(16, EventKind.CONFIG, None)]
    store.write(facts)
    assert seqs(store.told("a")) == [*range(3, 11), 11, 12, 13]  # all that may be of use
    before = store.told("a")
    store.compact(16, "{}", forget=12)
    kept = [3, 5, 8, 11, 12, 13]
    journal = reader(case.url)
    for one in (store, journal):
        assert one.told("a") == [fact for fact in before if fact.seq in kept]
        assert seqs(one.told("a", after=5, until=12)) == [8, 11, 12]
        assert seqs(one.told("a", limit=2)) == [3, 5]
        assert seqs(one.told()) == [*kept, 15, 16]
        assert seqs(one.read()) == [13, 14, 15, 16]
    store.write([row(17, EventKind.AGENT_STATE, state="stopped", removed=True), row(18, EventKind.INGEST)])
    assert seqs(store.told("a")) == [*kept, 18]
    store.compact(17, "{}")
    assert seqs(store.told("a")) == [18]
    assert seqs(store.told("b")) == [15]


def test_facts_are_found_by_their_suggestion(store, case):
    kind = EventKind.SUGGESTION_STATE
    store.write([row(seq, kind, id=f"s{seq % 3}", state="approved") for seq in range(1, 10)])
    store.write([row(10, EventKind.REPORT, id="s1"), row(11, kind, id="s1 ' \"", state="approved")])
    for one in (store, reader(case.url)):
        assert seqs(one.of_suggestions(["s1"])) == [1, 4, 7]
        assert seqs(one.of_suggestions(["s1", "s2", "nobody"])) == [1, 2, 4, 5, 7, 8]
        assert seqs(one.of_suggestions(["s1 ' \""])) == [11]
        assert one.of_suggestions([]) == []
        assert len(one.of_suggestions([*map(str, range(5000)), "s0"])) == 3


def test_a_snapshot_and_what_came_after_fold_to_the_same(store):
    spec = {"type": "walker", "actuators": ["x"], "outcome": "y"}
    store.write([row(1, EventKind.SERVICE_STATE, None, state="started", session="s")])
    store.write([row(2, EventKind.AGENT_STATE, state="created", spec=spec)])
    store.write([row(seq, EventKind.INGEST, points=[{"x": seq, "y": 1.0}]) for seq in range(3, 9)])
    whole, early = Fold(), Fold()
    for fact in store.read():
        whole.apply_fact(fact)
    for fact in store.read(limit=5):
        early.apply_fact(fact)
    store.compact(5, early.model_dump_json())
    seq, snapshot = store.snapshot()
    again = Fold.model_validate(snapshot)
    for fact in store.read(after=seq):
        again.apply_fact(fact)
    assert again == whole
    assert again.seq == 8


def test_it_goes_on_where_it_was_closed(case):
    for seq in (1, 2, 3):
        with contextlib.closing(case.store()) as store:
            assert store.open() == (seq - 1, 0, 0)
            store.write([row(seq)])
            store.close()  # twice is harmless
    assert seqs(reader(case.url).read()) == [1, 2, 3]


def test_what_is_no_journal_is_refused(case):
    case.spoil()
    with contextlib.closing(case.store()) as store, pytest.raises(UsageError, match="cannot be used"):
        store.open()


def test_a_reader_has_what_was_written_and_nothing_before(case):
    journal = reader(case.url)
    assert (journal.read(), journal.snapshot(), journal.last_seq(), journal.last_before(NOON)) == ([], None, 0, 0)
    with contextlib.closing(case.store()) as store:
        store.open()
        assert (journal.read(), journal.snapshot(), journal.last_seq()) == ([], None, 0)
        store.write([row(1), row(2, kind=EventKind.INGEST)])
        assert journal.read() == store.read()
        assert seqs(journal.read(kinds=[EventKind.INGEST])) == [2]
        store.compact(1, "{}")
        assert journal.snapshot() == (1, {})
        assert (seqs(journal.read()), journal.last_seq()) == ([2], 2)


def test_a_reader_of_another_process_reads_while_it_is_written(store, case):
    store.write([row(1)])
    script = "import sys; from agent_service.journal import reader; print(len(reader(sys.argv[1]).read()))"
    for seq in (2, 3):
        store.write([row(seq)])
        output = subprocess.run([sys.executable, "-c", script, case.url], capture_output=True, text=True, check=True)
        assert output.stdout.split() == [str(seq)]


def test_a_reader_waits_for_what_is_written(store, case):
    store.write([row(1)])
    with contextlib.closing(reader(case.url)) as journal:
        journal.wait(after=0, within_s=60)
        began = time.monotonic()
        journal.wait(after=1, within_s=0.1)
        assert journal.last_seq() == 1
        writing = threading.Timer(0.2, lambda: store.write([row(2)]))
        writing.start()
        while journal.last_seq() < 2:
            journal.wait(after=1, within_s=60)
        writing.join()
        assert time.monotonic() - began < 50, "it was not woken"


async def test_nobody_is_answered_with_what_another_wrote(case):
    """Two write one journal: SQLite's file lock and PostgreSQL's lock are got round here, which nobody should."""
    ours, theirs = JournalLog(case.store()), JournalLog(case.store())
    ours.open()
    await ours.append(EventKind.REPORT, "a", {"by": "ours"})
    case.usurp()
    theirs.open()
    await theirs.append(EventKind.REPORT, "a", {"by": "theirs"})
    with pytest.raises(BackendUnavailable):
        await ours.append(EventKind.REPORT, "a", {"by": "ours, too"})
    with pytest.raises(BackendUnavailable, match="another service"):
        await ours.append(EventKind.REPORT, "a", {"by": "ours, once more"})
    assert "another service" in ours.fault
    await theirs.append(EventKind.REPORT, "a", {"by": "theirs"})
    await ours.close()
    await theirs.close()
    assert [fact.data["by"] for fact in reader(case.url).read()] == ["ours", "theirs", "theirs"]


def test_no_reader_without_a_scheme_that_there_is():
    with pytest.raises(UsageError, match="sqlite"):
        reader("paper:///notes")


async def test_the_log_on_it_writes_reads_and_follows(case):
    log = JournalLog(case.store())
    log.open()
    written = [await log.append(EventKind.REPORT, "a", {"n": n}) for n in range(3)]
    await log.compact('{"n":0}', seq=1)
    followed = [event async for event in _first(2, log.follow(after=1))]
    assert seqs(followed) == [2, 3]
    assert seqs(written) == [1, 2, 3]
    assert (log.last_seq, log.seqs.snapshot, log.fault) == (3, 1, None)
    await log.close()
    assert seqs(reader(case.url).read()) == [2, 3]


async def _first(count, events):
    for _ in range(count):
        yield await anext(events)
    await events.aclose()
