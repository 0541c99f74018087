"""How a source is at present: connected or away, since when and why."""

from __future__ import annotations

import logging

from agent_service.models import SourceState, SourceStatus, utcnow

_log = logging.getLogger(__name__)


class Presence:
    """What a source says of itself; it is changed in the source's thread and read in any.

    Parameters
    ----------
    kind
        As in service.toml.
    where
        Address of what it hears, without keys; empty for a source of this process.
    """

    def __init__(self, kind: str, where: str = "") -> None:
        self.kind = kind
        self.where = where
        self.starting()
        self._refused: str | None = None
        self.lag: int | None = None

    def starting(self) -> None:
        """Note that it is heard from now on, and not there yet."""
        self._state = (SourceState.RECONNECTING, utcnow(), "it was not there yet")

    @property
    def is_connected(self) -> bool:
        """Whether it is connected."""
        return self._state[0] is SourceState.CONNECTED

    def connected(self) -> None:
        """Note that it is connected."""
        if not self.is_connected:
            self._state = (SourceState.CONNECTED, utcnow(), "")
            _log.info("source %s %s is connected", self.kind, self.where)

    def away(self, reason: str) -> None:
        """Note that it is away, and why; it is tried again."""
        state, since, before = self._state
        if state is not SourceState.RECONNECTING:
            since = utcnow()
        if reason != before:
            _log.warning("source %s %s is away: %s; it is tried again", self.kind, self.where, reason)
        self._state = (SourceState.RECONNECTING, since, reason)

    def stopped(self) -> None:
        """Note that it is heard no more."""
        self._state = (SourceState.STOPPED, utcnow(), "")

    def refuse(self, reason: str) -> None:
        """Note that something it gave was not taken, and why; said once for each reason."""
        if reason != self._refused:
            _log.warning("source %s %s: %s", self.kind, self.where, reason)
        self._refused = reason

    @property
    def status(self) -> SourceStatus:
        """How it is."""
        state, since, reason = self._state
        return SourceStatus(
            kind=self.kind,
            where=self.where,
            state=state,
            since=since,
            reason=reason or self._refused,
            lag=self.lag,
        )
