"""Runs of a catalogue under the names that were measured: databroker's clients, with what the catalogue changed undone.

`agent_service.archive.catalog` hands them out. A client without this package sees the columns, and finds the names in
the metadata: see docs/reading.md.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false, reportPrivateUsage=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false
# a boundary: bluesky-tiled-plugins has no types

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from bluesky_tiled_plugins.clients.bluesky_event_stream import DATAVALUES, BlueskyEventStream, BlueskyEventStreamV3
from bluesky_tiled_plugins.clients.bluesky_run import BlueskyRun, BlueskyRunV3
from bluesky_tiled_plugins.exporters import build_descriptor_docs
from tiled.client.container import DEFAULT_STRUCTURE_CLIENT_DISPATCH, Container
from tiled.utils import DictView, OneShotCachedMap

from agent_service.archive.columns import TRUE_NAME, names_of
from agent_service.archive.metadata import exact
from agent_service.archive.restored_documents import STORED_AS, descriptor_restored, restored, value_restored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SEQ: Final = "journal_seq"
"""Column of the agents' streams, whose rows may have been written in another order than they belong."""


class MeasuredStream(BlueskyEventStreamV3):
    """A stream whose keys are what the devices called them."""

    @property
    def metadata(self) -> Any:
        """The stream's descriptor, as it was measured."""
        return DictView(descriptor_restored(dict(super().metadata)))

    @functools.cached_property
    def descriptors(self) -> list[dict[str, Any]]:
        """The stream's descriptors, as they were measured."""
        run = self.item["attributes"]["ancestors"][-1]
        descriptors = build_descriptor_docs(dict(super().metadata), self.item["id"], run_start_uid=run)
        return [descriptor_restored(descriptor) for descriptor in descriptors]

    @property
    def _stored(self) -> dict[str, Any]:
        """The data keys by column."""
        return exact(super().metadata).get("data_keys", {})

    @property
    def _names(self) -> dict[str, str]:
        """Name by column, of the columns that have another; what is there already keeps its place."""
        ours = ("time", "seq_num")
        names = {column: name for column, name in names_of(self._stored).items() if name != column and name not in ours}
        return names | {f"ts_{column}": f"ts_{name}" for column, name in names.items()}

    @property
    def _flat_keys_mapping(self) -> dict[str, str]:
        names = self._names
        return {names.get(column, column): path for column, path in super()._flat_keys_mapping.items()}

    @property
    def _var_keys(self) -> set[str]:
        names, columns = self._names, super()._flat_keys_mapping
        return {names.get(column, column) for column in columns if not column.startswith("ts_") and column != "seq_num"}

    @property
    def _ts_keys(self) -> set[str]:
        names, columns = self._names, super()._flat_keys_mapping
        return {names.get(column, column) for column in columns if column.startswith("ts_")}

    def read(self, variables: Iterable[Any] = (DATAVALUES,), dim0: str | None = None) -> Any:
        """Return the data as an xarray Dataset: a row for each event, in order, units in the attributes."""
        names = self._names
        columns = {name: column for column, name in names.items()}
        asked = [columns.get(variable, variable) if isinstance(variable, str) else variable for variable in variables]
        ordered = _SEQ in self._stored
        by_column = BlueskyEventStreamV3(self.context, item=self.item, structure_clients=self.structure_clients)
        dataset = by_column.read([*asked, "seq_num"] if ordered else asked, dim0=dim0)
        if ordered and "seq_num" in dataset.variables:
            dataset = dataset.isel(time=np.argsort(dataset["seq_num"].values, kind="stable"))
            dataset = dataset if "seq_num" in asked else dataset.drop_vars("seq_num")
        if not dataset.variables:
            warnings.warn(
                f"the stream {self.item['id']!r} has no data in the catalogue; if it was measured just now, open it "
                "again in a moment",
                stacklevel=2,
            )
        return self._as_measured(dataset, names)

    def _as_measured(self, dataset: Any, names: dict[str, str]) -> Any:
        for column, data_key in self._stored.items():
            if column not in dataset.variables:
                continue
            if data_key.get(STORED_AS) == "json":
                values = np.empty(len(dataset[column]), dtype=object)
                values[:] = [value_restored(str(text), data_key) for text in dataset[column].values]
                dataset[column] = (dataset[column].dims, values)
            if data_key.get("units"):
                dataset[column].attrs["units"] = data_key["units"]
        there = {column: name for column, name in names.items() if column in dataset.variables}
        return dataset.rename_vars({column: name for column, name in there.items() if name not in dataset.dims})


class MeasuredRun(BlueskyRunV3):
    """A run whose documents and streams are as they were measured."""

    @property
    def metadata(self) -> Any:
        """The run's start and stop document, and what the writer remarked."""
        documents = dict(super().metadata)
        return DictView(
            {
                key: exact(document) if key in ("start", "stop") and document else document
                for key, document in documents.items()
            }
        )

    def documents(self, fill: bool = False) -> Iterator[tuple[str, Any]]:  # noqa: FBT001, FBT002 - databroker's
        """Yield the run's documents."""
        return restored(super().documents(fill=fill))

    @functools.cached_property
    def _nodes(self) -> dict[str, str]:
        """Node by name, of the streams that have other names."""
        streams = {key: exact(stream.item["attributes"]["metadata"]) for key, stream in self.base.items()}
        return {str(stream[TRUE_NAME]): key for key, stream in streams.items() if TRUE_NAME in stream}

    @property
    def _stream_names(self) -> list[str]:
        names = {node: name for name, node in self._nodes.items()}
        return sorted(names.get(node, node) for node in self.base)

    def __getitem__(self, key: Any) -> Any:
        try:
            return super().__getitem__(self._nodes.get(key, key) if isinstance(key, str) else key)
        except KeyError as error:
            if not isinstance(key, str):
                raise
            streams = ", ".join(self._stream_names) or "none: it ended before it measured anything"
            raise KeyError(f"this run has no stream {key!r}; it has {streams}") from error


def _run(context: Any, *, item: Any, **options: Any) -> Any:
    client = MeasuredRun if BlueskyRun._is_sql(item) else BlueskyRun  # noqa: SLF001 - as it chooses itself
    return client(context, item=item, **options)


def _stream(context: Any, *, item: Any, **options: Any) -> Any:
    client = MeasuredStream if BlueskyEventStream._is_sql(item) else BlueskyEventStream  # noqa: SLF001 - as above
    return client(context, item=item, **options)


def structure_clients() -> Any:
    """Return Tiled's table of clients, with those above in it."""
    Container.discover_clients_from_entrypoints()
    clients = DEFAULT_STRUCTURE_CLIENT_DISPATCH["numpy"]
    table = OneShotCachedMap({name: functools.partial(clients.__getitem__, name) for name in clients})
    table.set("BlueskyRun", lambda: _run)
    table.set("BlueskyEventStream", lambda: _stream)
    return table
