"""Makes foreign texts fit for a log, a terminal and a status: without controls, of sensible length."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path
from typing import Final

_OURS: Final = f"{Path(__file__).parents[1]}{os.sep}"

MAX_LINE: Final = 2000
"""Longest message of an error or reason, in characters."""

MAX_TRACE: Final = 20_000
"""Longest traceback, in characters."""

_CONTROLS: Final = re.compile(
    # C0 but for tab and newline, DEL and C1; marks that turn the direction of what follows; lone surrogates
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

_WORDS: Final = r"(?:api|access|auth|refresh|id|session|client|bot|private|secret)"
_VALUE: Final = r"(?:b?\\?['\"])?(?:(?:apikey|api-key|bearer|basic|token|digest|negotiate|key)\s+)?"
_SECRETS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # the header, also as a mapping or a list of pairs of bytes shows it; of a digest all that follows
        r"(?P<before>\bauthorization\\?['\"]?\s*[:=,]\s*b?\\?['\"]?digest\s+)[^\r\n]+",
        r"(?P<before>\bauthorization\\?['\"]?\s*[:=,]\s*b?\\?['\"]?(?:[a-z][\w-]*\s+(?=\S))?)[^\s'\"\\]+",
        r"(?P<before>\bcookie\\?['\"]?\s*[:=,]\s*b?\\?['\"]?)[^'\"\r\n\\]+",
        # a scheme, wherever; words that are English too only before what looks like a key
        r"(?P<before>\b(?:apikey|api-key|bearer)\s+)[^\s&'\"\\,;)]+",
        r"(?P<before>\b(?:basic|token|negotiate)\s+)(?=[^\s&'\"]*[\d=+/])[\w+/=.~-]{8,}",
        # name = value: api_key, x-api-key, access_token, client_secret, password
        (
            rf"(?P<before>(?:\b|_)(?:x-)?(?:{_WORDS}[_-]?(?:key|token|secret)|token|secret|passw(?:or)?d|pwd)"
            rf"\\?['\"]?\s*(?:[:=]|,(?=\s*b?['\"]))\s*{_VALUE})[^\s&'\"\\,;)]+"
        ),
        r"(?P<before>[?&]key=)[^\s&'\"]+",
        r"(?P<before>://[^\s/:@]*:)[^\s/@]+(?=@)",  # in a URL
        r"\beyJ[\w-]{8,}(?:\.[\w-]*)*",  # a JSON web token; any part of one, so that no search goes through it twice
        r"\b(?:basp?_)?(?:[0-9a-f]{64}|[0-9a-f]{48})\b",  # as this program and Tiled make them
    )
)
"""How keys look: after a name or a scheme of keys, or by their form."""


def printable(text: str) -> str:
    r"""Return a text with escapes for control characters and for marks that change the direction of writing.

    Newlines and tabs stay: see `one_line`.

    Examples
    --------
    >>> print(printable("\x1b[31mred"))
    \x1b[31mred
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str, *, most: int = MAX_LINE) -> str:
    r"""Return a text as one line that is safe in any terminal, cut at ``most`` characters.

    Examples
    --------
    >>> one_line("first\n  second")
    'first second'
    """
    # cut before it is taken apart too: it may be of many megabytes
    return cut(printable(" ".join(text[: 8 * most].split())) + ("…" if len(text) > 8 * most else ""), most=most)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "run"), counted(20, "run")
    ('1 run', '20 runs')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def describe(error: BaseException) -> str:
    """Return an exception's type and message as one line.

    Examples
    --------
    >>> describe(ValueError("too hot"))
    'ValueError: too hot'
    """
    return f"{type(error).__name__}: {one_line(str(error))}".removesuffix(": ")


def cut(text: str, *, most: int = MAX_LINE) -> str:
    """Return a text of at most ``most`` characters, ending in … if it was cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def cut_middle(text: str, *, most: int = MAX_TRACE) -> str:
    """Return a text of about ``most`` characters, its beginning and end: both matter in a traceback."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters are left out here …\n{text[-half:]}"


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error as text, of about `MAX_LINE` characters, without our frames before others.

    Control characters are shown as escapes.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    return printable(cut_middle("".join(traceback.format_exception(type(error), error, frames)), most=MAX_LINE))


def without_keys(text: str) -> str:
    """Return a text with its keys hidden.

    Examples
    --------
    >>> without_keys("Authorization: Apikey 0123 from ...")
    'Authorization: Apikey *** from ...'
    """
    for pattern in _SECRETS:
        text = pattern.sub(_hidden, text)
    return text


def without_password(url: str) -> str:
    """Return the URL of a database without the passwords in it, also those with characters that a URL has no place for.

    Examples
    --------
    >>> without_password("postgresql://me:se@cret@db/beamline?sslmode=require&password=secret")
    'postgresql://me@db/beamline?sslmode=require'
    """
    url = re.sub(r"(?<=://)([^:@/?]*):[^@]*@([^/?]*@)?", r"\1@", url)
    return re.sub(r"(?<=[?&])(ssl)?password=[^&]*&?", "", url).rstrip("?&")


def _hidden(match: re.Match[str]) -> str:
    return f"{match.groupdict().get('before') or ''}***"
