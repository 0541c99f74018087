"""As ``queueserver``, where agents measure in sessions: these are ended by people, too."""

from __future__ import annotations

from functools import partial

from . import queueserver

chaos = partial(queueserver.chaos, per_item="session")
