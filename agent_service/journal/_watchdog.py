"""An end to waiting for a database that says nothing: psycopg itself waits for ever for an answer."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    import sqlalchemy as sa


@contextlib.contextmanager
def answers_within(connection: sa.Connection, within_s: float) -> Generator[None]:
    """Close the connection under the block if that takes longer: what waits in it raises `OperationalError` then."""
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - it was just taken from the pool
    number = os.dup(driver.fileno())

    def cut() -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as held:
            held.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(within_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        os.close(number)
