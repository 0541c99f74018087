"""The page at ``/``, for browsers, and the files that it loads: all from here, by addresses that are relative."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse

from agent_service.errors import NotFound
from agent_service.server.auth import KEY, stranger
from agent_service.server.view_files import VIEW

router = APIRouter(include_in_schema=False)

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOLDERS: Final = {
    **{f"{name}.js": "view" for name in VIEW},
    "panel.css": "view",
    **dict.fromkeys(
        ("page.js", "login.js", "new_agent.js", "notices.js", "service_view.js", "page.css", "icon.svg"), "page"
    ),
}
"""The files of the page, and the folder of each."""


@router.get("/")
async def page(request: Request) -> FileResponse:
    """Return the page to a browser; for programs there is nothing here."""
    if "text/html" in request.headers.get("accept", ""):
        return _file("page", "index.html")
    if request.scope.get(KEY) is None:
        raise stranger(showed_key="authorization" in request.headers)
    raise HTTPException(404)


@router.get("/page/{name}")
async def file(name: str) -> FileResponse:
    """Return one of the files that the page loads."""
    folder = _FOLDERS.get(name)
    if folder is None:
        raise NotFound(f"the page has no {name}; it is at /")
    return _file(folder, name)


def _file(folder: str, name: str) -> FileResponse:
    return FileResponse(str(files("agent_service.server") / "static" / folder / name), headers=HEADERS)
