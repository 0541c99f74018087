"""A run as ``unpack_run`` of an agent of 0.x reads it, out of the documents that the service has in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from agent_service.documents.runs import Run
    from agent_service.protocols import Document


class RunView:
    """A run: ``start``, ``stop``, ``metadata``, its streams as items and attributes, and ``documents()``.

    Examples
    --------
    >>> from agent_service.documents.runs import Run
    >>> run = RunView(Run((("start", {"uid": "a", "sample": "Si"}),)))
    >>> run.start["sample"], run.metadata["start"]["uid"], list(run)
    ('Si', 'a', [])
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.start = run.start
        self.stop = run.stop
        self.metadata = {"start": self.start, "stop": self.stop}

    @property
    def v2(self) -> Self:
        """The run itself."""
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __contains__(self, stream: object) -> bool:
        return stream in self.keys()

    def __getitem__(self, stream: str) -> StreamView:
        if stream not in self:
            raise KeyError(stream)
        return StreamView(self._run, stream)

    def __getattr__(self, stream: str) -> StreamView:
        if stream.startswith("_") or stream not in self:
            msg = f"this run has no stream {stream!r}; it has: {', '.join(self) or 'none'}"
            raise AttributeError(msg)
        return self[stream]

    def keys(self) -> list[str]:
        """Return the names of its streams."""
        return list(dict.fromkeys(str(descriptor.get("name", "primary")) for descriptor in self._run.descriptors))

    def documents(self, *, fill: bool = False) -> Iterator[tuple[str, Document]]:
        """Yield its documents in order."""
        return iter(self._run.documents)


class StreamView:
    """A stream of a run: its fields as items, here and in ``data``, or all of them as ``read()``."""

    def __init__(self, run: Run, stream: str) -> None:
        self._run = run
        self._stream = stream

    @property
    def data(self) -> Self:
        """The stream itself."""
        return self

    def __getitem__(self, field: str) -> NDArray[Any]:
        if field == "data":
            return self  # pyright: ignore[reportReturnType] - as a catalogue's stream has its data below that name
        return self._run.data(field, self._stream)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """Return the names of its fields."""
        return self._run.fields(self._stream)

    def read(self) -> Any:
        """Return its fields, each of shape ``(events, *shape of the field)``, as an xarray Dataset along ``time``."""
        import xarray  # noqa: PLC0415 - Tiled's client brings it

        times = [event.get("time") for event in self._run.events(self._stream)]
        fields: dict[str, Any] = {}
        for name in self:
            values = self[name]
            fields[name] = (("time", *(f"{name}_{i}" for i in range(1, values.ndim))), values)
        return xarray.Dataset(fields, coords={"time": times})
