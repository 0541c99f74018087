"""``agent-service archive``: what the catalogue refused, and having it tried again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_service.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_service.archive.refused import Refused

archive = typer.Typer(name="archive", help="List what the catalogue refused, and try it again.", no_args_is_help=True)

StateArgument = Annotated[Path, typer.Argument(metavar="STATE", help="State directory of a service, past or present.")]


@archive.command("list")
def list_(state: StateArgument) -> None:
    """List the runs and decisions that the catalogue refused, and why. The state directory keeps them."""
    refused = list(_refused(state))
    for run in refused:
        print(_printable(f"{run.title}: {run.reason}"))
    if not refused:
        print(f"the catalogue refused nothing of {state}")


@archive.command()
def retry(
    state: StateArgument,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Uids of runs, names of agents; default: everything refused."),
    ] = None,
) -> None:
    """Write again the runs and decisions that the catalogue refused."""
    refused = list(_refused(state))
    unknown = set(names or ()) - {run.name for run in refused}
    if unknown:
        raise NotFound(
            f"the catalogue refused nothing of {' or '.join(sorted(unknown))}; `agent-service archive list {state}` "
            "says what it refused"
        )
    chosen = [run for run in refused if not names or run.name in names]
    for run in chosen:
        run.retry()
        print(_printable(f"{run.title} will be tried again"))
    if not chosen:
        print(f"the catalogue refused nothing of {state}")
        return
    print(
        f"The service that runs on {state} does it within seconds; where none runs, the next one, or `agent-service "
        f"catalog {state}`. `agent-service archive list {state}` says what was refused again."
    )


def _refused(state: Path) -> Iterator[Refused]:
    from agent_service.archive.refused import refused_in
    from agent_service.state_dir import StateDir

    if not StateDir(state).spool.is_dir():
        raise UsageError(f"{state} is not the state directory of a service: there is no spool in it")
    yield from refused_in(StateDir(state))


def _printable(text: str) -> str:
    """Return a text without what a terminal would obey: names come with documents, from anywhere."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
