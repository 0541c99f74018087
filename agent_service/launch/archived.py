"""Waiting until the catalogue holds what was measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from agent_service.documents.spool import Spool
from agent_service.errors import DeadlineExceeded, UsageError
from agent_service.state_dir import StateDir

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.client import Client

LOOK_EVERY_S: Final = 0.2

SETTLED_S: Final = 1.5
"""How long there must have been nothing to write, in seconds: the archive counts once a second."""


def wait_until_archived(client: Client, state: Path, *, decisions: bool, within_s: float) -> None:
    """Wait until a service's catalogue holds all runs that are complete.

    Parameters
    ----------
    client
        A client of the service.
    state
        Its state directory, on this machine.
    decisions
        Whether the agents' decisions count, too.
    within_s
        How long to wait, in seconds.

    Raises
    ------
    UsageError
        The service has no catalogue.
    DeadlineExceeded
        It was not there in time.
    """
    deadline = time.monotonic() + within_s
    settled_at = time.monotonic() + SETTLED_S
    while (waits_for := _missing(client, state, decisions=decisions)) or time.monotonic() < settled_at:
        if waits_for:
            settled_at = time.monotonic() + SETTLED_S
        if time.monotonic() > deadline:
            why = waits_for or "has only just caught up"
            raise DeadlineExceeded(f"the catalogue {why} after {within_s:g} s; nothing is lost, try again later")
        time.sleep(LOOK_EVERY_S)


def _missing(client: Client, state: Path, *, decisions: bool) -> str:
    """Return what there is to wait for; empty when there is nothing.

    Runs that wait are counted here: the archive tells of them now and then only, and not while it starts.
    """
    archive = client.service().archive
    if archive.state == "none":
        raise UsageError('this service has no catalogue (catalog = "none"); serve with one: catalog="embedded"')
    if archive.state != "ready":
        return f"is {archive.state}{f' ({archive.reason})' if archive.reason else ''}"
    runs = max(archive.runs_behind, len(Spool(StateDir(state).spool).complete()))
    behind = [f"{runs} runs"] if runs else []
    if decisions and archive.facts_behind:
        behind.append(f"{archive.facts_behind} decisions")
    return f"is {' and '.join(behind)} behind" if behind else ""
