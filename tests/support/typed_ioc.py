"""A caproto IOC whose channels are no floats: ``python typed_ioc.py``; it answers ``ready``, and ends with its stdin.

A record of several states, a text of up to 40 characters, whole numbers, a switch.
"""

import asyncio
import logging
import os
import sys
from pathlib import Path

from beam_ioc import LOOPBACK, BeamIoc

FILTERS = ["none", "Al", "Ti"]


class TypedIoc(BeamIoc):
    """It, in a process of its own, as `BeamIoc`."""

    program = Path(__file__)


def main():
    from caproto import ChannelType
    from caproto.server import PVGroup, pvproperty, run

    logging.disable(logging.WARNING)  # it logs to stdout

    class Typed(PVGroup):
        filt = pvproperty(name="filt", value="none", enum_strings=FILTERS, dtype=ChannelType.ENUM, record="mbbi")
        label = pvproperty(name="label", value="", dtype=ChannelType.STRING)
        turns = pvproperty(name="turns", value=0, dtype=ChannelType.LONG)
        lamp = pvproperty(name="lamp", value="off", enum_strings=["off", "on"], dtype=ChannelType.ENUM, record="bi")

        @turns.startup
        async def turns(self, instance, async_lib):
            print("ready", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
            os._exit(0)

    run(Typed(prefix="typed:").pvdb, interfaces=[LOOPBACK])


if __name__ == "__main__":
    main()
