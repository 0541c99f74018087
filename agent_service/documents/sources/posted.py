"""Runs that are posted over HTTP: whose each is, so that nobody's documents end up in somebody else's run.

A document names its run by uids, and whoever knows them could speak for it: end the run of the service's own RunEngine,
or add an event to one that another key posts. So what is posted belongs to runs that the same key has begun here, and
the runs that the service hears itself are known too. Belongs to the event loop.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_service.documents.document_copies import unpack_bulk
from agent_service.documents.run_of_document import PARTS, runs_named
from agent_service.documents.sources.presence import Presence
from agent_service.errors import Conflict, Forbidden, TooMany

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_service.models import SourceStatus
    from agent_service.protocols import Document, Intake

MAX_OPEN: Final = 48
"""Most posted runs that are open at a time; fewer than are put together, so that they push out no run of ours."""

MAX_MEMBERS: Final = 100
"""Most streams and resources of a posted run."""

_ENDED_KEPT: Final = 200
"""Posted runs that are remembered after their end: whoever got no answer sends the rest of one again."""

_HEARD_KEPT: Final = 1000
"""Open runs heard that are remembered; one whose stop document never came is forgotten for one more."""


@dataclass(slots=True)
class _Run:
    """A run; ``by`` is None when it was heard and not posted."""

    by: str | None
    ended: bool = False
    members: set[str] = field(default_factory=set[str])


class PostedSource:
    """Source ``posted``: admits documents that are posted, and knows them again.

    Parameters
    ----------
    may_measure
        ``may_measure(suggestion_id, by)`` raises when the run of a suggestion of this service is not that key's.
    """

    def __init__(self, may_measure: Callable[[str, str], None]) -> None:
        self._may_measure = may_measure
        self._runs: dict[str, _Run] = {}
        self._owners: dict[str, str] = {}
        self._intake: Intake | None = None
        self.presence = Presence("posted")

    @property
    def status(self) -> SourceStatus:
        """How it is at present."""
        return self.presence.status

    def start(self, intake: Intake) -> None:
        """Begin to take what is posted."""
        self._intake = intake
        self.presence.connected()

    def stop(self) -> None:
        """Take no more."""
        self._intake = None
        self.presence.stopped()

    def post(self, documents: Sequence[tuple[str, Document]], by: str) -> tuple[list[tuple[str, Document]], list[str]]:
        """Admit documents of a key and hand them on; nobody else has them, so they are not copied. See `admit`.

        Raises
        ------
        Forbidden
            This service takes no documents that are posted.
        """
        if self._intake is None:
            raise Forbidden('this service takes no documents over HTTP: its configuration names no source "posted"')
        admitted, forgotten = self.admit([single for name, doc in documents for single in unpack_bulk(name, doc)], by)
        for name, document in admitted:
            self._intake.put(name, document)
        return admitted, forgotten

    def admit(self, documents: Sequence[tuple[str, Document]], by: str) -> tuple[list[tuple[str, Document]], list[str]]:
        """Admit documents of a key, all or none.

        Parameters
        ----------
        documents
            In the order of their emission; their uids are texts.
        by
            Name of the key.

        Returns
        -------
        admitted, forgotten
            What is to be taken in: all but what belongs to runs that have ended. Uids of open runs of that key that
            are forgotten for it, for too many are open.

        Raises
        ------
        Forbidden
            A run, or its suggestion, is not that key's.
        Conflict, TooMany
            Its start was not posted; too many are open.
        """
        batch = _Batch(self._runs, self._owners, by)
        admitted: list[tuple[str, Document]] = []
        for name, document in documents:
            suggestion_id = document.get("agent_suggestion_uid") if name == "start" else None
            if isinstance(suggestion_id, str) and suggestion_id:
                self._may_measure(suggestion_id, by)
            if not batch.add(name, document).ended:
                admitted.append((name, document))
        forgotten = self._make_room(by, [uid for uid in batch.runs if uid not in self._runs])
        self._runs |= batch.runs
        self._owners |= batch.owners
        return admitted, forgotten

    def on_document(self, name: str, document: Document, run: str) -> bool:
        """Look at a document of ``run`` on its way, posted or heard, and return whether it was posted."""
        run = run or str(document.get("run_start"))
        known = self._runs.get(run)
        if name == "start" and known is None:
            known = self._runs[run] = _Run(None)
            self._trim(_HEARD_KEPT, lambda run: run.by is None)
        if known is None:
            return False
        if known.by is None and name in PARTS:
            part = str(document.get("uid"))
            known.members.add(part)
            self._owners[part] = run
        if name == "stop":
            self._end(run, known)
        return known.by is not None

    def _end(self, uid: str, run: _Run) -> None:
        if run.by is None:
            self._forget(uid)
        else:
            run.ended = True
            self._trim(_ENDED_KEPT, lambda run: run.ended)

    def _make_room(self, by: str, new: list[str]) -> list[str]:
        """Forget the oldest open runs of a key when there is no room for its new ones."""
        posted = {uid: run for uid, run in self._runs.items() if run.by is not None and not run.ended}
        excess = len(posted) + len(new) - MAX_OPEN
        own = [uid for uid, run in posted.items() if run.by == by]
        if excess > len(own):
            raise TooMany(f"{len(posted)} posted runs are open, the most there may be; post their stop documents first")
        for uid in own[: max(0, excess)]:
            self._forget(uid)
        return own[: max(0, excess)]

    def _trim(self, at_most: int, which: Callable[[_Run], bool]) -> None:
        uids = [uid for uid, run in self._runs.items() if which(run)]
        for uid in uids[: max(0, len(uids) - at_most)]:
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        for member in self._runs.pop(uid).members:
            self._owners.pop(member, None)


class _Batch:
    """Documents of one request, looked at before any of them counts."""

    def __init__(self, runs: dict[str, _Run], owners: dict[str, str], by: str) -> None:
        self.runs: dict[str, _Run] = {}
        self.owners: dict[str, str] = {}
        self._known = runs
        self._known_owners = owners
        self._by = by

    def add(self, name: str, document: Document) -> _Run:
        """Return the run that a document belongs to."""
        if name == "start":
            uid = str(document.get("uid"))
            return self._own(uid, self._run(uid) or _Run(self._by))
        named_runs = {*runs_named(document, ChainMap(self.owners, self._known_owners))}
        if not named_runs or "" in named_runs:
            raise Conflict(
                f"a {name} document belongs to no run that this key has begun here; post the run from its start "
                "document on, and a resource with its run_start"
            )
        runs = [self._own(uid, self._run(uid)) for uid in named_runs]
        if name in PARTS:
            self._add_member(next(iter(named_runs)), runs[0], str(document.get("uid")))
        return runs[0]

    def _run(self, uid: str) -> _Run | None:
        return self.runs.get(uid) or self._known.get(uid)

    def _own(self, uid: str, run: _Run | None) -> _Run:
        if run is None:
            raise Conflict(f"the start document of run {uid} was not posted here; post the run from there on")
        if run.by != self._by:
            whose = "was not posted: the service hears it itself" if run.by is None else "is posted with another key"
            raise Forbidden(f"run {uid} {whose}, so nothing of it is taken with the key {self._by!r}")
        if uid not in self.runs:
            self.runs[uid] = _Run(run.by, run.ended, set(run.members))
        return self.runs[uid]

    def _add_member(self, uid: str, run: _Run, member: str) -> None:
        owner = self.owners.get(member) or self._known_owners.get(member)
        if owner not in (None, uid):
            raise Forbidden(f"the uid {member} is that of a document of another run; give each document one of its own")
        run.members.add(member)
        if len(run.members) > MAX_MEMBERS:
            raise TooMany(f"run {uid} has over {MAX_MEMBERS} streams and resources; it is not taken")
        self.owners[member] = uid
