"""What commands share: examples in their help, several names on one line, and lines on stderr."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import typer

from agent_service.errors import BackendUnavailable, ServiceError, Unauthenticated, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def examples(*lines: str) -> str:
    """Return the end of a command's help: lines that can be typed as they stand."""
    return "\n\n".join(["Examples:", *lines])


def say(line: str) -> None:
    """Say a line on stderr; where that is a file on a full disk, the command ends none the worse for it."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


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
