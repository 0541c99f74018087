"""A method of somebody else's class, replaced until it is restored."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)


class Override:
    """Replace a method of the class that defines it, from now until `restore`.

    ``around`` is called in its place as ``around(original, self, *args, **kwargs)``.
    """

    def __init__(self, owner: type, name: str, around: Callable[..., Any]) -> None:
        original: Callable[..., Any] = vars(owner)[name]
        self._owner = owner
        self._name = name
        self._original = original
        self._active = True

        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs) if self._active else original(*args, **kwargs)

        self._replacement = replacement
        setattr(owner, name, replacement)

    def restore(self) -> None:
        """Put the original back; a second call does nothing.

        When somebody replaced the method again in the meantime, theirs stays in place, and ours below it only passes
        calls on from now.
        """
        if not self._active:
            return
        self._active = False
        if vars(self._owner).get(self._name) is self._replacement:
            setattr(self._owner, self._name, self._original)
        else:
            _log.info("%s.%s was replaced by somebody else; left as it is", self._owner.__qualname__, self._name)
