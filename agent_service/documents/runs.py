"""One run's documents in memory.

The documents are Bluesky's, as the event-model project defines them: a start, descriptors, events (single or in pages),
and a stop. Others (resource, datum, stream_resource, ...) are kept with their run and not looked into.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.documents.counts import EventCounts
from agent_service.documents.document_copies import deep_copy, unpack_bulk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from agent_service.protocols import Document


_FREED_AT_ONCE: Final = 1000
"""Documents that are freed at a time: half a millisecond; those of a run of 100,000 took 60 ms of the event loop."""


@dataclass(frozen=True, slots=True)
class Run:
    """The documents of one run. Safe to read from any thread.

    Parameters
    ----------
    documents
        ``(name, document)`` in the order of their emission, the start first.
    """

    documents: tuple[tuple[str, Document], ...]

    def __del__(self) -> None:
        """Free the documents of a long run elsewhere: whoever lets go of it last is the event loop, perhaps."""
        if len(self.documents) > _FREED_AT_ONCE:
            documents = [*self.documents]
            object.__setattr__(self, "documents", ())  # so that nobody but the list holds them
            free_elsewhere(documents)

    @classmethod
    def from_documents(cls, documents: Iterable[tuple[str, Document]]) -> Run:
        """Make a run of what a catalogue's ``run.documents()`` yields.

        Raises
        ------
        ValueError
            When there is no start document among them.
        """
        run = cls(tuple(pair for name, document in documents for pair in unpack_bulk(name, document)))
        if not any(name == "start" for name, _ in run.documents):
            raise ValueError("there is no start document among these documents, so they are no run")
        return run

    def copy(self) -> Run:
        """Return a copy that shares nothing that can change with this run, to be given away."""
        return Run(tuple((name, deep_copy(document)) for name, document in self.documents))

    @property
    def start(self) -> Document:
        """The start document."""
        return next(document for name, document in self.documents if name == "start")

    @property
    def stop(self) -> Document | None:
        """The stop document, or None while the run goes on (a catalogue then shows an empty one)."""
        latest_first = reversed(self.documents)
        return next((document for name, document in latest_first if name == "stop" and document), None)

    @property
    def uid(self) -> str:
        """The run's uid."""
        return str(self.start["uid"])

    @property
    def complete(self) -> bool:
        """Whether the run has its stop document."""
        return self.stop is not None

    def missing(self) -> str:
        """Return in words what is missing of a complete run, by its stop document's numbers; empty for nothing."""
        counts = EventCounts()
        for name, document in self.documents:
            counts.add(name, document)
        return counts.missing(self.stop or {})

    @property
    def descriptors(self) -> list[Document]:
        """The descriptors of all streams, in order."""
        return [document for name, document in self.documents if name == "descriptor"]

    def fields(self, stream: str = "primary") -> list[str]:
        """Return the names of the fields that a stream's events have, in the order of its descriptors."""
        fields: dict[str, None] = {}
        for descriptor in self._descriptors_of(stream):
            fields.update(dict.fromkeys(part_of(descriptor, "data_keys")))
        return list(fields)

    def events(self, stream: str = "primary") -> list[Document]:
        """Return a stream's events, single ones and those of pages, in order.

        After a pause Bluesky repeats what came after the last checkpoint: the events measured again bear the numbers
        of the first ones and replace them, also when a device was configured meanwhile and the stream has another
        descriptor since.
        """
        wanted = {str(descriptor.get("uid")) for descriptor in self._descriptors_of(stream)}
        by_number: dict[object, Document] = {}
        for name, document in self.documents:
            if name in {"event", "event_page"} and str(document.get("descriptor")) in wanted:
                for event in [document] if name == "event" else events_of_page(document):
                    number = event.get("seq_num")
                    key = len(by_number) if number is None else str(number)
                    if not _is_older(event, by_number.get(key)):  # a broker may give them in another order
                        by_number[key] = event
        return list(by_number.values())

    def data(self, field: str, stream: str = "primary") -> NDArray[np.generic]:
        """Return a field's values as an array.

        Parameters
        ----------
        field
            A data key, for example ``flux``; or the name of a device that has one value to show, whatever its key is.
        stream
            Name of the stream.

        Returns
        -------
        np.ndarray
            Shape ``(events, *shape of the field)``, in the field's own unit; events without the field are left out.
            Where arrays of one element and numbers are mixed, they are numbers.

        Raises
        ------
        KeyError
            When no event of the stream has the field; says which fields there are.
        """
        import numpy as np  # noqa: PLC0415 - the service starts without numpy

        keys = {field} if field in self.fields(stream) else {field, *self._shown_by(field, stream)}
        readings = [part_of(event, "data") for event in self.events(stream)]
        values = [data[key] for data in readings for key in sorted(keys) if key in data]
        if not values:
            there = ", ".join(self.fields(stream)) or "nothing"
            raise KeyError(f"no event of stream {stream!r} of run {self.uid} has a field {field!r}; it has: {there}")
        arrays = [np.asarray(value) for value in values]
        if arrays[0].ndim and len({(array.shape, array.dtype) for array in arrays}) == 1:
            stacked = np.empty((len(arrays), *arrays[0].shape), arrays[0].dtype)
            for place, array in enumerate(arrays):  # in steps that let other threads in between
                stacked[place] = array
            return stacked
        if len({array.shape for array in arrays}) > 1 and all(array.size == 1 for array in arrays):
            values = [array.reshape(())[()] for array in arrays]  # one number each, in arrays or not
        return np.asarray(values)

    def external(self, field: str) -> bool:
        """Return whether a field's values are in files, and not (all) in the run's documents."""
        descriptors = self._descriptors_of("primary")
        declared = any("external" in part_of(part_of(each, "data_keys"), field) for each in descriptors)
        filled = [part_of(event, "filled").get(field, not declared) for event in self.events()]
        return not all(filled) or (declared and not filled)

    def _shown_by(self, device: str, stream: str) -> list[str]:
        """Return the key that a device shows: the one it hints at, or its only one; nothing where it has several."""
        for descriptor in self._descriptors_of(stream):
            hints, keys = part_of(descriptor, "hints"), part_of(descriptor, "object_keys")
            for named in (part_of(hints, device).get("fields"), keys.get(device)):
                shown = cast("list[Any]", named) if isinstance(named, list) else []
                if len(shown) == 1 and isinstance(shown[0], str):
                    return [shown[0]]
        return []

    def _descriptors_of(self, stream: str) -> list[Document]:
        return [descriptor for descriptor in self.descriptors if descriptor.get("name", "primary") == stream]


def free_elsewhere(documents: list[tuple[str, Document]]) -> None:
    """Free documents in a thread of their own when they are many, in steps that let other threads in between."""
    if len(documents) > _FREED_AT_ONCE:
        with contextlib.suppress(RuntimeError):  # the interpreter ends
            threading.Thread(target=_free, args=(documents,), name="free-documents", daemon=True).start()


def _free(documents: list[tuple[str, Document]]) -> None:
    while documents:
        del documents[-_FREED_AT_ONCE:]


def _is_older(event: Document, other: Document | None) -> bool:
    """Whether an event was measured before another of its number; False where their times do not say."""
    time, other_time = event.get("time"), (other or {}).get("time")
    return isinstance(time, int | float) and isinstance(other_time, int | float) and time < other_time


def part_of(document: Document, key: str) -> dict[str, Any]:
    """Return a part of a document; empty where an odd document has something else there."""
    part = document.get(key)
    return cast("dict[str, Any]", part) if isinstance(part, dict) else {}


def events_of_page(page: Document) -> Iterator[Document]:
    """Yield the events of a page; of an odd one what can be read."""
    columns = {key: part_of(page, key) for key in ("data", "timestamps", "filled")}
    singles = {key: page[key] for key in ("uid", "time", "seq_num") if isinstance(page.get(key), Collection)}
    for index in range(len(singles.get("seq_num", ()))):
        event: Document = {key: column[index] for key, column in singles.items() if index < len(column)}
        event["descriptor"] = page.get("descriptor")
        for key, fields in columns.items():
            event[key] = {field: column[index] for field, column in fields.items() if index < len(column)}
        yield event
