"""Seams of documents: what their sources must do, the place where they put them, and who completes runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agent_service.models import SourceStatus

Document = dict[str, Any]
"""A Bluesky document; the event-model project defines them."""


class Intake(Protocol):
    """The place where sources put documents."""

    def put(self, name: str, document: Document, stored: Callable[[], None] | None = None) -> None:
        """Take a document, which nobody may change any more; from any thread. It never blocks.

        When the document is on disk, a thread of the intake calls ``stored``, which returns at once, so that a broker's
        offset can follow. It is not called for a document that is given up at the end of the service.
        """
        ...


class DocumentSource(Protocol):
    """A source of documents. It only puts them into the intake, in the order of their emission.

    In the thread that measures, it never blocks and never raises. If another machine that it listens to is away, it
    says so and tries again; it does not raise.
    """

    @property
    def status(self) -> SourceStatus:
        """How it is at present; answered from memory, from any thread."""
        ...

    def start(self, intake: Intake) -> None:
        """Begin to put documents into the intake."""
        ...

    def stop(self) -> None:
        """Put no more; harmless the second time, and before the start. May take a second, so not on the event loop."""
        ...


@runtime_checkable
class Completer(Protocol):
    """Gives a run again that did not arrive whole: a catalogue that the facility writes."""

    answered: int  # the last answered ticket of `look_now`

    @property
    def status(self) -> SourceStatus:
        """How it is at present; answered from memory, from any thread."""
        ...

    def look_now(self) -> int:
        """Look at once for what is wanted; return a ticket, answered when all that is there was handed over."""
        ...

    def look_for(self, runs: Collection[str], suggestions: Collection[str], *, at_once: bool = False) -> None:
        """Look for runs by uid and by suggestion, and put those found into the intake. Returns at once.

        It is called repeatedly with what is still missing; ``at_once`` if more may have been lost just now.
        """
        ...
