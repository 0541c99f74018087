"""A caproto IOC with the ring current and a shutter: ``python beam_ioc.py``; what is written to it comes on stdin.

It answers ``ready``, and each line of stdin, ``current 0`` or ``shutter closed``, with the time at which that was so;
it ends with its stdin. `BeamIoc` is it, as a test starts it.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"


class BeamIoc:
    """An IOC in a process of its own, on loopback and a free port; a context manager."""

    program = Path(__file__)

    def __init__(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((LOOPBACK, 0))
            port = str(free.getsockname()[1])
        self.env = {
            "OPHYD_CONTROL_LAYER": "caproto",
            "EPICS_CA_ADDR_LIST": LOOPBACK,
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_SERVER_PORT": port,
            "EPICS_CAS_SERVER_PORT": port,
            "EPICS_CAS_INTF_ADDR_LIST": LOOPBACK,
        }
        self.child = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end()

    def start(self):
        self.child = subprocess.Popen(
            [sys.executable, str(self.program)],
            env={**os.environ, **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout.readline() == "ready\n", "the IOC did not start"

    def end(self):
        if self.child is not None:
            self.child.kill()
            self.child.communicate()
            self.child = None

    def put(self, name, value):
        """Set a channel, and return since when it has that value, in seconds since 1970."""
        self.child.stdin.write(f"{name} {value}\n")
        self.child.stdin.flush()
        return float(self.child.stdout.readline())


def main():
    from caproto import AlarmSeverity, AlarmStatus, ChannelType
    from caproto.server import PVGroup, pvproperty, run

    logging.disable(logging.WARNING)  # it logs to stdout

    class Beam(PVGroup):
        current = pvproperty(name="current", value=300.0, units="mA", precision=2)
        shutter = pvproperty(
            name="shutter", value="open", enum_strings=["closed", "open"], dtype=ChannelType.ENUM, record="bi"
        )

        @current.startup
        async def current(self, instance, async_lib):
            print("ready", flush=True)
            loop = asyncio.get_running_loop()
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                name, value = line.split()
                if value.endswith("_ALARM"):
                    severity = AlarmSeverity[value]
                    status = AlarmStatus.READ if severity else AlarmStatus.NO_ALARM
                    await getattr(self, name).alarm.write(severity=severity, status=status)
                else:
                    await getattr(self, name).write(float(value) if name == "current" else value)
                print(getattr(self, name).timestamp, flush=True)
            os._exit(0)

    run(Beam(prefix="ring:").pvdb, interfaces=[LOOPBACK])


if __name__ == "__main__":
    main()
