"""What is far from a notebook, and can be lost: a service in a process of its own, and the network."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

from services import wait_until

from agent_service.client import Client
from agent_service.errors import ServiceError

KEY = "the-key-of-the-beamline"


class Process:
    """`agent-service serve` in a process of its own, begun and ended at will, always at one address."""

    def __init__(self, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
        self._process = None

    def start(self, key=KEY):
        env = {
            **os.environ,
            "AGENT_SERVICE_API_KEY": key,
            "AGENT_SERVICE_SERVICE__CATALOG": "none",
            "AGENT_SERVICE_RUN_ENGINE__STARTUP": "rig",
        }
        command = [sys.executable, "-m", "agent_service", "serve", "--port", str(self.port)]
        with (self.directory / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--state", "state"], cwd=self.directory, env=env, stdout=log, stderr=log
            )
        wait_until(self._answers, within_s=60, what="a service that takes work")

    def _answers(self):
        with contextlib.suppress(ServiceError), Client(self.url) as client:
            return client.ready().ready

    def send(self, number):
        self._process.send_signal(number)

    def end(self, number=signal.SIGKILL):
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


class Relay:
    """A network between a browser and a server on this machine, that can be cut and mended."""

    def __init__(self, port):
        self._to = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._writers = set()
        self.port = 0
        self.mend()

    def mend(self):
        """Let connections through, by the same port as ever."""
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self):
        """End all connections and take no more."""
        self._do(self._cut())

    def close(self):
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0.01)

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
            self._writers |= {writer, far_writer}
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            self._writers -= {writer, far_writer}

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()
