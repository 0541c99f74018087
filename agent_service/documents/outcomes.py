"""Finds the outcomes of a run: by field, or by the user's function."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.documents.runs import Run
from agent_service.errors import FieldError, InvalidInput, InvalidPoint
from agent_service.models import ID_KEY, MAX_POINTS
from agent_service.models.objectives import Goals
from agent_service.models.real_numbers import real
from agent_service.models.spaces import NO_SPACE, fitted
from agent_service.models.standard_errors import SEM_KEY, parted
from agent_service.models.values import plain, same
from agent_service.protocols import SETPOINTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from agent_service.models import AgentSpec, Point
    from agent_service.models.spaces import Dimension
    from agent_service.protocols import Document


_TAKEN: Final = {ID_KEY: "which suggestion it is of", SEM_KEY: "the standard errors of its outcomes"}


def by_field(run: Run, fields: Iterable[str]) -> dict[str, float]:
    """Return the mean of each field over the events of ``primary`` and, for an array, over all its elements.

    Parameters
    ----------
    run
        A complete run.
    fields
        Data keys, for example ``["flux"]``.

    Returns
    -------
    dict
        Field to its mean, in the field's own unit; always finite.

    Raises
    ------
    InvalidPoint
        When a field is absent or empty, no number, or holds NaN or infinity; says which and what there is.
    """
    return {field: _mean(run, field) for field in fields}


def actuators_of(run: Run, names: Sequence[str], space: Mapping[str, Dimension] = NO_SPACE) -> Point:
    """Return where a run measured: the mean readback of each actuator in ``primary``, in the actuator's own unit.

    For agents that learn from runs they did not suggest (``listen = "all"``). An actuator whose dimension is no range
    of numbers has the one value that all events have. One that the space lets a point lack may be missing.

    Raises
    ------
    InvalidPoint
        When the run did not read one of the actuators, or not as a value that the space has.
    """
    read: dict[str, object] = {}
    for name in names:
        dimension = space.get(name)
        if dimension is not None and dimension.may_lack and not _is_in(run, name):
            continue
        read[name] = _where(run, name, numbers=dimension is None or dimension.type == "float")
    point, wrong = fitted(read, names, space, measured=True)
    if wrong:
        raise InvalidPoint("; ".join(f"{name!r} of run {run.uid} {why}" for name, why in wrong.items()))
    return point


def places(run: Run, actuators: Sequence[str]) -> list[Run]:
    """Return a run as one for each place where it measured: a scan of actuators is no single point between its ends.

    What was scanned its start document says (``motors``, or the dimensions of its ``hints``), or the setpoint, which
    differs between events; other readbacks that differ are noise, of which the mean counts.

    Raises
    ------
    InvalidPoint
        When there are more places than a brain is told at a time.
    """
    moved = _named_as_scanned(run.start) | _driven(run, actuators)
    scanned = [name for name in actuators if name in moved and len({_read(event, name) for event in run.events()}) > 1]
    if not scanned:
        return [run]
    events: dict[tuple[str, ...], list[tuple[str, Document]]] = {}
    for event in run.events():
        events.setdefault(tuple(_read(event, name) for name in scanned), []).append(("event", event))
    if len(events) > MAX_POINTS:
        raise InvalidPoint(
            f"run {run.uid} scans {', '.join(scanned)} over {len(events)} places, more than {MAX_POINTS}"
        )
    others = [pair for pair in run.documents if pair[0] not in {"event", "event_page", "stop"}]
    end = [pair for pair in run.documents if pair[0] == "stop"]
    return [Run((*others, *measured, *end)) for measured in events.values()]


def _named_as_scanned(start: Document) -> set[str]:
    motors, hints = start.get("motors"), start.get("hints")
    dimensions: object = cast("dict[str, object]", hints).get("dimensions") if isinstance(hints, dict) else None
    named = [motors, *(_first(dimension) for dimension in _items(dimensions))]
    return {name for some in named for name in _items(some) if isinstance(name, str)}


def _driven(run: Run, actuators: Iterable[str]) -> set[str]:
    """Return the actuators whose setpoint differs between events."""
    events = run.events()
    return {
        name
        for name in actuators
        if any(len({_read(event, f"{name}{ending}") for event in events}) > 1 for ending in SETPOINTS)
    }


def _items(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()


def _first(value: object) -> object:
    return items[0] if (items := _items(value)) else None


def _read(event: Document, name: str) -> str:
    data: object = event.get("data")
    return repr(cast("dict[str, object]", data).get(name)) if isinstance(data, dict) else ""


def check_names(spec: AgentSpec) -> None:
    """Raise `InvalidInput` when an outcome is named twice, or as an actuator: in a point they could not be told apart.

    Nor may any of them be called ``_id``, by which a point says which suggestion it is of, or ``_sem``.
    """
    named = (("outcome", [*spec.outcomes, *Goals.of(spec).needed]), ("actuators", spec.actuators))
    for field, names in named:
        for key, what in _TAKEN.items():
            if key in names:
                message = f"{key!r} is where a point says {what}; give it another name"
                raise InvalidInput(f"{field}: {message}", errors=[FieldError(field, message)])
    if twice := [name for name, times in Counter(spec.outcomes).items() if times > 1]:
        message = f"{twice[0]!r} is named twice"
        raise InvalidInput(f"outcome {message}", errors=[FieldError("outcome", message)])
    if shared := [name for name in spec.outcomes if name in spec.actuators]:
        message = f"{shared[0]!r} is an actuator of this agent, so it cannot be an outcome too; name another field"
        raise InvalidInput(f"outcome {message}", errors=[FieldError("outcome", message)])


def check_evaluated(outcome: Mapping[str, Any], actuators: Collection[str], needed: Iterable[str] = ()) -> None:
    """Raise `InvalidPoint` when an outcome that a function found has a name that is taken, or one is missing.

    See `check_names`.
    """
    values, _ = parted(outcome)
    if missing := [name for name in needed if name not in values]:
        raise InvalidPoint(
            f"evaluate returned no {', '.join(missing)}, of which objectives and outcome_constraints are; "
            f"it returned {', '.join(values)}"
        )
    if shared := sorted(values.keys() & {*actuators, ID_KEY}):
        whose = "that says which suggestion it is of" if shared[0] == ID_KEY else "of an actuator"
        raise InvalidPoint(f"the outcome {shared[0]!r} has the name {whose}; give it another name")


def _is_in(run: Run, field: str) -> bool:
    try:
        return run.external(field) or run.data(field).size > 0
    except (KeyError, ValueError):
        return False


def _values(run: Run, field: str) -> NDArray[Any]:
    if run.external(field):
        raise InvalidPoint(
            f"{field!r} of run {run.uid} is not in its documents but in a file; give the agent an evaluate function of "
            "(uid, suggestions) that reads it"
        )
    try:
        values = run.data(field)
    except KeyError as error:
        raise InvalidPoint(str(error.args[0])) from None
    except ValueError:
        raise InvalidPoint(f"{field!r} of run {run.uid} changes its shape between events, so it has no mean") from None
    if values.size == 0:
        raise InvalidPoint(f"{field!r} of run {run.uid} is empty, so it has no mean")
    return values


def _where(run: Run, field: str, *, numbers: bool) -> object:
    """Return the one value of a field in all events; the mean of several, where they are ``numbers``."""
    values = _values(run, field).ravel()
    first = plain(values[0])
    if first is not None and all(same(plain(value), first) for value in values[1:]):
        return first
    if numbers:
        return _mean(run, field)
    if first is None:
        raise InvalidPoint(f"{field!r} of run {run.uid} is no value of an actuator but {_kind(values)}")
    raise InvalidPoint(f"{field!r} of run {run.uid} changes between events, so there is no one value of it")


def _mean(run: Run, field: str) -> float:
    import numpy as np  # noqa: PLC0415 - the service starts without numpy

    values = _values(run, field)
    numbers = _numbers(values)
    if numbers is None:
        raise InvalidPoint(f"{field!r} of run {run.uid} is no number but {_kind(values)}")
    with np.errstate(all="ignore"):  # what is too large becomes infinity, and is refused
        mean = float(numbers.astype(float).mean())
    if not np.isfinite(mean):
        raise InvalidPoint(f"{field!r} of run {run.uid} is {mean}, not a finite number")
    return mean


def _numbers(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return an array of numbers, None when one of them is none: decimals and large whole numbers come as objects."""
    import numpy as np  # noqa: PLC0415 - as above

    if values.dtype.kind in "buif":
        return values
    if values.dtype.kind != "O":
        return None
    numbers = [math.nan if isinstance(value, float) and value != value else real(value) for value in values.ravel()]  # noqa: PLR0124 - NaN
    return None if None in numbers else np.array(numbers, dtype=float)


def _kind(values: NDArray[Any]) -> str:
    return "text (an image that is not in the documents?)" if values.dtype.kind in "US" else str(values.dtype)
