"""Suggestions in the order in which they were proposed: what is in memory by that, what was decided by the journal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent_service.agents.record.suggestions import recalled
from agent_service.models import EventKind
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.agents.record.agent import AgentRecord
    from agent_service.journal import JournalLog
    from agent_service.models import Event, Suggestion

_PAGE: Final = 2000


class SuggestionList:
    """The suggestions of some agents as they are when this is made; made on the event loop."""

    def __init__(self, journal: JournalLog, records: Sequence[AgentRecord]) -> None:
        self._journal = journal
        self._agent = records[0].spec.name if len(records) == 1 else None
        self._since = {record.spec.name: record.created_seq for record in records}
        self._known = {key: each for record in records for key, each in record.suggestions.items()}

    async def page(
        self, *, after: int, limit: int, state: SuggestionState | None = None
    ) -> tuple[list[Suggestion], int | None]:
        """Return suggestions that were proposed after a fact, and the fact that the next page is after."""
        return await asyncio.to_thread(self._page, after, limit, state)

    def _page(self, after: int, limit: int, state: SuggestionState | None) -> tuple[list[Suggestion], int | None]:
        page: list[Suggestion] = []
        last = after
        while facts := self._journal.told(self._agent, after=after, limit=_PAGE):
            after = facts[-1].seq or after
            proposals = [fact for fact in facts if self._proposes(fact)]
            suggestions = self._suggestions(proposals)
            for fact in proposals:
                suggestion = suggestions.get(str(fact.data["id"]))
                if suggestion is None or state not in (None, suggestion.state):
                    continue
                if len(page) == limit:
                    return page, last
                page.append(suggestion)
                last = fact.seq or last
        return page, None

    def _proposes(self, fact: Event) -> bool:
        is_new = fact.kind is EventKind.SUGGESTION_STATE and fact.data["state"] == SuggestionState.PROPOSED
        return (
            is_new and not fact.data.get("again") and (fact.seq or 0) > self._since.get(fact.agent or "", fact.seq or 0)
        )

    def _suggestions(self, proposals: Sequence[Event]) -> Mapping[str, Suggestion]:
        ids = [str(fact.data["id"]) for fact in proposals]
        old = self._journal.of_suggestions([each for each in ids if each not in self._known])
        return {**{key: each for key, (each, _) in recalled(old).items()}, **self._known}
