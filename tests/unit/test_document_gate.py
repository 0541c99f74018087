"""The document gate: documents in any order, any number of times, in pages, from two sources, or with some missing."""

import random
from collections import Counter
from functools import partial
from itertools import pairwise

import event_model
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from agent_service.documents import gate as gate_module
from agent_service.documents.choice import Made, choose
from agent_service.documents.counts import EventCounts
from agent_service.documents.gate import DocumentGate
from agent_service.documents.origin import Origin
from agent_service.documents.outcomes import by_field
from agent_service.documents.runs import Run
from agent_service.documents.spool import Spool


def key(name):
    return {"source": "sim", "dtype": "number", "shape": [], "object_name": name}


def a_run(numbers=(3, 2), *, files=False):
    """Return the documents of a run of as many events in each stream."""
    run = event_model.compose_run(metadata={"agent_suggestion_uid": "s1"})
    found = [("start", run.start_doc)]
    for stream, number in zip(("primary", "baseline", "other"), numbers, strict=False):
        keys = {"flux": key("flux"), **({"image": {**key("image"), "external": "FILE:"}} if files else {})}
        bundle = run.compose_descriptor(name=stream, data_keys=keys)
        found.append(("descriptor", bundle.descriptor_doc))
        resource = run.compose_resource(spec="TIFF", root="/", resource_path="a", resource_kwargs={}) if files else None
        if resource is not None:
            found.append(("resource", resource.resource_doc))
        for i in range(number):
            data, filled = {"flux": float(i)}, {}
            if resource is not None:
                datum = resource.compose_datum(datum_kwargs={"frame": i})
                found.append(("datum", datum))
                data["image"], filled["image"] = datum["datum_id"], False
            event = bundle.compose_event(data=data, timestamps=dict.fromkeys(data, float(i)), filled=filled)
            found.append(("event", event))
    return [*found, ("stop", run.compose_stop())]


def in_pages(documents, size):
    """Return documents with the events of each stream in pages."""
    found, page = [], []
    for name, document in [*documents, ("", {})]:
        if page and (name != "event" or document["descriptor"] != page[0]["descriptor"] or len(page) == size):
            found.append(("event_page", event_model.pack_event_page(*page)))
            page = []
        if name == "event":
            page.append(document)
        elif name:
            found.append((name, document))
    return found


def in_bulk(documents):
    events = [document for name, document in documents if name == "event"]
    bulk = {"primary": [one for one in events if one]}
    rest = [pair for pair in documents if pair[0] != "event"]
    return [*rest[:-1], ("bulk_events", bulk), rest[-1]] if events else rest


def as_a_catalogue_has_it(documents):
    """Return documents as Tiled gives them: it keeps no uids of events, and makes some of descriptor and number."""
    return [
        (name, {**doc, "uid": f"event-{doc['descriptor']}-{doc['seq_num']}"} if name == "event" else doc)
        for name, doc, *_ in documents
    ]


def through(gate, documents, origin=Origin.ELSEWHERE):
    found = [
        passed.routed for pair in documents for passed in gate.put(*pair, origin=origin) if passed.routed is not None
    ]
    return found + [passed.routed for passed in gate.settle(0) if passed.routed is not None]


def by_stream(pairs):
    """Return what there is of a run: each kind of document, and the events of each stream in order."""
    found = {}
    for name, document, *_ in pairs:
        found.setdefault((name, document.get("descriptor", "")), []).append(document)
    return {what: documents if what[0] == "event" else sorted(documents, key=str) for what, documents in found.items()}


RUNS = st.builds(a_run, st.lists(st.integers(0, 6), min_size=1, max_size=3).filter(any), files=st.booleans())
SHAPES = st.sampled_from([lambda documents: documents, in_bulk, *(lambda d, n=n: in_pages(d, n) for n in (1, 2, 7))])


@st.composite
def deliveries(draw):
    """A run, and its documents as a bad broker gives them: of one or two sources, shuffled, some more than once."""
    documents = draw(RUNS)
    given = [pair for shape in draw(st.lists(SHAPES, min_size=1, max_size=2)) for pair in shape(documents)]
    again = draw(st.lists(st.sampled_from(given), max_size=5))
    return documents, draw(st.permutations(given + again))


@settings(max_examples=300, deadline=None)
@given(deliveries())
def test_however_a_run_is_given_it_passes_as_it_was_measured(tmp_path_factory, delivery) -> None:
    documents, given_documents = delivery
    gate = DocumentGate()
    passed = through(gate, given_documents)
    assert by_stream(passed) == by_stream(documents)
    assert passed[0].name == "start"
    assert passed[-1].name == "stop"
    before = set()
    for name, document, run in passed:
        assert run == documents[0][1]["uid"]
        assert name != "event" or document["descriptor"] in before
        assert all(document["data"][one] in before for one, filled in document.get("filled", {}).items() if not filled)
        before |= {document.get("uid"), document.get("datum_id")}
    spool = Spool(tmp_path_factory.mktemp("spool"))
    for routed in passed:
        spool.write(*routed, elsewhere=True)
    (path,) = spool.complete()
    run, clean = Run(tuple(spool.read(path))), Run(tuple(documents))
    assert (run.missing(), gate.suspects, len(gate)) == ("", {}, 0)
    if clean.events():
        assert by_field(run, ["flux"]) == by_field(clean, ["flux"]) or clean.external("flux")


@settings(max_examples=300, deadline=None)
@given(deliveries(), st.data())
def test_with_an_event_missing_the_run_is_suspect_and_never_counts_as_whole(delivery, data) -> None:
    documents, given_documents = delivery
    events = [document["uid"] for name, document in documents if name == "event"]
    lost = set(data.draw(st.lists(st.sampled_from(events), min_size=1, unique=True)))
    kept = [
        pair
        for pair in given_documents
        if pair[0] not in ("event_page", "bulk_events") and pair[1].get("uid") not in lost
    ]
    singles = [pair for pair in documents if pair[1].get("uid") not in lost]
    gate, uid = DocumentGate(), documents[0][1]["uid"]
    passed = through(gate, [*kept, *singles])
    assert "stop" not in [routed.name for routed in passed]
    assert list(gate.suspects) == [uid]
    assert "did not come" in gate.suspects[uid].reason
    # a catalogue has it: nothing twice, and whole
    completed = passed + through(gate, as_a_catalogue_has_it(documents), Origin.CATALOGUE)
    assert by_stream(as_a_catalogue_has_it(completed)) == by_stream(as_a_catalogue_has_it(documents))
    assert (completed[-1].name, gate.suspects, len(gate)) == ("stop", {}, 0)
    # nobody has it: it passes as what it is
    gate = DocumentGate()
    passed = through(gate, [*kept, *singles])
    passed += [one.routed for one in gate.give_up(uid) if one.routed]
    run = Run(tuple((name, document) for name, document, _ in passed))
    assert Counter(name for name, _ in run.documents) == Counter(name for name, _ in singles)
    assert run.missing()
    chosen = choose(Made((run,)), None, every=False)
    assert (chosen.exit_status, chosen.runs) == ("fail", ())
    assert "did not arrive whole" in chosen.reason
    assert len(gate) == 0


def test_a_run_of_here_passes_at_once_and_its_copy_from_elsewhere_does_not() -> None:
    gate, documents = DocumentGate(), a_run()
    passed = []
    for pair in documents:
        passed += through(gate, [pair], Origin.HERE)
        passed += through(gate, [pair])
    assert [routed[:2] for routed in passed] == documents
    assert not gate.is_elsewhere(documents[0][1]["uid"])


def test_what_is_stored_is_said_of_each_document_and_each_repetition() -> None:
    gate, documents, told = DocumentGate(), a_run((5,)), []
    given_documents = documents * 3
    random.Random(7).shuffle(given_documents)
    for number, pair in enumerate(given_documents):
        for passed in gate.put(*pair, Origin.ELSEWHERE, stored=lambda number=number: told.append(number)):
            if passed.stored is not None:
                passed.stored()
    for passed in gate.settle(0):
        passed.stored()
    assert sorted(told) == list(range(len(given_documents)))


def test_a_page_is_stored_with_its_last_event() -> None:
    gate, (start, descriptor, page, stop), told = DocumentGate(), in_pages(a_run((3,)), 3), []
    for pair in (page, descriptor):
        list(gate.put(*pair, Origin.ELSEWHERE, stored=lambda pair=pair: told.append(pair[0])))
    found = list(gate.put(*start, Origin.ELSEWHERE))
    assert [one.routed.name for one in found] == ["start", "descriptor", "event", "event", "event"]
    assert [one.stored is not None for one in found] == [False, True, False, False, True]
    assert through(gate, [stop])


def test_events_measured_again_after_a_pause_replace_the_first_ones_in_any_order() -> None:
    documents = a_run((3,))
    *most, stop = documents
    again = [
        (name, {**doc, "uid": f"{doc['uid']}-again", "time": doc["time"] + 5, "data": {"flux": 9.0}})
        for name, doc in most[3:]
    ]
    for seed in range(20):
        given_documents = [*most, *again]
        random.Random(seed).shuffle(given_documents)
        given_documents.append(stop)  # what comes after the end of a whole run is taken for a repetition
        run = Run(tuple((name, doc) for name, doc, _ in through(DocumentGate(), given_documents)))
        assert (run.data("flux").tolist(), run.missing()) == ([0.0, 9.0, 9.0], "")


def test_a_run_without_its_start_is_left_out_when_it_is_given_up_and_its_offsets_are_not_kept_back() -> None:
    gate, documents, told = DocumentGate(), a_run(), []
    uid = documents[0][1]["uid"]
    for pair in documents[1:]:
        assert not list(gate.put(*pair, Origin.ELSEWHERE, stored=lambda pair=pair: told.append(pair)))
    assert "its start document" in gate.suspects[uid].reason
    found = list(gate.give_up(uid)) + list(gate.leave_out_older(0))
    assert not [one.routed for one in found if one.routed]
    assert len([one for one in found if one.stored]) == len(documents) - 1
    assert (len(gate), gate.suspects) == (0, {})


def test_a_document_of_which_nothing_else_ever_came_is_left_out_in_the_end() -> None:
    gate = DocumentGate()
    event = ("event", {"uid": "e", "descriptor": "of nobody", "seq_num": 1})
    assert not list(gate.put(*event, Origin.ELSEWHERE, stored=print))
    assert not list(gate.leave_out_older(60))
    assert [one.routed for one in gate.leave_out_older(0)] == [None]
    assert len(gate) == 0


@pytest.mark.parametrize("number", [True, "1", 1.0, None, -1, [1], {}])
def test_an_odd_number_does_no_harm(number) -> None:
    gate, documents = DocumentGate(), a_run((1,))
    odd = ("event", {**documents[2][1], "uid": "odd", "seq_num": number})
    passed = through(gate, [*documents[:2], odd, *documents[2:]])
    assert [routed.name for routed in passed] == ["start", "descriptor", "event", "event", "stop"]


def test_a_resource_that_no_datum_names_passes_though_it_comes_after_the_end() -> None:
    *most, stop = a_run((2,))
    resource = ("resource", {"uid": "r", "run_start": most[0][1]["uid"], "spec": "TIFF"})
    gate = DocumentGate()
    in_any_order = [most[3], *most[:3], stop]
    passed = [one.routed for pair in in_any_order for one in gate.put(*pair, Origin.ELSEWHERE) if one.routed]
    assert [routed.name for routed in passed] == ["start", "descriptor", "event", "event"]
    assert not list(gate.settle(60))
    passed = [one.routed.name for one in gate.put(*resource, Origin.ELSEWHERE)]
    passed += [one.routed.name for one in gate.settle(0)]
    assert (passed, gate.suspects, len(gate)) == (["resource", "stop"], {}, 0)


@pytest.mark.parametrize("late", ["resource", "stream_resource"])
def test_the_end_waits_where_nothing_came_of_data_that_are_in_files(late) -> None:
    """No number counts the resources of a stream without events: one may come after the end, as of two partitions."""
    documents = a_run((0, 1), files=True)
    place = next(i for i, (name, _) in enumerate(documents) if name == "resource")
    found = (late, documents[place][1])
    before = [pair for i, pair in enumerate(documents) if i != place]
    gate = DocumentGate()
    passed = [one.routed.name for pair in before for one in gate.put(*pair, Origin.ELSEWHERE) if one.routed]
    assert passed == [name for name, _ in before[:-1]]
    assert not list(gate.settle(60))
    assert [one.routed.name for one in gate.put(*found, Origin.ELSEWHERE)] == [late]
    assert [one.routed.name for one in gate.settle(0)] == ["stop"]
    assert (gate.suspects, len(gate)) == ({}, 0)


def test_the_end_of_a_run_whose_documents_came_in_order_passes_at_once() -> None:
    gate, documents = DocumentGate(), a_run()
    passed = [one.routed.name for pair in documents for one in gate.put(*pair, Origin.ELSEWHERE)]
    assert passed == [name for name, _ in documents]


def test_of_what_is_left_out_for_others_the_offset_is_not_kept_back(monkeypatch) -> None:
    monkeypatch.setattr("agent_service.documents.waiting_documents.MAX_WAITING", 3)
    gate, told = DocumentGate(), []
    for number in range(5):
        event = {"uid": f"e{number}", "descriptor": f"d{number}", "seq_num": 1}
        for passed in gate.put("event", event, Origin.ELSEWHERE, stored=lambda number=number: told.append(number)):
            passed.stored()
    assert (told, len(gate)) == ([0, 1], 3)


def test_what_comes_late_of_a_run_that_a_catalogue_completes_passes_no_second_time() -> None:
    gate, documents = DocumentGate(), a_run((3,))
    *most, _ = documents
    lost, late = most[3], most[4]
    passed = through(gate, [pair for pair in most if pair not in (lost, late)])
    completed = as_a_catalogue_has_it(documents)
    passed += through(gate, completed[:-1], Origin.CATALOGUE)
    passed += through(gate, [late])
    passed += through(gate, completed[-1:], Origin.CATALOGUE)
    assert [document["seq_num"] for name, document, _ in passed if name == "event"] == [1, 2, 3]


def test_a_run_that_ended_in_an_earlier_service_is_a_repetition() -> None:
    gate, documents = DocumentGate(), a_run()
    gate.remember([documents[0][1]["uid"]])
    assert not through(gate, documents)
    assert not through(gate, documents, Origin.CATALOGUE)


def test_of_a_run_that_goes_on_after_a_restart_nothing_is_given_twice_and_its_end_waits_for_what_is_late() -> None:
    gate, documents = DocumentGate(), a_run((3,))
    known = [routed for routed in (one.routed for one in gate.resume(documents[:3])) if routed]
    assert [routed.name for routed in known] == ["start", "descriptor", "event"]
    passed = [one.routed for pair in documents for one in gate.put(*pair, Origin.ELSEWHERE) if one.routed]
    assert [routed.name for routed in passed] == ["event", "event"]
    assert [one.routed.name for one in gate.settle(0)] == ["stop"]


def test_an_end_that_comes_again_while_it_waits_puts_its_run_off_no_longer(monkeypatch) -> None:
    """NATS gives again every 4 s what nobody acknowledged, and an end that waits is not acknowledged."""
    now = [100.0]
    monkeypatch.setattr(gate_module.time, "monotonic", lambda: now[0])
    gate, documents = DocumentGate(), a_run((3,))
    assert [one.routed for one in gate.resume(documents[:-1])]
    acknowledged: list[int] = []
    for count in range(3):
        taken = list(gate.put(*documents[-1], Origin.ELSEWHERE, partial(acknowledged.append, count)))
        assert not [one for one in taken if one.routed is not None]
        now[0] += 4.0
    settled = list(gate.settle())
    assert [one.routed.name for one in settled if one.routed] == ["stop"]
    for one in settled:
        if one.stored is not None:
            one.stored()
    assert acknowledged == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("event_page", {"uid": [], "descriptor": "d", "seq_num": [], "time": [], "data": {}, "timestamps": {}}),
        ("datum_page", {"resource": "r", "datum_id": [], "datum_kwargs": {}}),
        ("datum_page", {"resource": "r", "datum_id": 3, "datum_kwargs": {}}),
        ("datum_page", {"resource": "r", "datum_id": ["a", "b"], "datum_kwargs": {"frame": [1]}}),
        ("datum_page", {"resource": "r", "datum_id": ["a"], "datum_kwargs": [1]}),
        ("bulk_events", {"primary": 3}),
        ("bulk_events", {}),
        ("bulk_datum", {}),
    ],
)
def test_of_a_page_that_holds_nothing_or_cannot_be_read_the_offset_is_not_kept_back(name, document) -> None:
    gate, told = DocumentGate(), []
    for passed in gate.put(name, document, Origin.ELSEWHERE, stored=partial(told.append, name)):
        assert passed.routed is None
        passed.stored()
    assert (told, len(gate)) == ([name], 0)


@pytest.mark.parametrize("origin", [Origin.HERE, Origin.ELSEWHERE])
def test_numbers_far_beyond_a_gap_take_no_memory(origin) -> None:
    documents = a_run((1,))
    *most, (_, stop) = documents
    far = {
        "uid": "s",
        "descriptor": most[1][1]["uid"],
        "stream_resource": "r",
        "seq_nums": {"start": 2, "stop": 10**15},
    }
    resource = ("stream_resource", {"uid": "r", "run_start": most[0][1]["uid"], "data_key": "image"})
    given_documents = [*most, resource, ("stream_datum", far), ("stop", {**stop, "num_events": {"primary": 10**15}})]
    passed = through(DocumentGate(), given_documents, origin)
    assert [name for name, _, _ in passed] == [name for name, _ in given_documents][
        : 4 if origin.value != "here" else 6
    ]
    run = Run(tuple(given_documents))
    assert "events of stream primary" in run.missing()


@settings(max_examples=300, deadline=None)
@given(st.permutations(range(1, 13)), st.sets(st.integers(2, 12), max_size=3), st.randoms())
def test_events_and_ranges_in_any_order_are_counted_each_once(order, edges, chance) -> None:
    counts = EventCounts()
    counts.add("descriptor", {"uid": "d", "name": "primary"})
    counts.add("stream_resource", {"uid": "r", "data_key": "image"})
    ranges = [*pairwise(sorted({1, 13, *edges}))]
    chance.shuffle(ranges)
    for first, end in ranges:
        numbers = {"start": first, "stop": end}
        counts.add("stream_datum", {"descriptor": "d", "stream_resource": "r", "seq_nums": numbers})
    for there, number in enumerate(order, start=1):
        counts.add("event", {"descriptor": "d", "seq_num": number})
        lacks = f"{12 - there} of 12 events of stream primary" if there < 12 else ""
        assert counts.missing({"num_events": {"primary": 12}}) == lacks


@pytest.mark.parametrize(
    "number", [np.array(3), np.array([3]), np.array([[1, 2]]), np.int64(2), 10**30, b"1", "x" * 10]
)
def test_a_number_of_any_kind_does_no_harm(number) -> None:
    gate, documents = DocumentGate(), a_run((1,))
    odd = ("event", {**documents[2][1], "uid": "odd", "seq_num": number})
    passed = through(gate, [*documents[:2], odd, *documents[2:]])
    assert [routed.name for routed in passed][-2:] == ["event", "stop"]


@pytest.mark.parametrize("odd", [{}, {"num_events": None}, {"num_events": 3}])
def test_an_end_that_says_no_numbers_waits_until_nothing_comes_any_more(odd) -> None:
    documents = a_run((2,))
    *most, late, (_, stop) = documents
    numberless = {key: value for key, value in stop.items() if key != "num_events"} | odd
    gate = DocumentGate()
    passed = [one.routed.name for pair in most for one in gate.put(*pair, Origin.ELSEWHERE)]
    assert not list(gate.put("stop", numberless, Origin.ELSEWHERE))
    assert not list(gate.settle(60))
    passed += [one.routed.name for one in gate.put(*late, Origin.ELSEWHERE)]
    passed += [one.routed.name for one in gate.settle(0)]
    assert passed == [name for name, _ in documents]
    assert len(gate) == 0
