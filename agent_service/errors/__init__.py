"""The error tree: each class has a stable ``code`` and an HTTP status, the same in the server and in the clients.

::

    ServiceError                500 internal
     +- InvalidInput            422 invalid_input
     |   +- UnknownType             unknown_type        no such agent type, module or callable
     |   +- InvalidConfig           invalid_config      a type's configuration is wrong; names the field
     |   +- UnknownPlan             unknown_plan        no such plan in the startup namespace
     |   +- UnknownDevice           unknown_device      no such actuator or sensor in the startup namespace
     |   +- InvalidPoint            invalid_point       a foreign or missing actuator, NaN, not a number
     |   +- OutOfBounds             out_of_bounds       a guardrail's bounds are violated; names the rule
     +- TooLarge                413 too_large
     +- NotFound                404 not_found
     +- NotAcceptable           406 not_acceptable      there is no format that the client accepts
     +- Conflict                409 conflict
     |   +- AlreadyExists           already_exists
     |   +- IllegalTransition       illegal_transition  with the commands that are legal now
     |   +- QueueHeld               queue_held          somebody pressed abort; resume the queue first
     |   +- NotYet                  not_yet             the agent of a plan does not run, or a condition is not met
     |   +- CallCancelled           cancelled           somebody cancelled the call
     +- Unauthenticated         401 unauthenticated
     +- Forbidden               403 forbidden
     +- TooMany                 429 too_many            no more event streams may be open
     +- AgentFault              502 agent_fault         the agent's own code raised; with its traceback
     +- BackendUnavailable      503 backend_unavailable journal, sink or catalogue cannot be used now
     |   +- LeadLost                lead_lost           another service writes the journal by now
     +- DeadlineExceeded        504 deadline_exceeded
     +- UsageError              --- usage               the command line or a file is wrong: one line, exit 2
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from agent_service.errors import texts

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DETAIL: Final = 4000
"""Longest message of an error, in characters."""

MAX_ERRORS: Final = 50
"""Most fields of an input with errors in one answer."""

MAX_FIELD: Final = 300
"""Longest path of a field, in characters."""

_OURS: Final = frozenset({"agent_service", "notebook_widgets"})


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of an input, by its dotted path, for example ``config.bounds.mirror_x``.

    The message never holds the value: NaN is no JSON, and a value may be a secret.
    """

    field: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", texts.one_line(self.field, most=MAX_FIELD))
        object.__setattr__(self, "message", texts.one_line(self.message))


class ServiceError(Exception):
    """Base of every error that this package raises on purpose.

    Parameters
    ----------
    detail
        One sentence for a person: what is wrong, and what to do next. Cut at `MAX_DETAIL` characters.
    errors
        What is wrong with fields of an input; at most the first `MAX_ERRORS`.
    legal
        For a conflict, the commands that are legal instead.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The service failed"

    def __init__(self, detail: str, *, errors: Iterable[FieldError] = (), legal: Iterable[str] = ()) -> None:
        # many messages hold what other code raised: of any length, with anything in it
        self.detail = texts.cut(texts.printable(detail), most=MAX_DETAIL)
        super().__init__(self.detail)
        self.errors = tuple(itertools.islice(errors, MAX_ERRORS))
        self.legal = tuple(legal)

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in a cell: the frames of the user's own code, and what is wrong.

        Later frames are ours, and do not help the user.
        """
        import traceback  # noqa: PLC0415 - for cells that fail

        way: list[str] = []
        frames = [
            (frame.f_globals.get("__name__", ""), frame, line) for frame, line in traceback.walk_tb(self.__traceback__)
        ]
        for name, frame, line in frames:
            package = str(name).partition(".")[0]
            if package in _OURS:
                break
            if package not in ("IPython", "bluesky"):
                [entry] = traceback.StackSummary.extract(iter([(frame, line)]))
                where = "" if name == "__main__" else f"{entry.filename}, "
                way.append(f"{where}line {line}: {entry.line}")
        return [*way, f"{type(self).__name__}: {self}"]


class InvalidInput(ServiceError):
    """The request is readable but wrong."""

    code, status, title = "invalid_input", 422, "The input is not valid"


class UnknownType(InvalidInput):
    """No such agent type, module or callable."""

    code, title = "unknown_type", "Unknown agent type"


class InvalidConfig(InvalidInput):
    """The configuration does not fit the agent type."""

    code, title = "invalid_config", "The configuration is not valid"


class UnknownPlan(InvalidInput):
    """No such plan in the startup namespace."""

    code, title = "unknown_plan", "Unknown plan"


class UnknownDevice(InvalidInput):
    """No such device in the startup namespace."""

    code, title = "unknown_device", "Unknown device"


class InvalidPoint(InvalidInput):
    """A point has a foreign or missing actuator, or a value that is no finite number."""

    code, title = "invalid_point", "The point is not valid"


class OutOfBounds(InvalidInput):
    """A guardrail forbids the point."""

    code, title = "out_of_bounds", "A guardrail forbids this point"


class TooLarge(ServiceError):
    """The request body is larger than the service takes."""

    code, status, title = "too_large", 413, "The request is too large"


class NotFound(ServiceError):
    """There is no such resource."""

    code, status, title = "not_found", 404, "Not found"


class Conflict(ServiceError):
    """The request does not fit the present state."""

    code, status, title = "conflict", 409, "Not possible in the present state"


class AlreadyExists(Conflict):
    """A resource of this name exists."""

    code, title = "already_exists", "Already exists"


class NotAcceptable(ServiceError):
    """The service has no format that the client accepts."""

    code, status, title = "not_acceptable", 406, "Not in that format"


class IllegalTransition(Conflict):
    """The lifecycle has no such transition from this state; ``legal`` says which it has."""

    code, title = "illegal_transition", "Not possible in the present state"


class NotYet(Conflict):
    """A plan's turn came, but its agent does not run, or a condition is not met; it may begin later."""

    code, title = "not_yet", "Not now"


class QueueHeld(Conflict):
    """The queue is held because somebody aborted; nothing moves until it is resumed."""

    code, title = "queue_held", "The plan queue is held"


class CallCancelled(Conflict):
    """Somebody cancelled the call's job."""

    code, title = "cancelled", "The call was cancelled"


class Unauthenticated(ServiceError):
    """No key, or one the service does not know."""

    code, status, title = "unauthenticated", 401, "A key is needed"


class Forbidden(ServiceError):
    """The key's scopes do not include this."""

    code, status, title = "forbidden", 403, "This key may not do that"


class TooMany(ServiceError):
    """No more may be open."""

    code, status, title = "too_many", 429, "Too many at once"


class AgentFault(ServiceError):
    """The agent's own code raised, or its host was lost.

    ``traceback`` is the agent's traceback as text, or None; the middle of a long one is cut. ``died`` is whether the
    agent's host was lost or could not be made, and its code did not raise: a retry may succeed. ``place_lost`` is
    whether a machine was lost, for example one of a cluster, which is no fault of the agent.
    """

    code, status, title = "agent_fault", 502, "The agent failed"

    def __init__(  # noqa: PLR0913 - what there is to say of it, by name
        self,
        detail: str,
        *,
        traceback: str | None = None,
        died: bool = False,
        place_lost: bool = False,
        errors: Iterable[FieldError] = (),
        legal: Iterable[str] = (),
    ) -> None:
        super().__init__(detail, errors=errors, legal=legal)
        self.traceback = None if traceback is None else texts.printable(texts.cut_middle(traceback))
        self.died = died or place_lost
        self.place_lost = place_lost


class BackendUnavailable(ServiceError):
    """The journal, the sink or the catalogue cannot be used now."""

    code, status, title = "backend_unavailable", 503, "A part of the service is not available"


class LeadLost(BackendUnavailable):
    """Another service writes the journal by now; this one no longer can."""

    code, title = "lead_lost", "Another service leads"


class DeadlineExceeded(ServiceError):
    """A call did not end within its deadline."""

    code, status, title = "deadline_exceeded", 504, "The deadline passed"


class UsageError(ServiceError):
    """A command line, a configuration file or a state directory is wrong: one line and exit code 2."""

    code, status, title = "usage", 500, "Wrong usage"


def _descendants(cls: type[ServiceError]) -> list[type[ServiceError]]:
    return [cls, *(descendant for child in cls.__subclasses__() for descendant in _descendants(child))]


def by_code(code: str, status: int) -> type[ServiceError]:
    """Return the class for a problem's ``code``, or the most general one for its HTTP ``status``.

    So a client older than its server also raises a sensible class for a code that it does not know.
    """
    classes = _descendants(ServiceError)
    for cls in classes:
        if cls.code == code:
            return cls
    for cls in classes[1:]:
        if cls.status == status and cls is not UsageError:
            return cls
    return ServiceError
