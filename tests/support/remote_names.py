"""The names of a startup in another process: a startup serves them, a test reads them and calls what they stand for."""

import gc
import os
import threading
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

ADDRESS = "REMOTE_NAMES"
"""Variable of the environment that says where a startup is to serve its names."""


def serve(names: dict[str, Any]) -> None:
    """Serve the names of a startup, where the environment asks for that."""
    if ADDRESS in os.environ:
        Path(os.environ[ADDRESS]).unlink(missing_ok=True)
        listener = Listener(os.environ[ADDRESS], "AF_UNIX")
        threading.Thread(target=_serve, args=(listener, names), name="remote-names", daemon=True).start()


def _serve(listener: Listener, names: dict[str, Any]) -> None:
    while True:
        with listener.accept() as connection:
            while True:
                try:
                    text, args = connection.recv()
                except EOFError:
                    break
                try:
                    if text.startswith("del "):
                        found: Any = names.pop(text.removeprefix("del ")) and None
                    else:
                        found = eval(text, {"gc": gc, **names})
                    if callable(found):
                        found = Callable() if args is None else found(*args)
                    connection.send(found)
                except Exception as error:  # noqa: BLE001 - raised where it was asked
                    connection.send(error)


class Callable:
    """What is sent in the place of something that can be called."""


class RemoteNames:
    """The names, as a test sees them."""

    def __init__(self, address: str) -> None:
        self._connection = Client(address, "AF_UNIX")

    def ask(self, text: str, args: tuple[Any, ...] | None = None) -> Any:
        self._connection.send((text, args))
        found = self._connection.recv()
        if isinstance(found, Exception):
            raise found
        return found

    def __getitem__(self, name: str) -> Any:
        return RemoteName(self, name)

    def __delitem__(self, name: str) -> None:
        self.ask(f"del {name}")

    def close(self) -> None:
        self._connection.close()


class RemoteName:
    """What a name stands for: its attributes, and its methods to be called."""

    def __init__(self, names: RemoteNames, text: str) -> None:
        self._names = names
        self._text = text

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        text = f"{self._text}.{name}"
        found = self._names.ask(text)
        return (lambda *args: self._names.ask(text, args)) if isinstance(found, Callable) else found

    def __eq__(self, other: object) -> bool:
        return self._names.ask(self._text) == other

    def __repr__(self) -> str:
        return repr(self._names.ask(self._text))

    __hash__ = None  # type: ignore[assignment]
