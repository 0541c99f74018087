"""What the log says while an older journal is brought up to date: the database says nothing before it is done."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

SAYS_EVERY_S: Final = 5.0
"""How often it is said that a step goes on."""

_FACTS_PER_S: Final = 100_000

_log = logging.getLogger(__name__)


class UpgradeLog:
    """Says of the upgrade of one journal how far it is, until `close`."""

    def __init__(self, where: object, *, facts: int, versions: tuple[int, int]) -> None:
        self._where = where
        self._began = time.monotonic()
        _log.warning(
            "the journal %s is brought up to date, from version %d to %d; its facts: %s; this takes some %d s",
            *(where, *versions, f"{facts:,}", 1 + facts // _FACTS_PER_S),
        )

    @contextlib.contextmanager
    def step(self, what: str) -> Generator[None]:
        """Say again and again that a step goes on, until the block ends."""
        ended = threading.Event()

        def say() -> None:
            while not ended.wait(SAYS_EVERY_S):
                _log.warning("the journal %s: %s, since %.0f s", self._where, what, time.monotonic() - self._began)

        thread = threading.Thread(target=say, name="journal upgrade", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def run(self, version: int, statements: Sequence[str], execute: Callable[[str], object]) -> None:
        """Execute the statements that make the next version of this one, each a step."""
        for number, statement in enumerate(statements, start=1):
            with self.step(f"step {number} of {len(statements)} from version {version} to {version + 1}"):
                execute(statement)

    def done(self) -> None:
        """Say that it is done."""
        _log.warning("the journal %s is up to date, after %.1f s", self._where, time.monotonic() - self._began)
