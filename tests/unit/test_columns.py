"""Columns for names: what SQL takes, the same each time, and the names back."""

from drawn import AWKWARD_NAMES, names
from hypothesis import given, strategies as st
from tiled.adapters.sql import COLUMN_NAME_PATTERN, is_safe_identifier

from agent_service.archive.columns import columns_for
from agent_service.archive.restored_documents import restored

lists = st.lists(names, max_size=12)


@given(lists)
def test_any_names_become_columns_that_sql_takes(found):
    columns = columns_for(found)
    assert set(columns) == set(found)
    taken = [one.lower() for column in columns.values() for one in (column, f"ts_{column}")]
    assert len(set(taken)) == len(taken)
    assert not {"time", "seq_num", "internal", "rowid"} & set(taken)
    for column in columns.values():
        assert is_safe_identifier(f"ts_{column}", COLUMN_NAME_PATTERN)
        assert not column.lower().startswith("ts_")
        assert not set(column) & {".", "/", " "}


@given(lists, lists, st.randoms())
def test_a_name_has_the_same_column_whatever_stands_beside_it(found, others, random):
    """But for a name that is another one's in other letters: only one of them can be the column."""
    alike = [one.lower() for one in {*found, *others}]
    columns = columns_for(found)
    mixed = [*found, *others]
    random.shuffle(mixed)
    again = columns_for(mixed)
    for name in found:
        if alike.count(name.lower()) == 1 or name == name.lower():
            assert again[name] == columns[name]


def test_what_can_be_a_column_is_one():
    simple = ["x", "stage-x", "Det", "det_2", "select", "a" * 60]
    assert columns_for([*simple, *AWKWARD_NAMES]) | {"Det": "Det"} == columns_for([*simple, *AWKWARD_NAMES]) | {
        name: name for name in simple
    }
    assert columns_for(["X", "x"]) == {"X": "x_4b68ab38", "x": "x"}
    assert columns_for(["2theta"]) == {"2theta": "x_2theta_5fc21043"}  # it must never change: tables have it
    assert columns_for(["state"], taken=["state"])["state"].startswith("state_")


def test_documents_of_a_catalogue_that_somebody_else_wrote_are_as_they_are():
    documents = [
        ("start", {"uid": "u", "time": 1.0}),
        ("descriptor", {"uid": "d", "name": "primary", "data_keys": {"x": {"dtype": "number"}}, "hints": {}}),
        ("event", {"descriptor": "d", "data": {"x": 1.0}, "timestamps": {"x": 1.0}}),
        ("stream_resource", {"uid": "r", "data_key": "image"}),
        ("stop", {"uid": "s"}),
    ]
    assert list(restored(documents)) == documents
