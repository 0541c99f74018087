"""When a condition was not met: intervals of time, and which of them a run overlaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT: Final = 1000
"""How many losses of a condition are remembered."""


@dataclass(slots=True)
class Loss:
    """One loss, in seconds since 1970; ``end`` is None while it lasts."""

    begin: float
    end: float | None
    reason: str


@dataclass(slots=True)
class Losses:
    """The losses of one condition, in order; only the last may last still.

    ``off_by`` is the key of who switched the condition off, None while it counts.
    """

    intervals: list[Loss] = field(default_factory=list[Loss])
    off_by: str | None = None

    @property
    def current(self) -> Loss | None:
        """The loss that lasts still."""
        return self.intervals[-1] if self.intervals and self.intervals[-1].end is None else None

    def begin(self, at: float, reason: str) -> None:
        """Note that the condition is not met since ``at``; what overlaps the loss before is one with it."""
        last = self.intervals[-1] if self.intervals else None
        if last is not None and last.end is None:
            last.begin = min(last.begin, at)
        elif last is not None and last.end is not None and at <= last.end:
            last.begin, last.end, last.reason = min(last.begin, at), None, reason
        else:
            self.intervals.append(Loss(at, None, reason))
            del self.intervals[:-KEPT]

    def end(self, at: float) -> None:
        """Note that the condition is met since ``at``; nothing when it was."""
        if (current := self.current) is not None:
            current.end = max(at, current.begin)

    def overlapping(self, start: float, stop: float) -> Loss | None:
        """Return the first loss that shares a moment with the time from ``start`` to ``stop``."""
        return next(
            (loss for loss in self.intervals if loss.begin <= stop and (loss.end is None or loss.end >= start)), None
        )

    def last_longer_than(self, seconds: float) -> Loss | None:
        """Return the last loss that is over and took longer."""
        ended = (loss for loss in reversed(self.intervals) if loss.end is not None and loss.end - loss.begin > seconds)
        return next(ended, None)

    def apply(self, data: Mapping[str, Any]) -> None:
        """Take a fact in: ``lost``, ``met``, ``off`` or ``on``."""
        at = float(data["at"])
        match data["state"]:
            case "lost":
                self.begin(at, str(data.get("reason") or ""))
            case "met":
                self.end(at)
            case "off":
                self.end(at)
                self.off_by = str(data.get("who") or "")
            case _:
                self.off_by = None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, for a snapshot."""
        return {"losses": [[loss.begin, loss.end, loss.reason] for loss in self.intervals], "off_by": self.off_by}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `as_json` made JSON of."""
        rows = cast("list[tuple[float, float | None, str]]", data["losses"])
        return cls([Loss(*row) for row in rows], data["off_by"])
