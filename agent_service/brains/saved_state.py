"""The state of a brain as bytes: pickled, with a mark of all code that it is made of, and loaded by the same code only.

The mark of a module is the version of its package and a hash of its source, for people edit their own code and leave
its version alone. A brain that decides for itself what is saved of it has ``__getstate__``, as for any pickle; one that
raises there is not saved, nor is one with a ``__reduce__`` of its own, which may make another that was told nothing.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import logging
import pickle
import sys
import threading
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service import references
from agent_service._version import __version__
from agent_service.errors import texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_BYTES: Final = 1 << 28
"""Largest state that is saved."""

NOTHING: Final[Mapping[str, object]] = MappingProxyType({})

_LOCKS: Final[tuple[Any, Any]] = (type(threading.Lock()), type(threading.RLock()))

_log = logging.getLogger(__name__)


class OutOfDate(ValueError):
    """A state was saved by other code than there is now."""


class WithState:
    """An object with a state that can be had as bytes: attributes of it, of these names, and what they hold.

    They depend on the module of ``type_name``, if there is one in it, beside those of their own classes. The attribute
    ``names_unsaved`` says in its own ``not_saved`` what is left out.
    """

    def __init__(self, *attributes: str, type_name: str, names_unsaved: str | None = None) -> None:
        self._attributes = attributes
        self._modules = [type_name.partition(":")[0]] if ":" in type_name else []
        self._is_restored = False
        self._names_unsaved = names_unsaved

    def _not_saved(self) -> Mapping[str, object]:
        """Return what is not saved with it, by name: what is restored has that of the object that it is restored in."""
        return NOTHING if self._names_unsaved is None else getattr(self, self._names_unsaved).not_saved

    def dump(self) -> bytes | None:
        """Return the state as bytes for `restore`; None, with a line in the log, where it does not pickle."""
        try:
            state = [getattr(self, name) for name in self._attributes]
            if reducing := [type(part).__name__ for part in state if _reduces(part)]:
                raise TypeError(f"{reducing[0]} has a __reduce__ of its own, which may leave out what it was told")  # noqa: TRY301 - said as the others
            return saved(state, modules=self._modules, apart=self._not_saved())
        except Exception as error:  # noqa: BLE001 - whatever somebody's own __getstate__ raises
            why = texts.describe(error)
            _log.info("its state cannot be saved, so after a restart it is told everything: %s", why)
            return None

    def restore(self, payload: bytes) -> None:
        """Be in the state that `dump` returned; all of it, or this raises and nothing has changed."""
        for name, value in zip(self._attributes, restored(payload, apart=self._not_saved()), strict=True):
            setattr(self, name, value)
        self._is_restored = True


def saved(state: object, *, modules: Iterable[str] = (), apart: Mapping[str, object] = NOTHING) -> bytes:
    """Return a state as bytes. It depends on the modules of its classes and functions, and on ``modules``.

    What is ``apart`` is not saved, but its name is; `restored` puts there what has that name then.
    Raises whatever pickling raises, and `ValueError` when it is too large.
    """
    file = io.BytesIO()
    pickler = _pickler_types()[bool(apart)](file)
    pickler.names = {id(part): name for name, part in apart.items()}
    pickler.dump(state)
    if file.tell() > MAX_BYTES:
        raise ValueError(f"it takes {file.tell() >> 20} MB, and at most {MAX_BYTES >> 20} MB are saved")
    names = sorted({*pickler.modules, *modules} - sys.stdlib_module_names - {"__main__", "builtins"})
    head = {**_surroundings(), "modules": {name: _mark(name) for name in names if name in sys.modules}}
    return json.dumps(head).encode() + b"\n" + file.getbuffer()


def restored(payload: bytes, *, apart: Mapping[str, object] = NOTHING) -> Any:
    """Return the state that `saved` made bytes of; unpickling runs code, so it must be of this service's own file.

    Raises `OutOfDate`, which says what differs, before anything is unpickled; and whatever unpickling raises.
    """
    head, _, pickled = payload.partition(b"\n")
    saved_with: dict[str, Any] = json.loads(head)
    for name, version in _surroundings().items():
        if saved_with[name] != version:
            raise OutOfDate(f"it was saved by {name} {saved_with[name]}, and this is {version}")
    for name, mark in saved_with["modules"].items():
        references.module(name)
        if mark != _mark(name):
            raise OutOfDate(f"{name} has changed since it was saved")
    unpickler = pickle.Unpickler(io.BytesIO(pickled))  # noqa: S301 - of this service's own file, which nobody else can write
    unpickler.persistent_load = apart.__getitem__  # pyright: ignore[reportAttributeAccessIssue] - as the documentation has it
    return unpickler.load()


def _reduces(thing: object) -> bool:
    """Whether an object says itself what makes another like it; that may be one that was told nothing."""
    kinds = type(thing).__mro__[:-1]
    return any(
        isinstance(vars(kind).get(name), FunctionType) for kind in kinds for name in ("__reduce__", "__reduce_ex__")
    )


def _is_free(lock: Any) -> bool:
    """Return whether nobody holds a lock: another free one is as good."""
    if isinstance(lock, _LOCKS[1]) and lock._is_owned():  # it could be acquired once more  # noqa: SLF001
        return False
    if free := lock.acquire(blocking=False):
        lock.release()
    return free


def _surroundings() -> dict[str, str]:
    return {"Python": sys.version, "agent-service": __version__}


@functools.cache
def _mark(name: str) -> str:
    """Return what a module is made of, as of the first time that it is asked for: an edit later is not what runs."""
    version = getattr(sys.modules.get(name.partition(".")[0]), "__version__", "")
    file = getattr(sys.modules[name], "__file__", None) or ""
    source = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file.endswith(".py") else ""
    return f"{version} {source}"


@functools.cache
def _pickler_types() -> tuple[Any, Any]:
    """Return picklers that note modules of the classes and functions that they meet; the second leaves things out."""
    import cloudpickle  # noqa: PLC0415 - where a brain is saved only

    class Pickler(cloudpickle.Pickler):
        def __init__(self, file: io.BytesIO) -> None:
            super().__init__(file, pickle.HIGHEST_PROTOCOL)  # pyright: ignore[reportUnknownMemberType]
            self.modules: set[str] = set()
            self._seen: set[type] = set()

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, _LOCKS) and _is_free(obj):
                return type(obj) if isinstance(obj, _LOCKS[1]) else threading.Lock, ()
            kind: type = obj if isinstance(obj, type) else type(obj)
            if kind not in self._seen:
                self._seen.add(kind)
                self.modules.update(base.__module__ for base in kind.__mro__)
            if callable(obj) and isinstance(module := getattr(obj, "__module__", None), str):
                self.modules.add(module)
            return cast("Any", super()).reducer_override(obj)

    class Leaving(Pickler):
        names: Mapping[int, str]

        def persistent_id(self, obj: Any) -> str | None:
            return self.names.get(id(obj))

    return Pickler, Leaving
