"""The spool: nothing a source sends may raise into its pump, and nothing it sends may be lost."""

import json
import math
import signal
import subprocess
import sys

import numpy as np
import pytest
from archive_rig import descriptors, measure
from disks import largest_file
from routed import RoutedSpool

from agent_service.documents.json_lines import encode
from agent_service.documents.spool import Spool
from agent_service.documents.spool_repair import INTERRUPTED


def run(uid, *, events=1, stop=True):
    """The documents of a small run."""
    docs = [
        ("start", {"uid": uid, "time": 1.0}),
        ("descriptor", {"uid": f"{uid}-d", "run_start": uid, "name": "primary", "time": 2.0, "data_keys": {}}),
    ]
    docs += [
        ("event", {"uid": f"{uid}-{i}", "descriptor": f"{uid}-d", "seq_num": i, "time": 2.0 + i, "data": {"x": i}})
        for i in range(1, events + 1)
    ]
    end = {
        "uid": f"{uid}-s",
        "run_start": uid,
        "time": 9.0,
        "exit_status": "success",
        "num_events": {"primary": events},
    }
    return [*docs, ("stop", end)] if stop else docs


def write(spool, docs):
    for name, doc in docs:
        spool.write(name, doc)


def uids(spool):
    return [next(spool.read(path))[1]["uid"] for path in spool.complete()]


@pytest.fixture
def spool(tmp_path):
    return RoutedSpool(tmp_path)


def test_a_run_of_a_run_engine_comes_back_as_it_was(spool):
    emitted = []

    def both(name, doc):
        emitted.append((name, doc))
        spool.write(name, doc)

    measure(both, 1, points=2)
    (path,) = spool.complete()
    assert list(spool.read(path)) == [tuple(pair) for pair in json.loads(json.dumps(emitted))]
    assert list(spool.read(path))[-1][1]["num_events"] == {"primary": 2}


def test_numpy_and_nan_survive(spool):
    doc = {
        "uid": "u",
        "scalar": np.float32(1.5),
        "whole": np.int64(3),
        "array": np.arange(4).reshape(2, 2),
        "nan": math.nan,
        "nans": np.array([np.nan, np.inf]),
        "flag": np.bool_(True),
        "set": {"b", "a"},
        "raw": b"\xff",
        ("odd", "key"): object,
    }
    spool.write("start", doc)
    write(spool, [("stop", {"run_start": "u"})])
    back = next(spool.read(spool.complete()[0]))[1]
    assert back["scalar"] == 1.5
    assert back["whole"] == 3
    assert back["array"] == [[0, 1], [2, 3]]
    assert math.isnan(back["nan"])
    assert math.isnan(back["nans"][0])
    assert back["nans"][1] == math.inf
    assert back["flag"] is True
    assert back["set"] == ["a", "b"]
    assert "('odd', 'key')" in back
    assert "\n" not in encode("event", {"text": "two\nlines"})


def test_documents_of_runs_that_interleave_go_each_to_its_own(spool):
    one, two = run("one", events=3), run("two", events=3)
    for pair in zip(one, two, strict=True):
        write(spool, pair)
    assert uids(spool) == ["one", "two"]
    for path, docs in zip(spool.complete(), (one, two), strict=True):
        assert list(spool.read(path)) == docs


def test_pages_resources_and_datums_find_their_run(spool):
    docs = run("a", stop=False)
    docs += [
        ("resource", {"uid": "r", "run_start": "a"}),
        ("resource", {"uid": "old", "spec": "a device that leaves run_start out"}),
        ("datum", {"datum_id": "r/0", "resource": "r"}),
        ("datum_page", {"datum_id": ["old/0"], "resource": "old"}),
        ("event_page", {"descriptor": "a-d", "seq_num": [2, 3]}),
        ("stream_resource", {"uid": "sr", "run_start": "a"}),
        ("stream_datum", {"descriptor": "a-d", "stream_resource": "sr"}),
        ("stop", {"run_start": "a"}),
    ]
    write(spool, docs)
    assert list(spool.read(spool.complete()[0])) == docs


@pytest.mark.parametrize(
    "stray",
    [
        ("event", {"descriptor": "unknown"}),
        ("stop", {"run_start": "unknown"}),
        ("descriptor", {"uid": "d"}),
        ("start", {}),
        ("start", {"uid": 5}),
        ("start", {"uid": "open"}),
        ("start", {"uid": "done"}),
        ("resource", {"uid": "r", "run_start": "unknown"}),
        ("datum", {}),
        ("no such kind", {}),
    ],
)
def test_what_belongs_nowhere_is_left_out_and_raises_nothing(spool, stray):
    write(spool, run("done"))
    write(spool, run("open", stop=False))
    write(spool, [stray])
    write(spool, run("open")[-1:])
    assert uids(spool) == ["done", "open"]
    assert [list(spool.read(path)) for path in spool.complete()] == [run("done"), run("open")]


@pytest.mark.parametrize("at", range(5))
def test_what_a_full_disk_did_not_take_is_written_again_and_leaves_nothing_torn(spool, at):
    docs = run("a", events=2)
    write(spool, docs[:at])
    before = sum(len(encode(*one)) + 1 for one in docs[:at])
    with largest_file(before + 10), pytest.raises(OSError, match="File too large"):
        spool.write(*docs[at])
    write(spool, docs[at:])
    (path,) = spool.complete()
    assert list(spool.read(path)) == [tuple(one) for one in docs]


def test_a_uid_from_outside_is_never_a_path(tmp_path):
    spool = RoutedSpool(tmp_path / "a" / "b")
    for uid in ("../../escaped", "/etc/passwd", "a" * 300, "ü\ud800", ".hidden"):
        write(spool, run(uid))
    assert len(spool.complete()) == 5
    assert {path.parent for path in tmp_path.rglob("*.jsonl")} == {tmp_path / "a" / "b" / "complete"}


def test_the_order_of_completion_is_kept_over_restarts(tmp_path):
    order = [f"run-{i}" for i in (5, 3, 9, 1)]
    for uid in order:
        write(RoutedSpool(tmp_path), run(uid))
    spool = RoutedSpool(tmp_path)
    assert uids(spool) == order
    spool.archived(spool.complete()[0], {})
    spool.archived(spool.complete()[0].with_name("gone"), {})
    write(spool, run("last"))
    write(spool, run("run-9"))  # still in the spool: it is not taken twice
    assert uids(spool) == [*order[1:], "last"]


def test_a_refused_run_is_kept_with_its_reason(spool):
    write(spool, run("a"))
    (path,) = spool.complete()
    spool.refuse(path, "the catalogue said no")
    assert spool.complete() == []
    (kept,) = spool.refused()
    assert list(spool.read(kept)) == run("a")
    assert kept.with_suffix(".reason").read_text() == "the catalogue said no\n"


def test_a_crash_leaves_runs_that_are_closed_at_the_next_start(tmp_path):
    before = RoutedSpool(tmp_path)
    write(before, run("done"))
    write(before, run("cut", events=2, stop=False))
    with (tmp_path / "open" / "cut.jsonl").open("a") as half:
        half.write('["event",{"descriptor":"cut-d","seq')
    write(before, run("paged", events=0, stop=False))
    write(before, [("event_page", {"descriptor": "paged-d", "seq_num": [1, 2, 3]})])
    (tmp_path / "open" / "stopped.jsonl").write_text("".join(f"{encode(*pair)}\n" for pair in run("stopped")))
    (tmp_path / "open" / "empty.jsonl").write_text('["sta')

    spool = RoutedSpool(tmp_path)
    assert sorted(spool.close_interrupted()) == ["cut", "paged"]
    assert spool.close_interrupted() == []
    assert list((tmp_path / "open").iterdir()) == []
    found = {next(spool.read(path))[1]["uid"]: list(spool.read(path)) for path in spool.complete()}
    assert sorted(found) == ["cut", "done", "paged", "stopped"]
    assert found["cut"][:-1] == run("cut", events=2, stop=False)
    name, stop = found["cut"][-1]
    assert name == "stop"
    assert (stop["run_start"], stop["exit_status"], stop["reason"]) == ("cut", "abort", INTERRUPTED)
    assert stop["num_events"] == {"primary": 2}
    assert found["paged"][-1][1]["num_events"] == {"primary": 3}
    assert found["stopped"] == run("stopped")


def test_a_run_that_somebody_else_measures_still_is_gone_on_with(tmp_path):
    def of(uid, **options):
        (name, start), *others = run(uid, **options)
        return [(name, {**start, "agent_suggestion_uid": f"s-{uid}"}), *others]

    before = RoutedSpool(tmp_path)
    for uid in ("here", "gone"):
        write(before, of(uid, stop=False))
    (tmp_path / "open" / "stopped.jsonl").write_text("".join(f"{encode(*pair)}\n" for pair in of("stopped")))
    with (tmp_path / "open" / "here.jsonl").open("a") as half:
        half.write('["event",{"descriptor":"here-d","seq')

    spool = Spool(tmp_path)
    go_on = {"s-here", "s-stopped"}
    assert spool.close_interrupted(but=go_on) == ["gone"]
    assert spool.open_here() == [of("here", stop=False)]
    assert sorted(uids(spool)) == ["gone", "stopped"]
    name, stop = of("here")[-1]
    spool.write(name, stop, "here")
    assert list(spool.read(spool.complete()[-1])) == of("here")


def test_odd_documents_of_a_crashed_run_do_not_stop_the_next_start(tmp_path):
    lines = [*run("odd", stop=False), ("stream_datum", {"seq_nums": 5}), ("event_page", {"seq_num": None})]
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "odd.jsonl").write_text("".join(f"{encode(*pair)}\n" for pair in lines))
    assert RoutedSpool(tmp_path).close_interrupted() == ["odd"]


def test_a_line_that_is_no_document_is_named(spool):
    write(spool, run("a"))
    (path,) = spool.complete()
    path.write_bytes(path.read_bytes().replace(b'["event"', b'["eve', 1))
    with pytest.raises(ValueError, match="line 3 of"):
        list(spool.read(path))


def test_kill_9_loses_nothing_that_was_written(tmp_path):
    script = (
        "import sys, os, signal, pathlib; from agent_service.documents.spool import Spool\n"
        "spool = Spool(pathlib.Path(sys.argv[1]))\n"
        "spool.write('start', {'uid': 'a', 'time': 1.0}, 'a')\n"
        "spool.write('descriptor', {'uid': 'd', 'run_start': 'a', 'name': 'primary'}, 'a')\n"
        "for i in range(50): spool.write('event', {'descriptor': 'd', 'seq_num': i + 1}, 'a')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    spool = RoutedSpool(tmp_path)
    assert spool.close_interrupted() == ["a"]
    assert list(spool.read(spool.complete()[0]))[-1][1]["num_events"] == {"primary": 50}


def test_no_file_stays_open(spool):
    before = descriptors()
    for i in range(20):
        write(spool, run(f"never-stopped-{i}", stop=False))
    assert descriptors() == before


def test_the_run_of_a_suggestion_is_found_wherever_the_archive_has_put_it(tmp_path):
    spool = RoutedSpool(tmp_path)
    for uid, suggestion in [("a", "s1"), ("b", "s2"), ("c", "s3"), ("d", ""), ("e", "s5")]:
        docs = run(uid)
        write(spool, [("start", {**docs[0][1], "agent_suggestion_uid": suggestion}), *docs[1:]])
    written, waiting, refused, foreign, _ = spool.complete()
    spool.archived(written, next(spool.read(written))[1])
    spool.refuse(refused, "no")
    spool.archived(foreign, next(spool.read(foreign))[1])
    assert not list(tmp_path.rglob("*-d.jsonl"))
    found = spool.find({"s1", "s2", "s3", "s4"})
    assert {one: [documents[0][1]["uid"] for documents in runs] for one, runs in found.items()} == {
        "s1": ["a"],
        "s2": ["b"],
        "s3": ["c"],
    }
    assert all(runs[0][-1][0] == "stop" for runs in found.values())
    kept = spool.kept()
    assert list(kept.values()) == ["s1"]
    spool.forget(kept)
    spool.forget(kept)
    assert spool.kept() == {}
    assert set(spool.find({"s1", "s2"})) == {"s2"}
    assert waiting in spool.complete()


def test_of_several_runs_of_a_suggestion_the_first_begun_comes_first(tmp_path):
    spool = RoutedSpool(tmp_path)
    for uid, at in (("late", 5.0), ("early", 4.0)):
        write(spool, [("start", {"uid": uid, "time": at, "agent_suggestion_uid": "s"})])
        write(spool, [("stop", {"run_start": uid, "exit_status": "success"})])
    assert [documents[0][1]["uid"] for documents in spool.find({"s"})["s"]] == ["early", "late"]
