"""The documents of a small run."""

from typing import Any

Documents = list[tuple[str, dict[str, Any]]]


def documents(uid: str = "r1", values: tuple[Any, ...] = (1.0, 2.0), field: str = "flux", **start: Any) -> Documents:
    events = [
        ("event", {"uid": f"{uid}-e{n}", "descriptor": f"{uid}-d", "seq_num": n, "data": {field: value}})
        for n, value in enumerate(values, 1)
    ]
    return [
        ("start", {"uid": uid, **start}),
        ("descriptor", {"uid": f"{uid}-d", "run_start": uid, "name": "primary", "data_keys": {field: {}}}),
        *events,
        ("stop", {"uid": f"{uid}-s", "run_start": uid, "exit_status": "success"}),
    ]
