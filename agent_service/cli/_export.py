"""``agent-service export``: a prototype as a folder for another machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from agent_service.cli._address import StateOption
from agent_service.errors import UsageError


def export(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="NOTEBOOK.ipynb or SCRIPT.py.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; new, or empty.")],
    with_state: Annotated[
        bool, typer.Option("--with-state", help="Include the journal, without keys; the agents arrive paused.")
    ] = False,
    state: StateOption = None,
    catalog: Annotated[
        str, typer.Option(help="embedded, none, a Tiled catalogue's URI, or profile:NAME.")
    ] = "embedded",
) -> None:
    """Write a folder that serves a notebook or script on another machine."""
    from agent_service.launch.default_state import state_of
    from agent_service.launch.export import export as write
    from agent_service.state_dir import StateDir

    if state is not None and not with_state:
        raise UsageError("--state says whose memory to take along; say --with-state too")
    memory = state or state_of(target)
    written = write(target, output, state=memory if with_state else None, catalog=catalog)
    print(f"{output} holds {', '.join(written)}; its README.md says how to serve it")
    serve = f"cd {shlex.quote(str(output))} && agent-service serve {shlex.quote(target.name)} service.toml"
    if with_state:
        print(f"serve it with its memory, and stop the other service first: {serve}")
    else:
        print(f"serve it: {serve}")
        if StateDir(memory).journal.is_file():
            print(f"what was measured so far, in {memory}, stays here; --with-state takes it along")
