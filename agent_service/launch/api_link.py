"""A link to the API page, made in the reader's browser: only that knows how it reaches the service."""

from __future__ import annotations

import html
from importlib.resources import files

_AIM = """((link) => apiPage(link.origin).then((there) => {
  if (there) link.href = there; else link.remove();
}))(document.currentScript.previousElementSibling);"""


def javascript() -> str:
    """Return the module whose ``apiPage(url)`` finds the API page of the service at ``url``, or null."""
    return files("agent_service.server").joinpath("static", "api_link.js").read_text(encoding="utf-8")


def anchor(url: str) -> str:
    """Return the link as HTML with a script, which runs in a trusted notebook; else the link leads to ``url``."""
    script = javascript().replace("export ", "")
    href = html.escape(f"{url}/docs")
    return f'<a href="{href}" target="_blank" rel="noopener">API page</a><script>{{\n{script}\n{_AIM}\n}}</script>'
