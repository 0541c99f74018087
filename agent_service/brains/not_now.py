"""What a brain raises in ``suggest`` when it has no point now and will have one when it was told more."""

from __future__ import annotations


class NotNow(Exception):
    """No point now: the brain waits for outcomes of what it suggested, a generation for example.

    An empty list means that there is nothing more, and ends the agent. With this it is asked again when it was told an
    outcome or a failure. The text says what it waits for. A class of this name in another package counts as well, so
    that a brain need not import this one.

    Examples
    --------
    >>> raise NotNow("waits for 3 more outcomes of this generation")
    Traceback (most recent call last):
    agent_service.brains.not_now.NotNow: waits for 3 more outcomes of this generation
    """


def is_not_now(error: BaseException) -> bool:
    """Return whether an error says so: it is of a class ``NotNow``, whosever that is.

    Examples
    --------
    >>> is_not_now(NotNow("later")), is_not_now(ValueError("never"))
    (True, False)
    """
    return any(base.__name__ == NotNow.__name__ for base in type(error).__mro__)
