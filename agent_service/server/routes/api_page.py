"""The API page at ``/docs``, all of it from here: many beamline networks have no internet.

Its addresses are relative, so that it works behind a proxy that puts a path in front, without being told which.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse

from agent_service.errors import NotFound

router = APIRouter(include_in_schema=False)

_OURS: Final = "agent_service.server"
_ASSETS: Final = {"api_page.js": _OURS, "swagger-ui-bundle.js": "fastapi_offline", "swagger-ui.css": "fastapi_offline"}
"""What the page loads, and the package that ships it: of fastapi-offline only Swagger UI's files are used."""

_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'self'"
)


@router.get("/docs")
async def page() -> FileResponse:
    """Return the page."""
    return _file(_OURS, "api_page.html", {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"})


@router.get("/docs-assets/{name}")
async def asset(name: str) -> FileResponse:
    """Return one of the files that the page loads."""
    package = _ASSETS.get(name)
    if package is None:
        raise NotFound(f"the API page has no {name}; it is at /docs")
    return _file(package, name, {"Cache-Control": "no-cache" if package == _OURS else "max-age=86400"})


def _file(package: str, name: str, headers: dict[str, str]) -> FileResponse:
    return FileResponse(str(files(package) / "static" / name), headers=headers)
