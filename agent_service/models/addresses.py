"""Addresses and keys of peers in service.toml: what nobody could be reached under is refused, saying what to write."""

from __future__ import annotations

import ipaddress
import re
from functools import partial
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field

_MOST: Final = 65535
_BLANK: Final = re.compile(r"\s")
_Z85: Final = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")


def split_address(text: str, *, example: str) -> SplitResult:
    """Return the parts of ``scheme://machine:port``, the machine being there and the port, if any, being one.

    Raises
    ------
    ValueError
        It is no such address; says what is wrong, and names the example.

    Examples
    --------
    >>> split_address("tcp://[::1]:5568", example="tcp://127.0.0.1:5568").port
    5568
    """
    if _BLANK.search(text):
        raise ValueError(f"must hold no space: write {example}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        if "IPv6" in str(error):
            raise ValueError(f"must have an address of IPv6 in brackets, as {example} with [::1]") from None
        raise ValueError(f"must have a port from 1 to {_MOST}: write {example}") from None
    if not parts.hostname:
        raise ValueError(f"must name a machine: write {example}")
    if port == 0:
        raise ValueError(f"must have a port from 1 to {_MOST}: write {example}")
    return parts


def _web(text: str) -> str:
    parts = split_address(text, example="http://127.0.0.1:8000")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be an address alone: a key or password belongs in the environment, not in a file")
    return text


def _zmq(text: str, example: str) -> str:
    scheme, _, rest = text.rpartition("://")
    if scheme == "ipc" and rest:
        return text
    bare = "://" not in example
    if scheme in ("http", "https") and not bare:
        raise ValueError(f"must be an address of 0MQ, as {example}: an address of its HTTP server is given as url")
    if scheme != "tcp" and (scheme or not bare):
        raise ValueError(f"must be an address of 0MQ, as {example}, or ipc:// and a path")
    parts = split_address(f"tcp://{rest}", example=example)
    if parts.port is None:
        raise ValueError(f"must be {'host:port' if bare else 'an address of 0MQ with a port'}, as {example}")
    if parts.hostname == "*":
        raise ValueError("must name the machine to connect to: * is where a server listens")
    return text


def _machine(text: str) -> str:
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            raise ValueError("must be the name of a machine alone; its port is a key of its own: port") from None
    return text


def _curve_key(text: str) -> str:
    if text and not is_curve_key(text):
        raise ValueError("must be a public key of CURVE: 40 letters, as zmq.curve_keypair() makes it")
    return text


def is_curve_key(text: str) -> bool:
    """Return whether a text can be a key of CURVE: 32 bytes in Z85."""
    return _Z85.fullmatch(text) is not None


WebAddress = Annotated[str, Field(pattern=r"^https?://[^/\s]+"), AfterValidator(_web)]
"""``http://`` or ``https://``, a machine and perhaps a port and a path; no key in it."""

ProxyAddress = Annotated[str, AfterValidator(partial(_zmq, example="127.0.0.1:5568"))]
"""``host:port`` of a proxy, or ``tcp://`` or ``ipc://`` as 0MQ has it, to connect to."""

ManagerAddress = Annotated[str, AfterValidator(partial(_zmq, example="tcp://127.0.0.1:60615"))]
"""``tcp://host:port`` or ``ipc://`` of a RE Manager."""

MachineName = Annotated[str, Field(pattern=r"^[^/\s]+$"), AfterValidator(_machine)]
"""Name or address of a machine, without a port."""

CurveKey = Annotated[str, AfterValidator(_curve_key)]
"""A public key of CURVE; empty for none."""
