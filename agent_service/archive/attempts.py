"""Whether the catalogue refuses something, or is away: what is refused is put aside, else we wait."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING, Any, Final

import httpx

from agent_service.archive.catalog import AGENTS
from agent_service.archive.runs import write_run
from agent_service.archive.tiled_nodes import child, delete, is_refusal
from agent_service.errors import ServiceError
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent_service.protocols import Document

TRIES: Final = 3
"""Times that something is sent to a catalogue that takes other things, before it is put aside."""

CRASHES: Final = 5
"""Times that the archive may end while it writes the same run, before that is put aside."""

_PROBE: Final = "probe"
_UID: Final = "00000000-0000-4000-8000-000000000000"


class CatalogUnreachable(Exception):
    """The catalogue cannot be written now; nothing is known against what was sent."""


class TryAgain(Exception):
    """The catalogue did not take it, and takes other things; it is to be sent again."""


class Attempts:
    """How often each thing was sent; the file ``path`` keeps what is being written, should the process die of it."""

    def __init__(self, path: Path, *, probe: Callable[[], None]) -> None:
        self._path = path
        self._probe = probe
        self._failed: dict[str, int] = {}
        try:
            kept: dict[str, Any] = json.loads(path.read_bytes())
            self._died_of = str(kept["name"])
            self._deaths = int(kept["times"])
        except (OSError, ValueError, KeyError, TypeError):
            self._died_of, self._deaths = "", 0

    def begin(self, name: str) -> None:
        """Remember what is sent now; `ValueError` when the archive ended too often while it wrote that."""
        times = self._deaths + 1 if name == self._died_of else 1
        if times > CRASHES:
            msg = f"the archive ended {CRASHES} times while it wrote it; archive.log may say why"
            raise ValueError(msg)
        private_files.write(self._path, json.dumps({"name": name, "times": times}))

    def done(self, name: str) -> None:
        """Forget what is written, or put aside."""
        self._failed.pop(name, None)
        if name == self._died_of:
            self._died_of, self._deaths = "", 0
        with contextlib.suppress(OSError):
            private_files.write(self._path, "{}")

    def judge(self, name: str, error: Exception, *, tries: int = TRIES) -> None:
        """Return if something is refused for good.

        Raises `CatalogUnreachable` when nothing can be written now, `TryAgain` when this was not tried often enough.
        """
        try:
            try:
                self._probe()
            except httpx.TransportError:  # what went before may have closed the connection that it went by
                self._probe()
        except Exception as worse:  # noqa: BLE001 - a proxy's page of HTML in the place of an answer may raise anything
            raise CatalogUnreachable(reason_of(worse)) from error
        self._failed[name] = self._failed.get(name, 0) + 1
        if isinstance(error, httpx.HTTPError) and not is_refusal(error) and self._failed[name] < tries:
            raise TryAgain(reason_of(error)) from error


def probe(agents: Any, files: Path | None) -> None:
    """Write a small run into the container of the agents' runs, and delete it; raises what fails."""
    clear_probe(agents, files)
    container = agents.create_container(key=_PROBE, metadata={})
    write_run(container, _UID, _documents)
    clear_probe(agents, files)


def clear_probe(agents: Any, files: Path | None) -> None:
    """Delete what a probe left that did not end, in the files of a catalogue on this machine too: see `write_run`."""
    if child(agents, _PROBE) is not None:
        delete(agents, _PROBE)
    if files is not None:
        shutil.rmtree(files / AGENTS / _PROBE, ignore_errors=True)


def reason_of(error: Exception) -> str:
    """Return an error in one line."""
    lines = str(error).strip().splitlines()
    if isinstance(error, ServiceError | httpx.HTTPError) and lines:
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _documents() -> list[tuple[str, Document]]:
    data = {"number": 1.0, "text": "x", "array": [1.0, 2.0]}
    types: dict[str, tuple[str, list[int]]] = {
        "number": ("number", []),
        "text": ("string", []),
        "array": ("array", [2]),
    }
    keys = {name: {"dtype": dtype, "shape": shape, "source": "probe"} for name, (dtype, shape) in types.items()}
    event = {
        "descriptor": "d",
        "seq_num": 1,
        "uid": "e",
        "time": 0.0,
        "data": data,
        "timestamps": dict.fromkeys(data, 0.0),
    }
    return [
        ("start", {"uid": _UID, "time": 0.0}),
        ("descriptor", {"uid": "d", "run_start": _UID, "name": "primary", "time": 0.0, "data_keys": keys}),
        ("event", event),
        ("stop", {"uid": "s", "run_start": _UID, "time": 0.0, "exit_status": "success"}),
    ]
