"""``agent-service keys``: make, list and revoke keys; a running service follows at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_service.cli._address import DEFAULT_STATE, state_named
from agent_service.errors import UsageError

if TYPE_CHECKING:
    from agent_service.service.keys import Key
    from agent_service.state_dir import StateDir

keys = typer.Typer(
    name="keys", help="Make, list and revoke keys; a running service notices at once.", no_args_is_help=True
)

StateOfKeys = Annotated[
    Path, typer.Option("--state", help="State directory of the service, or the service.toml that names it.")
]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Holder of the key; the journal names it beside what the key does.")],
    scopes: Annotated[str, typer.Option(help="Some of read,propose,control,approve,admin, separated by commas.")],
    state: StateOfKeys = Path(DEFAULT_STATE),
) -> None:
    """Make a key and print it once: only its hash is kept."""
    from agent_service.service.keys import KeyFile, scopes_of

    wanted, directory = scopes_of(scopes), _state(state)
    if not directory.path.is_dir():
        print(f"no service has run on {directory.path} yet; it is made now", file=sys.stderr)
    directory.prepare()
    key, secret = KeyFile(directory.keys_file).create(name, wanted)
    print(secret)
    print(
        f"the key of {name}, which may {_scopes_text(key)}; it is shown this once. Use it as the header "
        "'Authorization: Apikey KEY', or in AGENT_SERVICE_API_KEY",
        file=sys.stderr,
    )


@keys.command(name="list")
def list_(state: StateOfKeys = Path(DEFAULT_STATE)) -> None:
    """Show who holds a key, and what it may do."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from agent_service.service.keys import KeyFile

    table = Table("key", "scopes", "made")
    directory = _there(state)
    if directory.key_file.exists():
        table.add_row("owner", "read, propose, control, approve, admin", "at the first start")
    for key in KeyFile(directory.keys_file).read().keys:
        made = "" if key.created_at is None else f"{key.created_at.astimezone():%Y-%m-%d %H:%M}"
        table.add_row(Text(key.name), _scopes_text(key), made)
    Console().print(table)


@keys.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Holder of the key; owner: the key made at the first start.")],
    state: StateOfKeys = Path(DEFAULT_STATE),
) -> None:
    """Revoke a key: its next request is refused, and its open streams end."""
    from agent_service.context import OWNER
    from agent_service.service.keys import KeyFile

    directory = _there(state)
    file = KeyFile(directory.keys_file)
    if name != OWNER:
        file.revoke(name)
    else:
        try:
            file.revoke_secret(OWNER, directory.read_key())
            directory.key_file.unlink()
        except OSError as error:
            raise UsageError(
                f"the owner's key is not in {directory.key_file} ({error.strerror}); one in AGENT_SERVICE_API_KEY ends "
                "when the service is started with another"
            ) from None
        print("the next start of the service makes a new one", file=sys.stderr)
    print(f"revoked the key of {name}")


def _scopes_text(key: Key) -> str:
    from agent_service.service.keys import Scope

    return ", ".join(scope for scope in Scope if scope in key.scopes)


def _state(named: Path) -> StateDir:
    from agent_service.state_dir import StateDir

    return StateDir(state_named(named))


def _there(named: Path) -> StateDir:
    directory = _state(named)
    if not directory.path.is_dir():
        raise UsageError(f"there is no state directory {directory.path}; name one, or a service.toml, with --state")
    return directory
