"""Publishes a RunEngine's documents for a service, from the profile of a beamline.

Examples
--------
>>> from agent_service.plans.publish import publisher
>>> RE.subscribe(publisher("localhost:5567"))  # doctest: +SKIP
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.documents.packing import pack

if TYPE_CHECKING:
    from pathlib import Path


def serializer(document: Any) -> bytes:
    """Return a document as msgpack with msgpack_numpy's arrays: the ``serializer=`` of Bluesky's publishers.

    Parameters
    ----------
    document
        The document, or ``(name, document)`` for Kafka. An array of objects becomes a list: nothing is pickled.
    """
    return pack(document)


def publisher(
    address: str,
    *,
    prefix: str = "",
    public_key: str | Path | None = None,
    secret_file: str | Path | None = None,
) -> Any:
    """Return a callback for ``RE.subscribe`` that publishes to a 0MQ proxy for the source ``zmq``.

    Parameters
    ----------
    address
        ``host:port`` of the proxy's in port: ``bluesky-0MQ-proxy --in-address HOST:5567 --out-address HOST:5568``.
    prefix
        Distinguishes publishers behind one proxy; no spaces.
    public_key, secret_file
        Files with the proxy's public key and this publisher's own certificate, if the proxy needs CURVE.

    Returns
    -------
    bluesky.callbacks.zmq.Publisher
        With msgpack instead of pickle.
    """
    from bluesky.callbacks.zmq import ClientCurve, Publisher  # noqa: PLC0415 - an extra

    curve: Any = None
    if public_key is not None and secret_file is not None:
        curve = ClientCurve(secret_path=secret_file, server_public_key=public_key)  # pyright: ignore[reportArgumentType]
    return Publisher(address, prefix=prefix.encode(), serializer=serializer, curve_config=curve)
