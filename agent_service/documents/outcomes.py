"""From a run to outcomes: by field, or by the user's function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agent_service.errors import FieldError, InvalidInput, InvalidPoint
from agent_service.models import ID_KEY
from agent_service.models.real_numbers import real

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from agent_service.documents.runs import Run
    from agent_service.models import AgentSpec


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


def actuators_of(run: Run, names: Iterable[str]) -> dict[str, float]:
    """Return where a run measured: the mean readback of each actuator in ``primary``, in the actuator's own unit.

    For agents that learn from runs they did not suggest (``listen = "all"``).

    Raises
    ------
    InvalidPoint
        When the run did not read one of the actuators, or not as a finite number.
    """
    return {name: _mean(run, name) for name in names}


def check_names(spec: AgentSpec) -> None:
    """Raise `InvalidInput` when an outcome has the name of an actuator: in a point they could not be told apart.

    Nor may any of them be called ``_id``, by which a point says which suggestion it is of.
    """
    for field, names in (("outcome", spec.outcomes), ("actuators", spec.actuators)):
        if ID_KEY in names:
            said = f"{ID_KEY!r} is where a point says which suggestion it is of; give it another name"
            raise InvalidInput(f"{field}: {said}", errors=[FieldError(field, said)])
    if shared := [name for name in spec.outcomes if name in spec.actuators]:
        said = f"{shared[0]!r} is an actuator of this agent, so it cannot be an outcome too; name another field"
        raise InvalidInput(f"outcome {said}", errors=[FieldError("outcome", said)])


def check_evaluated(outcome: Mapping[str, float], actuators: Collection[str]) -> None:
    """Raise `InvalidPoint` when an outcome that a function found has a name that is taken. See `check_names`."""
    if shared := sorted(outcome.keys() & {*actuators, ID_KEY}):
        whose = "that says which suggestion it is of" if shared[0] == ID_KEY else "of an actuator"
        raise InvalidPoint(f"the outcome {shared[0]!r} has the name {whose}; give it another name")


def _mean(run: Run, field: str) -> float:
    import numpy as np  # noqa: PLC0415 - the service starts without numpy

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
    found = [math.nan if isinstance(one, float) and one != one else real(one) for one in values.ravel()]  # noqa: PLR0124 - NaN
    return None if None in found else np.array(found, dtype=float)


def _kind(values: NDArray[Any]) -> str:
    return "text (an image that is not in the documents?)" if values.dtype.kind in "US" else str(values.dtype)
