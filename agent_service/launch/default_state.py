"""The default state directory of a notebook or script: its own, found again by its name.

It is ``.agent-service/NAME`` in the working directory. A file in it, ``name``, says whose it is. So two names that look
alike in a file system, or the same name in two folders, do not share one. A directory that 0.1.0 made, which has no
such file, is found again: see docs/adr/0031-a-state-directory-for-each-name.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import tomllib
import unicodedata
from pathlib import Path
from typing import Any, Final

from agent_service.errors import UsageError
from agent_service.state_dir import StateDir, is_served, private_files
from agent_service.state_dir.lock import NETWORK_FILE_SYSTEMS, file_system

FOLDER: Final = ".agent-service"
"""Folder, in the working directory, that holds the state directories of notebooks and scripts."""

_ATTEMPTS: Final = 5
_MARK: Final = "name"
_MOST_BYTES: Final = 120
"""Longest readable part of a directory's name, in bytes: file systems take 255."""


def claimed(name: str, *, file: Path | None, here: Path) -> Path:
    """Return the state directory of a notebook or script, and note in it whose it is.

    ``name`` is that of its ``file``, if known, without the ending. A file outside ``here``, the working directory, is
    not the file of the same name in it. Raises `UsageError` if the folder for state directories on a local disk belongs
    to somebody else.
    """
    root = _root(here, claim=True)
    identity = _identity(name, file, here)
    path = _find(root, name, identity)
    for _ in range(_ATTEMPTS):
        if _is_whose(path, identity):
            break
        try:
            _mark(path, identity)
        except FileExistsError:  # somebody else was faster
            pass
        except OSError:  # it cannot be written: whoever takes the directory says so
            break
        path = _find(root, name, identity)
    return path


def state_of(file: Path) -> Path:
    """Return the default state directory of a notebook or script; change nothing."""
    file = file.absolute()
    beside = _find(_root(file.parent, claim=False), file.stem, _identity(file.stem, file, file.parent))
    if not beside.exists():  # a script that was run from here
        here = Path.cwd()
        identity = _identity(file.stem, file, here)
        elsewhere = _find(_root(here, claim=False), file.stem, identity)
        if _is_whose(elsewhere, identity):
            return elsewhere
    return beside


def served_beside(folder: Path) -> list[Path]:
    """Return the state directories in use by notebooks and scripts that run in a folder; change nothing."""
    folders = sorted(path.parent for path in _root(folder.absolute(), claim=False).glob("*/service.json"))
    return [path for path in folders if is_served(StateDir(path))]


def refuse_exported(name: str, folder: Path) -> None:
    """Raise `UsageError` if the target was exported with its state, and would begin without it."""
    beside = folder / "service.toml"
    try:
        written: dict[str, Any] = tomllib.loads(beside.read_text(encoding="utf-8"))
        required = written.get("service", {}).get("require_state") is True
    except (OSError, ValueError, AttributeError):
        return
    if required:
        raise UsageError(
            f"{name} was exported with its memory, which {beside} names: serve the two, `agent-service serve TARGET "
            "service.toml`, in a notebook with --config service.toml; or give another folder with --state to begin "
            "without that memory"
        )


def _root(here: Path, *, claim: bool) -> Path:
    """Return the folder of state directories for a working directory: in it, or on a local disk if that is not one."""
    if file_system(here) not in NETWORK_FILE_SYSTEMS:
        return here / FOLDER
    base = Path(tempfile.gettempdir()) / f"agent-service-{os.getuid()}"
    if claim:
        base.mkdir(mode=0o700, exist_ok=True)
        if base.is_symlink():
            raise UsageError(f"{base} is a link; give a folder on a local disk as state")
        private_files.require_own(base)
    old = re.sub(r"[^A-Za-z0-9]+", "-", str(here)).strip("-")
    root = _find(base, str(here), str(here), old=old)
    if claim:
        _mark(root, str(here))
    return root


def _identity(name: str, file: Path | None, here: Path) -> str:
    """Return what makes a notebook or script another than its namesakes."""
    if file is not None and file.stem == name and file.parent.resolve() != here.resolve():
        name = os.path.relpath(file.parent.resolve() / name, here.resolve())
    return unicodedata.normalize("NFC", name)


def _find(root: Path, name: str, identity: str, *, old: str | None = None) -> Path:
    """Return the directory of a name; ``old`` is what 0.1.0 called it, if not as notebooks."""
    old = _name_of_0_1_0(name) if old is None else old
    readable = _readable(name)
    # what cannot stand in a readable part tells it from any name that is one
    alone = f"{readable}~{hashlib.sha256(identity.casefold().encode('utf-8', 'replace')).hexdigest()[:10]}"
    for path in (*([root / old] if _is_folder(root / old) else []), root / readable):
        is_there, whose = path.exists(), _whose(path)  # in this order: somebody may be making it
        if whose is None and (not is_there or _is_of_0_1_0(path, name, old)):
            return path
        if _is_whose(path, identity):
            return path
    return root / alone


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # its name is too long for the file system
        return False


def _readable(name: str) -> str:
    """Return a name as a folder can have it: letters, digits and marks of any script, and ``_.-``."""
    kept = "".join(
        character if character.isalnum() or character in "_.-" or unicodedata.category(character)[0] == "M" else " "
        for character in unicodedata.normalize("NFC", name)
    )
    short = "-".join(kept.split()).strip("-.").encode()[:_MOST_BYTES].decode("utf-8", "ignore")
    return short or "notebook"


def _name_of_0_1_0(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")


def _is_of_0_1_0(path: Path, name: str, old: str) -> bool:
    """Return whether a directory without a mark is what 0.1.0 made for this name, and for no other file that is here.

    Of names that are not ASCII several had one directory: none of them finds it again.
    """
    if path.name == name:
        return True
    others = (path.parent.parent / f"{path.name}{suffix}" for suffix in (".ipynb", ".py"))
    return path.name == old and name.isascii() and not any(other.exists() for other in others)


def _whose(path: Path) -> str | None:
    try:
        identity: object = json.loads(private_files.read(path / _MARK, own=False))
    except (OSError, UsageError, ValueError):
        return None
    return identity if isinstance(identity, str) else None


def _is_whose(path: Path, identity: str) -> bool:
    # where the case does not count for the file system, it does not for the notebook's file either
    whose = _whose(path)
    return whose is not None and whose.casefold() == identity.casefold()


def _mark(path: Path, identity: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _make_marked(path, identity)
    elif _whose(path) is None:
        private_files.create(path / _MARK, json.dumps(identity))


def _make_marked(path: Path, identity: str) -> None:
    """Make a directory that has its mark from the first moment; `FileExistsError` when somebody else makes one."""
    unnamed = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    try:
        private_files.create(unnamed / _MARK, json.dumps(identity))
        unnamed.rename(path)
    except OSError as error:
        shutil.rmtree(unnamed)
        if path.exists():
            raise FileExistsError(path) from error
        raise
