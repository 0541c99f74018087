"""What the service keeps of a document is its own."""

import array
import collections
import datetime as dt
import decimal
import enum
import json
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as npst

from agent_service.documents.document_copies import deep_copy, unpack_bulk
from agent_service.documents.json_lines import encode


class Lazy:
    """An array that is asked for when somebody wants it, as dask's."""

    def __init__(self, value):
        self.value = value
        self.asked = 0

    def __array__(self, dtype=None, copy=None):
        self.asked += 1
        return self.value


class Ragged:
    """Has rows of different lengths, as awkward's arrays."""

    def __init__(self, rows):
        self.rows = rows

    def __array__(self, dtype=None, copy=None):
        msg = "cannot convert to RegularArray"
        raise ValueError(msg)

    def tolist(self):
        return self.rows


class Broken:
    """Raises whatever is asked of it."""

    def __array__(self, dtype=None, copy=None):
        raise OSError

    def __str__(self):
        raise RuntimeError


class Annotated(np.ndarray):
    """An array with more to it."""


def refill(value):
    value[...] = 9


CASES = {
    "array": (lambda: np.arange(6.0), refill, [0, 1, 2, 3, 4, 5]),
    "view": (lambda: np.arange(6.0)[::2], lambda value: refill(value.base), [0, 2, 4]),
    "subclass": (lambda: np.arange(3).view(Annotated), refill, [0, 1, 2]),
    "big-endian": (lambda: np.arange(3, dtype=">i4"), refill, [0, 1, 2]),
    "object array": (lambda: np.array([1, [2]], dtype=object), lambda value: value[1].append(3), [1, [2]]),
    "memoryview": (lambda: memoryview(bytearray(b"abc")), lambda value: value.__setitem__(0, 0), [97, 98, 99]),
    "array.array": (lambda: array.array("d", [1, 2]), lambda value: value.__setitem__(0, 0), [1, 2]),
    "lazy": (lambda: Lazy(np.arange(3)), lambda value: refill(value.value), [0, 1, 2]),
    "ragged": (lambda: Ragged([[1], [2, 3]]), lambda value: value.rows[0].append(9), [[1], [2, 3]]),
    "record": (lambda: np.array([(1, 2.0)], "i4,f8"), lambda value: value.__setitem__(0, (9, 9)), [(1, 2.0)]),
    "a record's row": (lambda: np.array([(1, 2.0)], "i4,f8")[0], lambda value: value.__setitem__(0, 9), (1, 2.0)),
    "list": (lambda: [1, [2, {"a": 3}]], lambda value: value[1][1].update(a=9), [1, [2, {"a": 3}]]),
    "tuple": (lambda: (1, [2]), lambda value: value[1].append(3), (1, [2])),
    "deque": (lambda: collections.deque([1, 2]), lambda value: value.append(3), [1, 2]),
    "set": (lambda: {1, 2}, lambda value: value.add(3), {1, 2}),
    "mapping": (lambda: {"a": {"b": [1]}}, lambda value: value["a"]["b"].append(2), {"a": {"b": [1]}}),
    "a view on a mapping": (lambda: MappingProxyType({"a": [1]}), lambda value: value["a"].append(2), {"a": [1]}),
    "bytearray": (lambda: bytearray(b"ab"), lambda value: value.append(99), b"ab"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "where", [lambda value: {"data": {"field": value}}, lambda value: {"data": {"field": [value]}}]
)
def test_whoever_emitted_it_may_change_it(case, where):
    make, change, expected = CASES[case]
    value = make()
    kept = deep_copy(where(value))
    change(value)
    [field] = kept["data"].values()
    found = field[0] if isinstance(where([None])["data"]["field"][0], list) else field
    found = found.tolist() if hasattr(found, "tolist") else found
    assert found == expected
    assert type(found) is type(expected) or isinstance(found, frozenset)


def test_a_read_only_view_on_writable_memory_is_copied():
    memory = np.zeros(3)
    shown = memory.view()
    shown.flags.writeable = False
    kept = deep_copy({"image": shown})
    memory[:] = 1
    assert kept["image"].tolist() == [0, 0, 0]


def test_an_array_is_copied_once_and_a_lazy_one_asked_once():
    lazy = Lazy(np.zeros(3))
    kept = deep_copy({"a": np.zeros(3), "b": lazy})
    assert lazy.asked == 1
    assert kept["a"].base is None
    assert kept["b"].base is None


def test_what_is_masked_was_not_measured():
    kept = deep_copy({"a": np.ma.array([1, 2, 3], mask=[0, 1, 0]), "b": np.ma.array([1, 2])})
    assert np.isnan(kept["a"]).tolist() == [False, True, False]
    assert type(kept["b"]) is np.ndarray
    assert kept["b"].tolist() == [1, 2]


def test_numbers_keep_their_kind():
    values = [np.float32(1.5), np.longdouble(1.5), np.int64(3), np.bool_(True), decimal.Decimal("1.5"), True, 1 << 80]
    kept = deep_copy({"values": values})["values"]
    assert kept == values
    assert [type(one) for one in kept] == [type(one) for one in values]
    assert type(deep_copy({"a": np.array(3)})["a"]) is np.int64


def test_what_is_neither_is_its_text_as_in_the_spool():
    document = {"e": enum.Enum("E", "A").A, "d": dt.date(2026, 1, 2), "o": Broken()}
    assert deep_copy(document) == {"e": "E.A", "d": "2026-01-02", "o": "something of type Broken"}


def test_what_holds_itself_ends():
    inner = {}
    inner["again"] = [inner, inner]
    assert json.loads(encode("start", deep_copy({"uid": "a", "x": inner})))[1]["uid"] == "a"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)


def mutable(value):
    """The ids of all that can change within a value."""
    if isinstance(value, dict):
        return {id(value), *(one for inner in value.values() for one in mutable(inner))}
    if isinstance(value, list | tuple):
        return {*([id(value)] if isinstance(value, list) else []), *(one for inner in value for one in mutable(inner))}
    return set()


@given(st.dictionaries(st.text(), json_values))
def test_a_copy_is_equal_and_shares_nothing_that_can_change(document):
    kept = deep_copy(document)
    assert kept == document
    assert not mutable(kept) & mutable(document)


@given(npst.arrays(npst.scalar_dtypes(), npst.array_shapes(min_dims=0)))
def test_a_copy_of_any_array_is_equal_and_shares_no_memory(value):
    kept = deep_copy({"a": value})["a"]
    np.testing.assert_array_equal(kept, value)
    assert kept.dtype.newbyteorder("=") == value.dtype.newbyteorder("=")
    assert not np.shares_memory(kept, value)


def test_kinds_that_event_model_replaced():
    events = [{"descriptor": "d", "seq_num": n, "data": {"a": n}} for n in (1, 2)]
    assert list(unpack_bulk("bulk_events", {"d": events})) == [("event", one) for one in events]
    bulk = {"resource": "r", "datum_ids": ["r/0", "r/1"], "datum_kwarg_list": [{"i": 0}, {"i": 1}]}
    assert list(unpack_bulk("bulk_datum", bulk)) == [
        ("datum", {"resource": "r", "datum_id": f"r/{i}", "datum_kwargs": {"i": i}}) for i in (0, 1)
    ]
    assert list(unpack_bulk("stop", {"uid": "s"})) == [("stop", {"uid": "s"})]
