"""What must be true of suggestions and their runs, whoever was killed: one fate each, and one run at most."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

FINAL = ("ingested", "failed", "rejected")
LATE = ("expired", "abandoned")
"""Fates that an outcome may follow."""


@dataclass
class Fates:
    """Suggestions at the end, and the runs that were made for them.

    Parameters
    ----------
    states
        Fate by suggestion.
    reasons
        Why, by suggestion.
    runs
        Number of runs by suggestion.
    complete
        Suggestions of which a run succeeded.
    """

    states: dict[str, str]
    reasons: dict[str, str]
    runs: Counter[str] = field(default_factory=Counter)
    complete: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, suggestions: Iterable[Any], documents: Iterable[tuple[str, dict[str, Any]]]) -> Self:
        """Count what the documents of whoever measured tell."""
        listed = list(suggestions)
        found = cls({one.id: str(one.state) for one in listed}, {one.id: one.reason or "" for one in listed})
        of_run: dict[str, str] = {}
        for name, document in documents:
            if name == "start" and document.get("agent_suggestion_uid"):
                of_run[document["uid"]] = document["agent_suggestion_uid"]
            if name == "stop" and document["run_start"] in of_run and document["exit_status"] == "success":
                found.complete.add(of_run[document["run_start"]])
        found.runs.update(of_run.values())
        return found

    def __str__(self) -> str:
        return f"{self.runs.total()} runs of {len(self.states)} suggestions: {dict(Counter(self.states.values()))}"

    def check(self, facts: Iterable[Any] = (), *, undecided: Collection[str] = ()) -> None:
        """Fail unless each suggestion has one fate and at most one run, and each outcome is told.

        ``facts`` are those of the journal; suggestions in a state of ``undecided`` had no time to be told.
        """
        doubled = [uid for uid, count in self.runs.items() if count > 1]
        assert not doubled, f"measured twice: {doubled}"
        assert set(self.runs) <= set(self.states), "a run of no suggestion"
        told: dict[str, list[str]] = {}
        for fact in facts:
            if fact.kind == "suggestion.state" and fact.data["state"] in (*FINAL, *LATE):
                told.setdefault(str(fact.data["id"]), []).append(str(fact.data["state"]))
        two = {uid: ends for uid, ends in told.items() if len(ends) > 1 and not (ends[0] in LATE and len(ends) == 2)}
        assert not two, f"two fates: {two}"
        invented = [uid for uid, state in self.states.items() if state == "ingested" and uid not in self.complete]
        assert not invented, f"ingested, and no run succeeded: {invented}"
        moved = [uid for uid, state in self.states.items() if state == "rejected" and uid in self.runs]
        assert not moved, f"rejected, and measured: {moved}"
        lost = {
            uid: (self.states[uid], self.reasons[uid])
            for uid in self.complete
            if self.states[uid] not in ("ingested", *undecided)
        }
        assert not lost, f"measured, and no outcome: {lost}"
