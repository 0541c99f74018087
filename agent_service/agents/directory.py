"""Which agents there are, and whose a suggestion is."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from agent_service.agents import late_runs
from agent_service.agents.ingestion import TAKES_LATE_RUN
from agent_service.agents.record.service import ServiceRecord
from agent_service.agents.record.suggestions import recalled
from agent_service.documents.run_of_document import suggestion_of
from agent_service.errors import NotFound
from agent_service.models.spelling import near
from agent_service.models.state_machines import UNDER_WAY, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.lifecycle import AgentLifecycle
    from agent_service.documents.runs import Run
    from agent_service.journal import JournalLog

HEARD_BEFORE_S: Final = 60.0
"""How long before it was noted that a run had begun its first document may have been published."""


class AgentDirectory:
    """Finds agents, their suggestions, and who takes a run; belongs to the event loop."""

    def __init__(self, journal: JournalLog) -> None:
        self.record = ServiceRecord()
        self._journal = journal
        self.lives: dict[str, AgentLifecycle] = {}  # by the agent's name
        self._owners: dict[str, HostedAgent] = {}
        self._in_order: list[str] | None = None

    def life(self, name: str) -> AgentLifecycle:
        """Return an agent's lifecycle, or raise `NotFound` naming what is near."""
        life = self.lives.get(name)
        if life is None:
            names = ", ".join(sorted(self.lives))
            hint = near(name, self.lives).rstrip() or (f"there are {names}" if names else "there is none yet")
            raise NotFound(f"there is no agent {name!r}; {hint}")
        return life

    def agent(self, name: str) -> HostedAgent:
        """Return an agent, or raise `NotFound` naming what is near."""
        return self.life(name).agent

    def owner(self, suggestion_id: str) -> HostedAgent:
        """Return the agent whose suggestion it is, or raise `NotFound`."""
        agent = self._owners.get(suggestion_id)
        if agent is None:
            raise NotFound(f"there is no suggestion {suggestion_id}; look it up among those of its agent")
        return agent

    async def recall(self, *suggestion_ids: str) -> None:
        """Look in the journal for suggestions that were decided so long ago that they are not in memory.

        They are found like any other then, for a while.
        """
        missing = [each for each in suggestion_ids if each not in self._owners]
        facts = await asyncio.to_thread(self._journal.of_suggestions, missing) if missing else []
        for suggestion, by in recalled(facts).values():
            life = self.lives.get(suggestion.agent)
            if life is not None and suggestion.created_at >= life.agent.record.created_at:
                if suggestion.id not in self._owners:  # nobody else was as quick
                    self.record.remember(suggestion.agent, suggestion, by)
                self._owners[suggestion.id] = life.agent

    def find_owner(self, suggestion_id: str) -> HostedAgent | None:
        """Return the agent whose suggestion it is, or None."""
        return self._owners.get(suggestion_id)

    def names(self, *, after: str = "") -> Iterator[str]:
        """Yield the agents' names in order, those behind ``after``; a page costs the same however many there are."""
        if self._in_order is None:  # one came or went
            self._in_order = sorted(self.lives)
        return islice(self._in_order, bisect_right(self._in_order, after), None)

    def undecided(self) -> dict[str, str | None]:
        """Return the suggestions that were submitted and have no outcome yet: id to the uid of its run, if known."""
        under_way = (SuggestionState.SUBMITTED, SuggestionState.RUNNING)
        records = [life.agent.record for life in self.lives.values()]
        return {suggestion.id: suggestion.run_uid for record in records for suggestion in record.open_in(*under_way)}

    def under_way_since(self) -> float | None:
        """Return since when documents may be of suggestions without an outcome, in s since 1970; None: of none."""
        records = [life.agent.record for life in self.lives.values()]
        since = [
            record.submitted_at.get(suggestion.id, suggestion.updated_at).timestamp()
            for record in records
            for suggestion in record.open_in(*UNDER_WAY)
        ]
        return min(since) - HEARD_BEFORE_S if since else None

    def late_takers(self) -> set[str]:
        """Return the suggestions without an outcome whose runs still count if they come late."""
        records = [life.agent.record for life in self.lives.values()]
        return {
            suggestion.id
            for record in records
            for suggestion in record.suggestions.values()
            if suggestion.state in TAKES_LATE_RUN
        }

    def untold(self) -> set[str]:
        """Return the suggestions with runs that wait to be ingested: they came late."""
        loops = [life.runner.loop for life in self.lives.values()]
        return {suggestion_of(run.start) for loop in loops if loop is not None for run in loop.ingestion.inbox}

    def touch(self, name: str) -> None:
        """Let an agent's status be made anew, if there is one of that name."""
        if (life := self.lives.get(name)) is not None:
            life.agent.mark_changed()

    def takers_of_every_run(self) -> list[Callable[[Run], None]]:
        """Return what takes the runs of everybody: the agents that listen to all."""
        listening = [life.runner.loop for life in self.lives.values() if life.agent.spec.listen == "all"]
        return [loop.ingestion.put for loop in listening if loop is not None]

    def taker_of_late_run(self, suggestion_id: str) -> Callable[[Run], None] | None:
        """Return what takes a run that comes when its suggestion is closed, if its agent does."""
        agent = self._owners.get(suggestion_id)
        if agent is None or agent.record.suggestion(suggestion_id).state not in TAKES_LATE_RUN:
            return None
        loop = self.lives[agent.name].runner.loop
        return loop.ingestion.put if loop else partial(late_runs.keep, agent)
