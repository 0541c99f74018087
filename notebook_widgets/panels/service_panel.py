"""The live panel of a service: its agents, its queue, its archive; an agent's own panel opens below."""

from __future__ import annotations

from typing import ClassVar, Final

from notebook_widgets.panels.panel import Panel

_AGENTS: Final = "agents?limit=1000"


class ServicePanel(Panel):
    """A live panel of a service; *Open* shows an agent's own panel below.

    Parameters
    ----------
    target
        URL of the service, a client of it (with its key), or anything with a ``client``.

    Examples
    --------
    >>> from notebook_widgets import ServicePanel
    >>> ServicePanel("http://127.0.0.1:8000")  # doctest: +SKIP
    """

    paths: ClassVar = ("service", _AGENTS)

    def __init__(self, target: object) -> None:
        super().__init__(target, "service")

    def summary(self) -> str:
        """Return a line about the service and its agents."""
        return repr(self).strip("<>") if self.answers else ""

    def __repr__(self) -> str:
        items = self.answers.get(_AGENTS, {"items": []})["items"]
        agents = ", ".join(f"{agent['name']} {agent['state']}" for agent in items)
        return f"<ServicePanel of {self.url}: {agents or self.link.get('state')}>"
