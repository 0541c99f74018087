"""``agent-service journal``: where facts are kept, brought to another place."""

from __future__ import annotations

from typing import Annotated

import typer

journal = typer.Typer(name="journal", help="Copy the facts of a journal to another place.", no_args_is_help=True)

_PLACE = "A state directory, or the URL of a PostgreSQL database."


@journal.callback()
def options() -> None:
    """Copy the facts of a journal to another place."""


@journal.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help=_PLACE)],
    target: Annotated[str, typer.Argument(metavar="TO", help=_PLACE)],
) -> None:
    """Copy a journal and its keys to an empty place. No service may run on either place meanwhile."""
    from agent_service.errors import texts
    from agent_service.service.journal_copy import copy_journal

    facts, last = copy_journal(source, target)
    print(f"copied {texts.counted(facts, 'fact')}, up to number {last}, and the keys")
