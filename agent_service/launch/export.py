"""Exports a prototype as a folder that runs on another machine, without Jupyter and this machine's paths and keys."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from importlib import metadata
from string import Template
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from agent_service.errors import UsageError, texts
from agent_service.journal import version_of
from agent_service.launch.notebook_file import code_cells
from agent_service.state_dir import StateDir, private_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SERVICE: Final = Template("""# exported from $source; `agent-service check service.toml` says what is wrong with it
[service]
host = "127.0.0.1"
port = 8000
state = "state"
${memory}catalog = $catalog
""")

_UNIT: Final = Template("""# systemd unit: copy it to /etc/systemd/system, where the folder is /opt/agents/$name
[Unit]
Description=agent service $name
After=network-online.target

[Service]
User=agents
WorkingDirectory=/opt/agents/$name
ExecStart=/opt/agents/$name/.venv/bin/agent-service serve $systemd service.toml
Restart=on-failure
TimeoutStopSec=60
NoNewPrivileges=true
ProtectSystem=strict
ReadWritePaths=/opt/agents/$name

[Install]
WantedBy=multi-user.target
""")

_README: Final = Template("""Install: `python3.11 -m venv .venv && .venv/bin/python -m pip install -r requirements.txt`
Serve: `.venv/bin/agent-service serve $target service.toml`; agent-service.service does it, in /opt/agents/$name.
$last
""")

_PACKAGE: Final = "bluesky-agent-service"
_MAGIC: Final = re.compile(r"^\s*%agent_serve\b(.*)$", re.MULTILINE)
_STARTUP: Final = re.compile(r"--startup[ =](\S+)")
_REFERENCE: Final = re.compile(r"^(?:--\w+=)?([A-Za-z_][\w.]*):[A-Za-z_][\w.]*$")


def export(target: Path, folder: Path, *, state: Path | None = None, catalog: str | None = None) -> list[str]:
    """Write a notebook or script, and what it needs, into a folder that is new or empty; return the files in it.

    The folder gets a consistent copy of the journal in ``state``, if given, without keys; its agents come back paused,
    so that two services never steer one motor. ``catalog``, by default ``embedded``, goes into service.toml. Raises
    `UsageError`, and writes nothing, if the target cannot be read, the folder is not empty, or ``state`` holds no
    journal.
    """
    target, folder = target.absolute(), folder.absolute()
    if target.suffix not in (".ipynb", ".py") or not target.is_file():
        raise UsageError(f"{target} is no notebook or script; give NOTEBOOK.ipynb or SCRIPT.py")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and not empty; give another folder")
    journal = None if state is None else StateDir(state).journal
    if journal is not None and not journal.is_file():
        raise UsageError(f"there is no journal in {state}; name the state directory of the service with --state")
    if journal is not None:
        _check(journal)
    code = _code(target)
    modules = dict(_local_modules(code, target.parent, seen={target.stem}))
    needed = _distributions(_imported(code, *modules.values()))
    making = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        _write_target(target, making / target.name)
        for path in modules:
            _copy(path, target.parent, making)
        pins = [_pinned(package, making / "wheels") for package in needed]
        _write(making, target, pins, catalog=catalog or "embedded", with_state=journal is not None)
        if journal is not None:
            _copy_state(journal, making / "state")
        if folder.exists():
            folder.rmdir()
        making.rename(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _code(target: Path) -> str:
    """Return the Python of a notebook or script, with the lines that are not Python left out."""
    if target.suffix == ".py":
        return target.read_text(encoding="utf-8")
    return "\n".join(cell.source for cell in code_cells(target) if cell.runs_headless)


def _trees(code: str) -> Iterator[ast.AST]:
    """Yield what can be parsed: the whole, or else each block of lines between magics and shell commands."""
    python = "\n".join("" if line.lstrip().startswith(("%", "!", "?")) else line for line in code.splitlines())
    try:
        yield ast.parse(python)
    except SyntaxError:
        for block in python.split("\n\n"):
            try:
                yield ast.parse(block)
            except SyntaxError:
                continue


def _imported(*codes: str) -> set[str]:
    """Return the names of the modules that code imports, or names: as ``module:attribute``, or as startup."""
    names: set[str] = set()
    for code in codes:
        for node in (node for tree in _trees(code) for node in ast.walk(tree)):
            match node:
                case ast.Import():
                    names |= {alias.name for alias in node.names}
                case ast.ImportFrom(module=str(module), level=0):
                    names.add(module)
                case ast.keyword(arg="startup", value=ast.Constant(value=str(startup))):
                    names.add(startup.removesuffix(".py"))
                case ast.keyword(arg="startup", value=ast.List(elts=parts) | ast.Tuple(elts=parts)):
                    values = [part.value for part in parts if isinstance(part, ast.Constant)]
                    names |= {value.removesuffix(".py") for value in values if isinstance(value, str)}
                case ast.Constant(value=str(text)):
                    names |= set(_REFERENCE.findall(text))
                case _:
                    pass
        for line in _MAGIC.findall(code):
            names |= {startup.strip("\"'").removesuffix(".py") for startup in _STARTUP.findall(line)}
            names |= {name for word in line.split() for name in _REFERENCE.findall(word.strip("\"'"))}
    return names


def _local_modules(code: str, folder: Path, *, seen: set[str]) -> Iterator[tuple[Path, str]]:
    """Yield the modules beside the prototype that it imports, and those that these import, with their code."""
    for name in sorted({module.partition(".")[0] for module in _imported(code)} - seen):
        seen.add(name)
        file, package = folder / f"{name}.py", folder / name
        paths = [file] if file.is_file() else sorted(package.rglob("*.py")) if package.is_dir() else []
        for path in paths:
            text = path.read_text(encoding="utf-8")
            yield path, text
            yield from _local_modules(text, folder, seen=seen)


def _write_target(target: Path, path: Path) -> None:
    """Copy a notebook without its outputs, or a script as it is."""
    if target.suffix == ".py":
        shutil.copyfile(target, path)
        return
    notebook: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell.get("cell_type") == "code":
            cell.update(outputs=[], execution_count=None)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _copy(path: Path, base: Path, folder: Path) -> None:
    copied = folder / path.relative_to(base)
    copied.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copied)


def _write(folder: Path, target: Path, pins: list[str], *, catalog: str, with_state: bool) -> None:
    words = {
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", target.stem).strip("-") or "prototype",
        "target": shlex.quote(target.name),
        # systemd's own quotes: https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html
        "systemd": json.dumps(target.name, ensure_ascii=False).replace("%", "%%").replace("$", "$$"),
        "source": texts.one_line(target.name),
    }
    last = (
        "Its memory is in state/: it does not start without. "
        "Agents that ran arrive paused; stop the other service, then resume them."
        if with_state
        else "It begins without memory; what it measures is kept in state/."
    )
    memory = "require_state = true  # its agents' memory: do not begin without\n" if with_state else ""
    (folder / "service.toml").write_text(
        _SERVICE.substitute(words, catalog=json.dumps(catalog), memory=memory), encoding="utf-8"
    )
    (folder / "agent-service.service").write_text(_UNIT.substitute(words), encoding="utf-8")
    (folder / "README.md").write_text(_README.substitute(words, last=last), encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")


def _check(journal: Path) -> None:
    """Raise `UsageError` unless it is a journal that the service of this version would read."""
    with contextlib.closing(sqlite3.connect(journal)) as file:
        try:
            known = version_of(file, journal) is not None
        except sqlite3.Error as error:
            raise UsageError(f"the journal {journal} cannot be read: {error}; name another with --state") from None
    if not known:
        raise UsageError(f"{journal} holds no journal; name the state directory of the service with --state")


def _copy_state(journal: Path, state: Path) -> None:
    """Copy a journal that a service may be writing, and mark that its agents arrive."""
    arriving = StateDir(state)
    state.mkdir(mode=0o700)
    private_files.touch(arriving.journal)
    source, copy = sqlite3.connect(journal), sqlite3.connect(arriving.journal)
    try:
        source.backup(copy)
    finally:
        source.close()
        copy.close()
    private_files.touch(arriving.arrival)


# what is needed from elsewhere: the packages that are installed here, at their versions ------------------------------


def _distributions(modules: set[str]) -> list[metadata.Distribution]:
    """Return this package, then those that bring modules, and all that they need, by name.

    Modules that no installed package brings are passed over.
    """
    providers = metadata.packages_distributions()
    roots = {_normal(package) for name in modules for package in providers.get(name.partition(".")[0], ())}
    packages: dict[str, metadata.Distribution] = {}
    waiting = [_normal(_PACKAGE), *sorted(roots)]
    while waiting:
        name = waiting.pop()
        if name in packages:
            continue
        try:
            packages[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        waiting += [_normal(needed) for needed in _needed(packages[name])]
    return [packages[name] for name in sorted(packages, key=lambda name: (name != _normal(_PACKAGE), name))]


def _needed(package: metadata.Distribution) -> Iterator[str]:
    from packaging.requirements import Requirement  # noqa: PLC0415 - only an export needs it

    for text in package.requires or ():
        requirement = Requirement(text)
        extras = {"", "standard", "client", "server"}  # those of uvicorn and tiled that we ask for
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement.name


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned(package: metadata.Distribution, wheels: Path) -> str:
    """Return a pinned requirement, which names no index, of an installed package.

    One that was installed from a folder, which no index has, is put into ``wheels``, beside the requirements; raises
    `UsageError` when no wheel of it could be built.
    """
    name = package.metadata["Name"]
    origin: dict[str, Any] = json.loads(package.read_text("direct_url.json") or "{}")
    if "dir_info" not in origin:
        return f"{name}=={package.version}"
    source = url2pathname(urlsplit(str(origin["url"])).path)
    wheels.mkdir(exist_ok=True)
    before = set(wheels.iterdir())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    made = set(wheels.iterdir()) - before
    if done.returncode != 0 or not made:
        why = (done.stderr.strip().splitlines() or ["pip does not say why"])[-1]
        raise UsageError(f"{name} was installed from {source}, and no wheel of it could be built: {why}")
    return f"./wheels/{made.pop().name}"
