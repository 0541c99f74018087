"""A run as the catalogue gives it back beside what a plain subscriber of the RunEngine saw, field by field.

Tiled makes new uids for events, keeps no ``filled`` of what is not in files, gives each data key a ``dtype_numpy`` and
puts documents of one time in an order of its own; whatever else is different, is a difference.
"""

import json
import math

import numpy as np


class Witness:
    """A plain subscriber: keeps each document as it is when it is emitted."""

    def __init__(self):
        self.runs = {}
        self._run_of = {}

    def __call__(self, name, doc):
        kept = json.loads(json.dumps(doc, default=_plain))
        uid = doc["uid"] if name == "start" else self._run_of[doc.get("run_start") or doc["descriptor"]]
        self._run_of[doc["uid"]] = uid
        self.runs.setdefault(uid, []).append((name, kept))


def differences(seen, read):
    """Return what is different between the documents that were seen and those that were read, a line each."""
    found, seen, read = [], list(seen), list(read)
    for kind in ("start", "descriptor", "event", "stop"):
        here, there = _of(seen, kind), _of(read, kind)
        if len(here) != len(there):
            found.append(f"{kind}: {len(here)} were measured, {len(there)} are in the catalogue")
        for one, other in zip(here, there, strict=False):
            found += _differences(f"{kind} {one.get('seq_num', '')}", one, other, ignored=_IGNORED[kind])
    return found


_IGNORED = {
    "start": set(),
    "descriptor": {"dtype_numpy", "object_name"},
    "event": {"uid", "filled"},
    "stop": set(),
}


def _of(documents, kind):
    found = [json.loads(json.dumps(dict(doc), default=_plain)) for name, doc in documents if name == kind]
    return sorted(
        found,
        key=lambda doc: (
            (str(doc.get("descriptor", "")), doc.get("seq_num", 0), str(doc.get("uid")))
            if kind == "event"
            else str(doc["uid"])
        ),
    )


def _differences(where, one, other, *, ignored=frozenset()):
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted({*one, *other}):
            if key in ignored and (key not in one or key in ("uid", "filled")):
                continue
            if key not in one or key not in other:
                found.append(f"{where}: {key!r} is only {'in the catalogue' if key in other else 'measured'}")
            else:
                found += _differences(f"{where} {key!r}", one[key], other[key], ignored=ignored - {"uid", "filled"})
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            line
            for i, (a, b) in enumerate(zip(one, other, strict=True))
            for line in _differences(f"{where} [{i}]", a, b)
        ]
    same = one == other or (
        isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    )
    same = same and isinstance(one, bool) == isinstance(other, bool)
    return [] if same else [f"{where}: measured {one!r}, in the catalogue {other!r}"]


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return dict(value)
