"""With what a state directory was served last: a small file in it, which outlives the service and a kill -9."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.state_dir import StateDir


def remember(state: StateDir, served: dict[str, Any], *, files: Sequence[Path], state_named: bool) -> None:
    """Write with what a directory is served.

    ``files`` say what is served, and ``state_named`` that they do not name the directory themselves; without files,
    those that were named before stay named.
    """
    before = {} if files else recall_or_nothing(state)
    named = {
        "files": [str(file) for file in files] or before.get("files", []),
        "state_named": state_named if files else before.get("state_named", True),
    }
    private_files.write(state.served_file, json.dumps({**served, **named}) + "\n")


def recall(state: StateDir) -> dict[str, Any] | None:
    """Return with what a directory was served last, None where nobody wrote that; raise ValueError when unreadable."""
    try:
        served: object = json.loads(state.served_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(error.strerror) from None
    if not isinstance(served, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004 - it is the text of a file
    return cast("dict[str, Any]", served)


def recall_or_nothing(state: StateDir) -> dict[str, Any]:
    """Return what `recall` returns, and nothing where it cannot be read."""
    try:
        return recall(state) or {}
    except ValueError:
        return {}


def serve_command(state: StateDir) -> str:
    """Return the command that serves a directory as it was served last, files that were moved with it included."""
    served = recall_or_nothing(state)
    listed = cast("list[object]", served["files"]) if isinstance(served.get("files"), list) else []
    files: list[str] = []
    for file in (Path(str(path)) for path in listed):
        files += [str(place) for place in (file, state.path.parent / file.name) if place.is_file()][:1]
    if len(files) < len(listed):
        files = []
    named = [] if files and served.get("state_named") is False else ["--state", str(state.path)]
    return shlex.join(["agent-service", "serve", *files, *named])
