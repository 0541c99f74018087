"""Sink ``blueapi``: plans for the RunEngine of a beamline's blueapi, over its REST API.

`sink` is the sink and `line` its queue of plans; `remote_task` follows one plan to its end; `rest` is the API, and
`peer` what blueapi has.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from agent_service.plans.sinks.blueapi.peer import BlueapiPeer
from agent_service.plans.sinks.blueapi.rest import TOKEN, BlueapiRest, token_from

if TYPE_CHECKING:
    from agent_service.plans.sinks.blueapi.config import BlueapiSection


def blueapi_of(section: BlueapiSection) -> tuple[BlueapiRest, BlueapiPeer]:
    """Return the blueapi that a configuration names; its token comes from the file, or else from the environment."""
    token = partial(token_from, os.environ.get(TOKEN), section.token_file)
    return BlueapiRest(section.url, token), BlueapiPeer(section.url, token)
