"""The modules and the style of what a browser shows of a service: the same on its page and in a notebook's panels."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

VIEW: Final = (
    "words",
    "fold",
    "dom",
    "records",
    "values",
    "forms",
    "belief",
    "save",
    "actions",
    "shown",
    "model",
    "web",
    "controls",
    "drawing",
    "others",
    "plots",
    "commands",
    "inbox",
    "frame",
    "history",
    "agent_tabs",
    "belief_pictures",
    "compared",
    "front",
    "more_pictures",
    "agent_panel",
    "service_panel",
    "suggestions_panel",
)
"""The modules that both homes have, each after those that it imports."""


def view_file(name: str) -> str:
    """Return the text of a file of the view, as ``fold.js`` or ``panel.css``."""
    return files("agent_service.server").joinpath("static", "view", name).read_text(encoding="utf-8")
