"""A service in a process of its own, as ``agent-service serve`` makes it, to be ended in any way."""

import os
import re
import subprocess
import sys
from pathlib import Path

from agent_service import Client

SUPPORT = Path(__file__).parent
NOBODY = "http://127.0.0.1:9/api/v1"  # a catalogue that is never there: what is spooled stays
TOML = """
[service]
port = 0
catalog = "{catalog}"
[run_engine]
startup = "{startup}"
"""


class Process:
    """A service in a process of its own, on one state directory across its lives."""

    def __init__(self, folder: Path, catalog: str = "none", *, startup: str = "rig", path: Path = SUPPORT) -> None:
        self.folder = folder
        self.startup, self.path = startup, path
        self.state = folder / "service.state"
        self.child = None
        self.configure(catalog)

    def configure(self, catalog: str) -> None:
        (self.folder / "service.toml").write_text(TOML.format(catalog=catalog, startup=self.startup))

    def start(self, **options) -> Client:
        log = self.folder / "service.err"
        with log.open("w") as err:  # a pipe that nobody reads would be full one day, and the service wait for it
            self.child = subprocess.Popen(
                [sys.executable, "-m", "agent_service", "serve", "service.toml"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(self.path), os.environ.get("PYTHONPATH", "")])},
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
        line = self.child.stdout.readline()
        assert re.match("Serving at ", line), log.read_text()
        return Client.from_state(self.state, **options)

    def end(self, number: int) -> tuple[int, str]:
        self.child.send_signal(number)
        self.child.communicate(timeout=15)
        return self.child.returncode, (self.folder / "service.err").read_text()

    def kill(self) -> None:
        """End it, however it is."""
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.communicate()
