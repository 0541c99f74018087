"""``agent-service open``: the page of a running service, in this machine's browser, logged in."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from agent_service.cli._address import StateOption, service_at

if TYPE_CHECKING:
    from agent_service.client import Client


def open_page(
    url: Annotated[str | None, typer.Argument(help="Address of the service; default: AGENT_SERVICE_URL.")] = None,
    state: StateOption = None,
) -> None:
    """Open the page of a running service in the browser, logged in with the key that `status` finds."""
    with service_at(url, state) as client:
        address = page_address(client)
    if webbrowser.open(address):
        print("the page is open in the browser")
    else:
        print(f"no browser can be opened here; within a minute, and once: {address}")


def page_address(client: Client) -> str:
    """Return where a browser is logged in once, within a minute: with a code that no request's address holds."""
    return f"{client.url}/#code={client.login_code().code}"
