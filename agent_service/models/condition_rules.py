"""The language of ``[conditions]``: ``ring_current > 100``, or ``shutter == "open"``, of signals by name.

It is that of `guardrail_rules`, and beside it the comparison of one signal with a text.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_service.models.guardrail_rules import NotARule, Rule, parse, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_TEXT: Final = re.compile(
    r"""\s*(?:`(?P<quoted>[^`]+)`|(?P<plain>[^\W\d]\w*(?:\.\w+)*))\s*(?P<sign>==|!=)\s*(?P<q>['"])(?P<text>.*)(?P=q)\s*"""
)

_NUMBER: Final = re.compile(r"-?[\d.]+(e[+-]?\d+)?")
_QUOTED: Final = re.compile(r"""['"]|\bis\b""")
_ABOUT_TEXTS: Final = '; a signal is compared with a text by == or != in a rule of its own, as shutter == "open"'


@dataclass(frozen=True, slots=True)
class ConditionRule:
    """A rule of signals: as it was written, the signals that it names, in order, and what it means."""

    text: str
    names: tuple[str, ...]
    of_numbers: Rule | None = None
    equal: bool = True
    word: str = ""

    @property
    def needs(self) -> str:
        """What has to be so, for a sentence that has named the signal already where it is one: ``> 100``."""
        bare = self.text.removeprefix("`").removeprefix(self.names[0]).removeprefix("`").strip()
        return bare if len(self.names) == 1 and bare[:1] in "<>=!" else self.text

    def holds(self, values: Mapping[str, float | str]) -> bool:
        """Return whether it holds of the signals' values; what cannot be judged does not."""
        if self.of_numbers is None:
            value = values[self.names[0]]
            if isinstance(value, str):
                return (value == self.word) is self.equal
            if not _NUMBER.fullmatch(self.word):
                return False  # an enumeration that says its number: nobody knows what it calls that
            return (shown(value) == self.word) is self.equal
        numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
        return not self.of_numbers.why_not(numbers)


@functools.lru_cache(maxsize=256)
def parse_condition(text: str) -> ConditionRule:
    """Return the rule that a text says; raises `NotARule`, as `parse`, when it is none.

    Examples
    --------
    >>> parse_condition("ring_current > 100").needs
    '> 100'
    >>> parse_condition("shutter == 'open'").holds({"shutter": "closed"})
    False
    """
    if match := _OF_TEXT.fullmatch(text):
        name = (match["quoted"] or match["plain"]).strip()
        return ConditionRule(text.strip(), (name,), equal=match["sign"] == "==", word=match["text"])
    try:
        rule = parse(text)
    except NotARule as error:
        raise NotARule(_of_signals(str(error)) + (_ABOUT_TEXTS if _QUOTED.search(text) else "")) from None
    return ConditionRule(rule.text, rule.names, of_numbers=rule)


def _of_signals(message: str) -> str:
    """Return what is wrong with a rule of guardrails in the words of one of signals."""
    message = message.replace("names no actuator, so it says nothing of any point", "names no signal")
    return message.replace("actuators", "signals")


def quoted(name: str) -> str:
    """Return a signal's name as a rule takes it."""
    return name if all(part.isidentifier() for part in name.split(".")) else f"`{name}`"
