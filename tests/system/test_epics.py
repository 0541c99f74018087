"""Variables of a start-up script as PVs, read and set by a real client of Channel Access."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from beam_ioc import BeamIoc
from services import wait_until
from test_startup_scripts import SCRIPT, Site

from agent_service.client import Client

MORE = """
    from agent_service import context

    class Nameless(str):
        def upper(self):
            raise RuntimeError("no name for a PV")

    writers = ["nobody"]
    register_variable(Nameless("odd"), globals(), "_v", pv_type="int")
    register_variable("label", {"k": "a"}, "k", pv_type="str")
    register_variable(
        "writer",
        getter=lambda: writers[-1],
        setter=lambda value: writers.append(f"{context.acting()} {context.may_approve()}"),
        pv_type="str",
    )
"""

CLIENT = """
    import sys
    from caproto.sync.client import read, write
    name, *values = sys.argv[1:]
    if values:
        answer = write(name, eval(values[0]), notify=True, timeout=10, repeater=False)
        print("written" if answer.status.success else answer.status.name)
    else:
        data = read(name, timeout=10, repeater=False).data
        print(data[0].decode() if isinstance(data[0], bytes) else [float(one) for one in data])
"""


@pytest.fixture
def site(command):
    made = Site(command)
    made.write("site.py", textwrap.dedent(SCRIPT) + textwrap.dedent(MORE))
    made.write("client.py", CLIENT)
    command.environment |= BeamIoc().env  # a free port of its own
    yield made
    made.close()


def ask(site, *arguments):
    done = subprocess.run(
        [sys.executable, "client.py", *arguments],
        cwd=site.command.folder,
        env=site.command.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip() or done.stderr.splitlines()[-1]


def test_variables_are_pvs_with_a_state_a_heartbeat_and_a_stop(site):
    site.command.environment |= {"BS_AGENT_START_IOC_SERVER": "yes", "BS_AGENT_IOC_PREFIX": "bl"}
    site.serve("--legacy", "site.py")
    wait_until(lambda: ask(site, "bl:DEPTH_RBV") == "[20.0]", within_s=60)
    assert ask(site, "bl:DEPTH", "5.5") == "written"
    assert site.get("depth") == 5.5
    wait_until(lambda: ask(site, "bl:DEPTH_RBV") == "[5.5]")
    site.set("depth", 7)
    wait_until(lambda: ask(site, "bl:DEPTH") == "[7.0]")
    assert ask(site, "bl:LABEL_RBV") == "a"  # behind a variable that cannot be a PV
    assert ask(site, "bl:WRITER", "'anything'") == "written"
    assert site.get("writer") == "epics False"  # who writes a PV gives no person's word
    site.set("writer", 1)
    assert site.get("writer") == "owner True"
    assert ask(site, "bl:DEPTH_RBV", "1") != "written"
    assert site.get("depth") == 7
    assert ask(site, "bl:SERVICE_STATE") == "idle"
    first = ask(site, "bl:SERVICE_HEARTBEAT")
    wait_until(lambda: ask(site, "bl:SERVICE_HEARTBEAT") != first)
    assert ask(site, "bl:SERVICE_STOP", "1") == "written"
    with Client.from_state(site.command.folder / ".agent-service" / "site") as client:
        assert client.queue().state == "held"
    wait_until(lambda: ask(site, "bl:SERVICE_STATE") == "held")
    assert site.command.stop(site.process)[0] == 0
