"""Devices and runs drawn at random: names, types and values as a beamline may have them, and worse."""

from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

AWKWARD_NAMES = [
    "2theta",
    "det",
    "Det",
    "DET",
    "stage-x",
    "stage.x",
    "stage/x",
    "a b",
    "time",
    "seq_num",
    "ts_det",
    "TS_det",
    "internal",
    "select",
    "order",
    "rowid",
    "ctid",
    "dim_int_1",
    "",
    "ü",
    "µm",
    "x" * 65,
    "X" * 65,
    'q"; DROP TABLE runs--',
    "_dataset_id",
    "%",
    "a\nb",
]

names = st.one_of(st.sampled_from(AWKWARD_NAMES), st.text(st.characters(exclude_categories=["Cs"]), max_size=80))

measurable = names.filter(lambda name: name and not set(name) & {".", "/"})
"""Names that a RunEngine lets pass; documents that come another way may have any."""

_numbers = st.floats(width=64)
_whole = st.integers(-(2**70), 2**70)
_scalars = {
    "number": st.one_of(_numbers, st.integers(-(2**53), 2**53)),
    "integer": _whole,
    "string": st.text(max_size=20),
    "boolean": st.booleans(),
}
_dtypes = st.sampled_from(["<f8", "<f4", "<i8", "<i4", "<u2", "|u1", "|b1"])
_shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@st.composite
def keys(draw, events):
    """A data key as a device describes it, and its values: what it says may not be what it measures."""
    kind = draw(st.sampled_from([*_scalars, "array", "array", "ragged", "odd"]))
    if kind in _scalars:
        values = draw(st.lists(_scalars[kind], min_size=events, max_size=events))
        described = {"dtype": kind, "shape": []}
    elif kind == "array":
        dtype, shape = draw(_dtypes), draw(_shapes)
        values = [draw(npst.arrays(dtype, shape)) for _ in range(events)]
        described = {"dtype": "array", "shape": list(shape)}
        if draw(st.booleans()):
            described["dtype_numpy"] = dtype
    elif kind == "ragged":
        values = draw(st.lists(st.lists(_numbers, max_size=5), min_size=events, max_size=events))
        described = {"dtype": "array", "shape": [None]}
    else:
        odd = st.one_of(*_scalars.values(), st.lists(st.one_of(*_scalars.values()), max_size=3))
        values = draw(st.lists(odd, min_size=events, max_size=events))
        described = {"dtype": draw(st.sampled_from([*_scalars, "array"])), "shape": []}
    units = draw(st.sampled_from([None, "mm", "µm"]))
    return {**described, "source": "drawn", **({"units": units} if units else {})}, values


@st.composite
def devices(draw):
    """A device, with what it will measure."""
    events = draw(st.integers(1, 3))
    found = {name: draw(keys(events)) for name in draw(st.lists(measurable, min_size=1, max_size=5, unique=True))}
    config = draw(st.dictionaries(measurable, st.one_of(_numbers, _whole, st.text(max_size=5)), max_size=2))
    return Device(draw(measurable), found, config, events)


class Device:
    """A device that Bluesky reads."""

    parent = None

    def __init__(self, name, found, config, events):
        self.name = name
        self.events = events
        self._found = found
        self._config = config
        self._read = 0

    def __repr__(self):
        return f"Device({self.name!r}, {self._found!r}, {self._config!r})"

    @property
    def hints(self):
        return {"fields": list(self._found)[:1]}

    def describe(self):
        return {key: dict(described) for key, (described, _) in self._found.items()}

    def read(self):
        self._read += 1
        return {key: {"value": values[self._read - 1], "timestamp": 10.5} for key, (_, values) in self._found.items()}

    def describe_configuration(self):
        return {key: {"dtype": _dtype(value), "shape": [], "source": "drawn"} for key, value in self._config.items()}

    def read_configuration(self):
        return {key: {"value": value, "timestamp": 9.5} for key, value in self._config.items()}


def _dtype(value):
    return "string" if isinstance(value, str) else "integer" if isinstance(value, int) else "number"
