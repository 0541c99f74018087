"""Tiled profiles: names under which the files of a site, or of a user, keep where their Tiled servers are.

Which files those are, and which of two of one name counts, Tiled says: ``tiled profile paths``, ``tiled profile list``.
"""

# pyright: reportUnknownMemberType=false
# a boundary: tiled has no types
from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from agent_service.errors import UsageError, texts
from agent_service.models.addresses import split_address
from agent_service.models.spelling import near

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "profile:"
"""What stands before the name of a profile where an address may stand, too."""


class TiledProfile(NamedTuple):
    """Where a server is, and how it is asked."""

    uri: str  # of the server or of a node in its tree; it may hold a key
    headers: Mapping[str, str] = {}
    verify: bool = True  # whether its certificate has to be good


def named(catalog: str) -> str | None:
    """Return the name of the profile that a text names as ``profile:NAME``, None for any other text."""
    return catalog.removeprefix(PREFIX) if catalog.startswith(PREFIX) else None


def read(name: str) -> TiledProfile:
    """Return a profile, as the files say now. The first call imports Tiled's reader, which may take seconds.

    Raises
    ------
    UsageError
        There is none of that name, or it says of no server where it is.
    """
    from tiled import profiles  # noqa: PLC0415 - costs seconds

    profiles.load_profiles.cache_clear()
    with warnings.catch_warnings(record=True) as skipped:
        warnings.simplefilter("always")
        try:
            found = cast("Mapping[str, tuple[Any, Mapping[str, Any]]]", profiles.load_profiles())
        except OSError as error:
            raise UsageError(f"Tiled's profiles cannot be read: {error}") from None
    if name not in found:
        folders = ", ".join(str(path) for path in profiles.paths)
        skips = "".join(f"; {texts.one_line(str(warning.message))}" for warning in skipped)
        raise UsageError(
            f"there is no Tiled profile {name!r}; {near(name, found)}they are looked for in {folders}{skips}"
        )
    file, content = found[name]
    if "direct" in content:
        raise UsageError(
            f"Tiled profile {name!r} of {file} is for the process that opens it alone (direct); serve that catalogue, "
            "and take a profile with its uri"
        )
    uri, example = str(content.get("uri") or ""), "https://tiled.example.org"
    try:
        if split_address(uri, example=example).scheme not in ("http", "https"):
            raise ValueError(f"must begin with http:// or https://: write {example}")  # noqa: TRY301
    except ValueError as error:
        raise UsageError(f"the uri of Tiled profile {name!r} of {file} {error}") from None
    headers = cast("Mapping[str, object]", content.get("headers") or {})
    return TiledProfile(uri, {key: str(value) for key, value in headers.items()}, content.get("verify") is not False)
