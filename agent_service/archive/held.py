"""What the catalogue refused and the state directory keeps, for a person: what it is, why, and another try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_service.archive.refused import Aside
from agent_service.documents.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent_service.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class Held:
    """A run, or the decisions of one stream of an agent's run.

    Parameters
    ----------
    name
        The run's uid, or the agent's name.
    title
        What it is, in words.
    reason
        What the catalogue said.
    retry
        Has it tried again, by the archive of whatever service runs on that directory.
    """

    name: str
    title: str
    reason: str
    retry: Callable[[], None]


def held(state: StateDir) -> Iterator[Held]:
    """Yield what is held in a state directory; from any process."""
    spool, aside = Spool(state.spool), Aside(state.spool)
    for path in spool.refused():
        uid = spool.uid_of(path)
        yield Held(uid, f"run {uid}", _reason(path), lambda path=path: spool.retry(path))
    for path in aside.refused():
        agent, count = aside.agent_of(path), aside.lines_in(path)
        title = f"{count} decision{'' if count == 1 else 's'} of {agent}"
        yield Held(agent, title, _reason(path), lambda path=path: aside.retry(path))


def _reason(path: Path) -> str:
    try:
        return " ".join(path.with_suffix(".reason").read_text(encoding="utf-8").split())
    except OSError:
        return "no reason was kept"
