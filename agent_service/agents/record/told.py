"""What an agent's brain was told, read from the journal when somebody asks: nobody keeps it in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from agent_service.agents.record.agent import RUNS_KEPT
from agent_service.agents.record.measured import Measured
from agent_service.agents.record.remembered import WITHOUT_OUTCOME, is_told
from agent_service.agents.record.replay import facts_of
from agent_service.agents.record.suggestions import recalled
from agent_service.models import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent_service.agents.record.agent import AgentRecord
    from agent_service.brains.messages import Fact
    from agent_service.models import Event, Suggestion

_PAGE: Final = 1000


class TellsFacts(Protocol):
    """A journal, as far as this reads it."""

    def told(
        self, agent: str | None = None, *, after: int = 0, until: int | None = None, limit: int | None = None
    ) -> list[Event]:
        """Return facts as `protocols.JournalReader` does."""
        ...

    def of_suggestions(self, ids: Sequence[str]) -> list[Event]:
        """Return facts as `protocols.JournalReader` does."""
        ...


class ToldFacts:
    """The facts of one agent that its brain may be told again; `read` and `find_bests_anew` block."""

    def __init__(self, record: AgentRecord, journal: TellsFacts) -> None:
        self._record = record
        self._journal = journal

    def read(self, *, after: int = 0, until: int | None = None) -> Iterator[Event]:
        """Yield the facts behind ``after``, in order."""
        after = max(after, self._record.created_seq)
        while page := self._journal.told(self._record.spec.name, after=after, until=until, limit=_PAGE):
            after = page[-1].seq or after
            yield from filter(is_told, page)

    async def replay(self, *, until: int, after: int = 0, config: Mapping[str, Any] | None = None) -> list[Fact]:
        """Return what a brain that knows the facts up to ``after`` is to be told, to know those up to ``until``."""
        return await asyncio.to_thread(self._replay, config, after, until)

    def _replay(self, config: Mapping[str, Any] | None, after: int, until: int) -> list[Fact]:
        events = list(self.read(after=after, until=until))
        if after and any(event.data.get("state") in WITHOUT_OUTCOME for event in events):
            # their points may have been proposed, or be measured again, before that
            whole = list(self.read(until=until))
            known = len(whole) - len(events)
            return facts_of(whole, config=config, first=known)
        return facts_of(events, config=config)

    async def since(self, seq: int) -> list[Event]:
        """Return the facts from ``seq`` on."""
        return await asyncio.to_thread(lambda: list(self.read(after=seq - 1)))

    def knows_run(self, run_uid: str) -> bool:
        """Return whether a run is among the newest ones that were ingested."""
        return run_uid in self._record.ingested_runs or run_uid in self._record.runs_of_old

    async def find_suggestion(self, suggestion_id: str) -> Suggestion | None:
        """Return a suggestion of the agent, however long ago it was decided; None when it is none, or forgotten."""
        if (known := self._record.suggestions.get(suggestion_id)) is not None:
            return known
        suggestions = recalled(await asyncio.to_thread(self._journal.of_suggestions, [suggestion_id]))
        for suggestion, _ in suggestions.values():
            if suggestion.agent == self._record.spec.name and suggestion.created_at >= self._record.created_at:
                return suggestion
        return None

    async def has_ingested(self, run_uid: str) -> bool:
        """Return whether the brain was told of a run, however long ago."""
        return self.knows_run(run_uid) or (
            len(self._record.ingested_runs) >= RUNS_KEPT  # else those are all
            and await asyncio.to_thread(self._look_for_run, run_uid)
        )

    def _look_for_run(self, run_uid: str) -> bool:
        return any(event.kind is EventKind.INGEST and run_uid in _runs_of(event) for event in self.read())

    def find_bests_anew(self, *, until: int | None = None) -> None:
        """Find the best of all that was measured, where goals that changed ask for that."""
        if self._record.measured.is_old:
            measured = Measured(self._record.spec)
            measured.take(self.read(until=until))
            self._record.measured = measured


def _runs_of(event: Event) -> list[str]:
    return cast("list[str]", event.data.get("run_uids") or [])
