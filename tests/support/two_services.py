"""Two services in this process, and a relay of both in a process of its own."""

import contextlib
import os
import subprocess
import sys

import httpx
from httpx_sse import connect_sse
from services import running, wait_until

from agent_service.service.keys import KeyFile, Scope


class Two:
    """A relay, in a process of its own, of two services in this one."""

    def __init__(self, folder, stack, ports=(0, 0)):
        self.ports = ports
        self.states = states = [folder / "one", folder / "two"]
        for state in states:
            state.mkdir(mode=0o700)
        self.keys = [KeyFile(state / "keys.jsonl").create("relay", [Scope.READ])[1] for state in states]
        self.one, self.two = (
            stack.enter_context(running(state, service={"port": port}))
            for state, port in zip(states, ports, strict=True)
        )
        command = [sys.executable, "-m", "agent_service", "relay", f"one={self.one.url}", f"two={self.two.url}"]
        environment = {**os.environ, "AGENT_SERVICE_API_KEY": ",".join(self.keys)}
        few = ["bash", "-c", 'ulimit -Sn 64; exec "$@"', "-"]  # files, as a shell's 1024 are for a thousand followers
        child = subprocess.Popen([*few, *command, "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True)
        stack.callback(child.communicate)
        stack.callback(child.terminate)
        self.url = child.stdout.readline().split()[-1]
        for name in ("one", "two"):
            wait_until(
                lambda name=name: httpx.get(f"{self.url}/{name}/healthz").status_code == 200, within_s=60, what=name
            )

    def get(self, path, *keys):
        headers = {"Authorization": f"Apikey {','.join(keys)}"} if keys else {}
        return httpx.get(f"{self.url}/{path}", headers=headers)

    @contextlib.contextmanager
    def stream(self, path, *keys, last=None, **params):
        headers = {"Authorization": f"Apikey {','.join(keys)}"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        with (
            httpx.Client(base_url=self.url, headers=headers, timeout=30) as http,
            connect_sse(http, "GET", path, params=params) as source,
        ):
            yield source.iter_sse()
