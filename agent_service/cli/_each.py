"""What the commands for agents and suggestions share: examples in their help, and several names on one line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from agent_service.errors import BackendUnavailable, ServiceError, Unauthenticated, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def examples(*lines: str) -> str:
    """Return the end of a command's help: lines that can be typed as they stand."""
    return "\n\n".join(["Examples:", *lines])


def for_each(names: Iterable[str], do: Callable[[str], str]) -> None:
    """Do something to each of several, print what came of it, and exit with 1 at the end if one of them could not."""
    failed = False
    for name in names:
        try:
            print(texts.one_line(do(name)))
        except (Unauthenticated, BackendUnavailable):
            raise
        except ServiceError as error:
            failed = True
            print(f"error: {texts.one_line(error.detail)}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)
