"""Which of the runs that a plan made for a suggestion counts: one rule, wherever the runs come from.

A plan may make a dark run and then a light one. Which of them holds the outcome only the agent can say: by its ``run``,
or by an evaluate function that takes them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_service.documents.runs import Run
    from agent_service.models import RunRule
    from agent_service.protocols import Document

_HOW = (
    'give the agent run = "last" (or "first"), or metadata of the one that counts, as run = {purpose = "light"}, or an '
    "evaluate function whose first parameter is named runs"
)


@dataclass(frozen=True, slots=True)
class Made:
    """The runs that a plan made for a suggestion.

    Parameters
    ----------
    runs
        In the order of their beginnings; one without its stop document is open still.
    ended
        Whether they are all there will be; False where the plan is not known to have ended.
    """

    runs: tuple[Run, ...]
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Chosen:
    """The runs that count.

    Parameters
    ----------
    runs
        At least one after a success, each complete and successful; more than one only where all were asked for.
    exit_status
        ``success``; ``fail`` or ``abort``, as the run that counts ended, ``fail`` too when none can be told from the
        others; ``unknown`` when others may have been to come, so that nobody can say.
    reason
        One line that says why there are none.
    """

    runs: tuple[Run, ...] = ()
    exit_status: str = "success"
    reason: str = ""


def choose(made: Made, rule: RunRule | None, *, every: bool) -> Chosen:
    """Return the runs that count for a suggestion.

    Parameters
    ----------
    made
        What its plan made.
    rule
        The agent's ``run``; None: the plan makes one.
    every
        Whether all runs were asked for, by an evaluate function of ``runs`` or ``uids``; a rule still narrows them.
    """
    if not made.runs:
        return Chosen(exit_status="fail", reason="the plan made no run")
    chosen = [run for run in made.runs if not isinstance(rule, dict) or matches(run.start, rule)]
    if not made.ended and (needs_end(rule, every=every) or not chosen):
        return Chosen(exit_status="unknown", reason="interrupted: its plan was not seen to its end")
    if rule in ("first", "last"):
        chosen = chosen[:1] if rule == "first" else chosen[-1:]
    elif not chosen:
        return Chosen(exit_status="fail", reason=f"none of the plan's {len(made.runs)} runs has {_words(rule)}")
    elif not every and len(chosen) > 1:
        chosen = _only_good(chosen) if isinstance(rule, dict) else chosen
        if len(chosen) > 1:
            return Chosen(exit_status="fail", reason=_several(made, chosen, rule))
    for run in chosen:
        if (status := _status(run))[0] != "success":
            return Chosen(exit_status=status[0], reason=status[1])
    return Chosen(tuple(chosen))


def needs_end(rule: RunRule | None, *, every: bool) -> bool:
    """Return whether the choice depends on the plan having ended, however many runs it made."""
    return every or rule == "last"


def can_tell(rule: RunRule | None, *, every: bool, starts: Iterable[Document]) -> bool:
    """Return whether the run that counts is among those that began, though nobody says that the plan ended.

    For those who measure elsewhere and say nothing but their documents: without a rule, a plan makes one run.
    """
    if needs_end(rule, every=every):
        return False
    return any(not isinstance(rule, dict) or matches(start, rule) for start in starts)


def matches(start: Document, wanted: Mapping[str, Any]) -> bool:
    """Return whether a start document has the metadata; of a mapping within, what is given is looked at."""
    return all(key in start and _same(start[key], value) for key, value in wanted.items())


def _same(value: Any, wanted: Any) -> bool:
    if callable(to_list := getattr(value, "tolist", None)):
        value = to_list()
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and matches(cast("Document", value), cast("Mapping[str, Any]", wanted))
    if isinstance(wanted, list):
        given, items = cast("list[Any]", value), cast("list[Any]", wanted)
        return isinstance(value, list | tuple) and len(given) == len(items) and all(map(_same, given, items))
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _status(run: Run) -> tuple[str, str]:
    stop = run.stop
    if stop is None:
        return "fail", f"run {run.uid} was left open"
    status = str(stop.get("exit_status"))
    if status == "success" and (missing := run.missing()):
        return "fail", f"run {run.uid} did not arrive whole: {missing} did not come"
    return status, str(stop.get("reason") or "") or f"the run ended with exit_status {status}"


def _only_good(runs: list[Run]) -> list[Run]:
    """Return the successful one, if it is one: a plan may repeat a run that failed."""
    good = [run for run in runs if _status(run)[0] == "success"]
    return good if len(good) == 1 else runs


def _several(made: Made, chosen: list[Run], rule: RunRule | None) -> str:
    if isinstance(rule, dict):
        what = f"{len(chosen)} of the plan's {len(made.runs)} runs have {_words(rule)}, and one is to count"
    else:
        what = f"the plan made {len(chosen)} runs for this suggestion, and nothing says which of them counts"
    return f"{what}; {_HOW}"


def _words(rule: RunRule | None) -> str:
    held = cast("Mapping[str, object]", rule)
    return ", ".join(f"{key} = {value!r}" for key, value in held.items())
