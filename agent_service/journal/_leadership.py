"""Who may write a journal in PostgreSQL: one leader, whose epoch each commit checks.

A session's advisory lock, which ends with the leader's process, lets a standby follow at once. A leader that is paused,
or cut off, keeps its session; so it also has a lease: it counts up a beat, and a standby that sees the same beat for
as long as a lease, by its own clock, ends the leader's connections. What decides is the epoch: a takeover counts it up,
and a transaction of an older epoch cannot commit after that.

A standby that could not reach the database gives the leader, which may not have reached it either, time to come back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from agent_service.errors import BackendUnavailable, LeadLost, UsageError
from agent_service.errors.log_lines import Trouble
from agent_service.journal._postgres_schema import APPLICATION, prepare, shown
from agent_service.journal._tables import why
from agent_service.journal._watchdog import answers_within

if TYPE_CHECKING:
    from collections.abc import Generator

_LOOKS_EVERY_S: Final = 0.25
_ANSWERS_S: Final = 2.0

_LOCK: Final = sa.text("SELECT pg_try_advisory_lock(hashtextextended('agent-service ' || current_schema(), 0))")
_UNLOCK: Final = sa.text("SELECT pg_advisory_unlock_all()")
_LOOK: Final = sa.text(
    "SELECT epoch, beat, holder, ARRAY(SELECT pid FROM pg_stat_activity WHERE pid = ANY (backends) "
    "AND application_name = :application) AS alive FROM leader"
)
_END: Final = sa.text("SELECT pg_terminate_backend(pid) FROM unnest(CAST(:pids AS INTEGER[])) AS pid")
_TAKE: Final = sa.text(
    "UPDATE leader SET epoch = epoch + 1, beat = 0, holder = :holder, backends = ARRAY[pg_backend_pid()] "
    "RETURNING epoch"
)
_BEAT: Final = sa.text(
    "UPDATE leader SET beat = beat + 1, backends = ARRAY(SELECT pid FROM pg_stat_activity "
    "WHERE pid = ANY (backends || pg_backend_pid())) WHERE epoch = :epoch"
)
_JOIN: Final = sa.text("UPDATE leader SET backends = backends || pg_backend_pid() WHERE epoch = :epoch")
_EPOCH: Final = sa.text("SELECT epoch, holder FROM leader FOR KEY SHARE")

_log = logging.getLogger(__name__)


def clock_s() -> float:
    """Return a time in seconds that goes on while this process, or its machine, is paused."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Leadership:
    """The lead of one process: taken, kept by a thread of its own, and lost for good.

    ``lease_s`` is how long a leader that says nothing is believed, in seconds.
    """

    def __init__(self, engine: sa.Engine, *, lease_s: float) -> None:
        self.epoch = 0
        self.lost: str | None = None
        self._engine = engine
        self._lease_s = lease_s
        self._holder = f"process {os.getpid()} on {socket.gethostname()}"
        self._until_s = 0.0
        self._closed = threading.Event()
        self._connection: sa.Connection | None = None
        self._keeper: threading.Thread | None = None

    @property
    def holds(self) -> bool:
        """Whether nobody else can lead now, by our clock."""
        return self.lost is None and clock_s() < self._until_s

    def take(self) -> None:
        """Lead now, or raise `UsageError` that says who does; a leader that was killed a moment ago is waited for."""
        gives_up_s = clock_s() + self._lease_s + 2 * _ANSWERS_S
        waiting = _Waiting(self._lease_s)
        while not self._try(waiting):
            if clock_s() > gives_up_s:
                self.close()
                raise UsageError(
                    f"the journal {shown(self._engine)} is in use by another service ({waiting.holder}); stop that "
                    "one, or give both [journal] standby = true"
                )
            time.sleep(_LOOKS_EVERY_S)

    def await_turn(self, given_up: threading.Event) -> bool:
        """Wait until we lead; return False when it was given up before. See `prepare` for what it raises."""
        waiting, prepared, trouble = _Waiting(self._lease_s), False, Trouble(_log)
        while not given_up.is_set():
            try:
                prepared = prepared or prepare(self._engine)
                if self._try(waiting):
                    return True
                trouble.over("the journal can be used again")
            except (SQLAlchemyError, BackendUnavailable) as error:
                trouble.found(f"the journal cannot be used now, and is tried again: {why(error)}")
                self._disconnect()
                waiting.was_away()
            given_up.wait(_LOOKS_EVERY_S)
        self.close()
        return False

    def _try(self, waiting: _Waiting) -> bool:
        """Look once, and lead if the lock is free or the leader's lease is over."""
        asked_s = clock_s()
        with self._session() as connection:
            locked = bool(connection.scalar(_LOCK))
            leader = connection.execute(_LOOK, {"application": APPLICATION}).one()
            answered_s = clock_s()
            if answered_s - asked_s > self._lease_s / 2:
                waiting.was_slow()
            is_over = waiting.is_over(leader, now_s=answered_s)
            if is_over and leader.alive:
                _log.warning("the leader (%s) says nothing; its connections are ended", leader.holder)
                connection.execute(_END, {"pids": leader.alive})
                return False
            # a leader that has lost only the session of its lock takes it anew, within its lease
            if not locked or waiting.holds_off(answered_s) or (leader.alive and not is_over):
                connection.execute(_UNLOCK)
                return False
            self.epoch = connection.scalar(_TAKE, {"holder": self._holder}) or 0
        self._until_s = asked_s + self._lease_s
        self._keeper = threading.Thread(target=self._keep, name="journal lease", daemon=True)
        self._keeper.start()
        return True

    def join(self, connection: sa.Connection) -> None:
        """Let a standby end this connection, too, when it takes over."""
        connection.execute(_JOIN, {"epoch": self.epoch})

    def check(self, connection: sa.Connection) -> None:
        """Raise `LeadLost` when somebody else leads; until the transaction ends nobody else can begin to."""
        epoch, holder = connection.execute(_EPOCH).one()
        if epoch != self.epoch:
            self.lost = f"another service leads by now ({holder})"
        self.require()

    def require(self) -> None:
        """Raise `LeadLost` when it is known already that somebody else leads."""
        if self.lost is not None:
            raise LeadLost(f"{self.lost}; this one writes nothing more, and is to be started again as a standby")

    def close(self) -> None:
        """Give the lead up: a standby takes over at once. Harmless the second time."""
        self._closed.set()
        if self._keeper is not None:
            self._keeper.join()
        self._until_s = 0.0
        self._disconnect()

    # --- in its thread

    def _keep(self) -> None:
        trouble = Trouble(_log)
        while not self._closed.wait(self._lease_s / 3):
            asked_s = clock_s()
            try:
                with self._session() as connection:
                    connection.scalar(_LOCK)  # it went with the last session, or is held once more: both are well
                    kept = connection.execute(_BEAT, {"epoch": self.epoch}).rowcount
            except SQLAlchemyError as error:
                trouble.found(f"the lease on the journal could not be renewed: {why(error)}")
                self._disconnect()
            else:
                if not kept:
                    self.lost = self.lost or "another service leads by now"
                    return
                self._until_s = asked_s + self._lease_s
                trouble.over("the lease on the journal is renewed again")

    @contextlib.contextmanager
    def _session(self) -> Generator[sa.Connection]:
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with answers_within(self._connection, _ANSWERS_S):
            yield self._connection

    def _disconnect(self) -> None:
        """End the session, and with it the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()


class _Waiting:
    """What one who waits has seen of the leader, and since when, by its own clock."""

    def __init__(self, lease_s: float) -> None:
        self.holder = "nobody"
        self._lease_s = lease_s
        self._seen: tuple[int, int] | None = None
        self._since_s = 0.0
        self._not_before_s = 0.0

    def was_slow(self) -> None:
        """Note that the database took long to answer: its leader may be well, and has a lease's time to say so."""
        self._seen, self._not_before_s = None, max(self._not_before_s, clock_s() + self._lease_s)

    def was_away(self) -> None:
        """Note that the database was away; an attempt to connect that the leader began then has to run out first."""
        self._seen, self._not_before_s = None, clock_s() + self._lease_s + 2 * _ANSWERS_S

    def holds_off(self, now_s: float) -> bool:
        """Whether it is too early to lead."""
        return now_s < self._not_before_s

    def is_over(self, leader: sa.Row[Any], *, now_s: float) -> bool:
        """Whether the leader has said nothing for as long as a lease."""
        self.holder = leader.holder
        if self._seen != (leader.epoch, leader.beat):
            self._seen, self._since_s = (leader.epoch, leader.beat), now_s
        return now_s - self._since_s > self._lease_s and not self.holds_off(now_s)
