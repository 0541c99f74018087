"""Documents prepared for the catalogue: valid, of one type a column, and given back as they were."""

import json

from archive_rig import run_engine
from bluesky.plans import count
from comparison import Witness, differences
from drawn import devices, names
from event_model import DocumentNames, schema_validators
from hypothesis import HealthCheck, given, settings, strategies as st

from agent_service.archive.metadata import exact, storable
from agent_service.archive.restored_documents import restored
from agent_service.archive.run_schema import RunSchema
from agent_service.archive.stored_documents import stored
from agent_service.documents.json_lines import encode

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=60
)
@given(st.lists(devices(), min_size=1, max_size=3))
def test_what_was_measured_is_given_back_field_by_field(drawn):
    witness, spooled = Witness(), []
    with run_engine() as engine:
        engine.subscribe(witness)
        engine.subscribe(lambda name, doc: spooled.append(tuple(json.loads(encode(name, doc)))))
        for device in drawn:
            engine(count([device], num=device.events))
    runs = {}
    for name, doc in spooled:
        if name == "start":
            documents = runs[doc["uid"]] = []
        documents.append((name, doc))
    for uid, seen in witness.runs.items():
        ready = list(stored(runs[uid], RunSchema(runs[uid])))
        for name, doc in ready:
            schema_validators[DocumentNames[name]].validate(json.loads(json.dumps(doc)))
        assert differences(seen, restored(json.loads(json.dumps(ready)))) == []
        _assert_one_type_a_column([doc["data"] for name, doc in ready if name == "event"])


def _assert_one_type_a_column(rows):
    for column in rows[0]:
        assert len({type(row[column]) for row in rows}) == 1, column


@given(st.dictionaries(st.text(min_size=1), json_values, max_size=4))
def test_metadata_of_any_value_are_given_back(doc):
    ready = storable(doc)
    assert json.loads(json.dumps(ready, allow_nan=False)) == ready
    assert differences([("stop", {"uid": "", **doc})], [("stop", {"uid": "", **exact(ready)})]) == []


def test_a_key_that_is_two_things_in_two_streams_has_two_columns():
    def descriptor(uid, name, data_key):
        keys = {"x": {"source": "s", **data_key}, "y": {"dtype": "number", "shape": [], "source": "s"}}
        return "descriptor", {"uid": uid, "run_start": "u", "time": 1.0, "name": name, "data_keys": keys}

    def event(descriptor, x):
        data = {"x": x, "y": 1.5}
        stamps = dict.fromkeys(data, 1.0)
        return "event", {
            "uid": "e",
            "descriptor": descriptor,
            "seq_num": 1,
            "time": 1.0,
            "data": data,
            "timestamps": stamps,
        }

    documents = [
        ("start", {"uid": "u", "time": 1.0}),
        descriptor("a", "baseline", {"dtype": "array", "shape": [2]}),
        event("a", [1, 2]),
        descriptor("b", "primary", {"dtype": "array", "shape": [3]}),
        event("b", [1.5, 2.5, 3.5]),
        ("stop", {"uid": "s", "run_start": "u", "time": 2.0, "exit_status": "success"}),
    ]
    ready = list(stored(documents, RunSchema(documents)))
    one, other = (set(doc["data"]) for name, doc in ready if name == "event")
    assert one & other == {"y"}
    assert differences(documents, restored(ready)) == []


def test_what_is_in_files_is_left_alone():
    keys = {"Image.1": {"dtype": "array", "shape": [2, 2], "source": "s", "external": "STREAM:", "dtype_str": "<u2"}}
    documents = [
        ("start", {"uid": "u", "time": 1.0}),
        ("descriptor", {"uid": "d", "run_start": "u", "time": 1.0, "name": "primary", "data_keys": keys}),
        ("stream_resource", {"uid": "r", "run_start": "u", "data_key": "Image.1", "uri": "file://localhost/x"}),
        ("stream_datum", {"uid": "r/0", "stream_resource": "r", "descriptor": "d"}),
        ("stop", {"uid": "s", "run_start": "u", "time": 2.0, "exit_status": "success"}),
    ]
    ready = list(stored(documents, RunSchema(documents)))
    (column,) = ready[1][1]["data_keys"]
    assert ready[2][1]["data_key"] == column
    assert {**keys["Image.1"], "true_name": "Image.1"} == ready[1][1]["data_keys"][column]
    assert list(restored(ready)) == documents
