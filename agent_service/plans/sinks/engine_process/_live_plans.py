"""Plans that are objects of the service's process, such as a notebook's functions, on their way to the child.

They travel by cloudpickle. A device that such a plan names is the child's own device of that name. One that is chosen
for each suggestion (`named_plan`) stays in the service; its choice travels, with the suggestion.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUntypedBaseClass=false
from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, Final

from agent_service import references
from agent_service.errors import ServiceError, UnknownPlan, UnknownType, texts
from agent_service.plans.named_plan import Choice, is_named, named

if TYPE_CHECKING:
    from agent_service.plans.namespace import Namespace
    from agent_service.protocols import PlanOrder

_DEVICES: Final = frozenset({"ophyd", "ophyd_async"})


class SentPlans:
    """Pickles them, in the service; from any thread."""

    def __init__(self) -> None:
        self._pickled: dict[str, tuple[object, bytes]] = {}

    def pack_for(self, order: PlanOrder) -> bytes | None:
        """Return what is sent with an order: what was chosen for its point, else as `pack`. Raises as that.

        Raises `UnknownPlan`, too, when nothing was chosen for it.
        """
        choice = named(order)
        return self.pack(order.plan) if choice is None else _pickled(choice.name, choice)

    def pack(self, reference: str) -> bytes | None:
        """Return a plan as it is sent, None for one that the child finds by its name, or that is chosen later.

        Raises `UnknownPlan` when it is not there, or cannot travel.
        """
        if not references.is_live(reference) or is_named(reference):
            return None
        try:
            plan = references.find(reference)
        except UnknownType as error:
            raise UnknownPlan(f"plan: {error.detail}") from None
        known, payload = self._pickled.get(reference, (None, b""))
        if known is not plan:
            payload = _pickled(reference, plan)
            self._pickled[reference] = plan, payload
        return payload


class TakenPlans:
    """Takes them, in the child: `Namespace.plan` finds them by their reference then; from any thread."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._taken: dict[str, bytes] = {}

    def take(self, reference: str, payload: bytes | None) -> Choice | None:
        """Take a plan, or return what was chosen in its place. Raises `ServiceError` when it cannot be loaded here."""
        if payload is None or self._taken.get(reference) == payload:
            return None
        try:
            plan = _Unpickler(payload, self._namespace).load()
        except ServiceError:
            raise
        except Exception as error:
            raise UnknownPlan(
                f"plan {reference!r} cannot be loaded in the RunEngine's process: {texts.describe(error)}; {_ADVICE}"
            ) from error
        if isinstance(plan, Choice):
            return plan
        references.forget(reference)
        references.add(reference.removeprefix(references.PREFIX), plan)
        self._taken[reference] = payload
        return None


_ADVICE: Final = "put it into the startup or a module, or take [run_engine] process = false"


def _pickled(reference: str, plan: object) -> bytes:
    import cloudpickle  # noqa: PLC0415 - only those who have such plans need it

    class Pickler(cloudpickle.Pickler):
        def persistent_id(self, obj: Any) -> str | None:
            return obj.name if _is_device(obj) else None

    file = io.BytesIO()
    try:
        Pickler(file).dump(plan)
    except Exception as error:
        raise UnknownPlan(
            f"plan {reference!r} is an object of this process and cannot be sent to the RunEngine's: "
            f"{texts.describe(error)}; {_ADVICE}"
        ) from error
    return file.getvalue()


def _is_device(thing: object) -> bool:
    if isinstance(thing, type) or not isinstance(getattr(thing, "name", None), str):
        return False
    return any(base.__module__.partition(".")[0] in _DEVICES for base in type(thing).__mro__)


class _Unpickler(pickle.Unpickler):
    def __init__(self, payload: bytes, namespace: Namespace) -> None:
        super().__init__(io.BytesIO(payload))
        self._namespace = namespace

    def persistent_load(self, pid: Any) -> Any:
        """Return the device of a name."""
        return self._namespace.device(pid)
