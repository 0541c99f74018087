"""Servers in processes of their own, and a client that is cheaper than what it measures."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "support"), str(ROOT)])}


@contextlib.contextmanager
def process(*args, env=None):
    """Run a Python program; it is ended by SIGTERM, then by SIGKILL."""
    child = subprocess.Popen(
        [sys.executable, *args],
        env={**ENV, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


@contextlib.contextmanager
def bare(folder, answer="{}"):
    """Run the bare application; gives its port and process."""
    file = Path(folder) / f"port-{time.monotonic_ns()}"
    with process("-m", "tests.benchmarks.bare", str(file), env={"BARE_ANSWER": answer}) as child:
        while not (file.exists() and file.read_text()):
            time.sleep(0.001)
        port = int(file.read_text())
        while socket.socket().connect_ex(("127.0.0.1", port)):  # bound, not listening yet
            time.sleep(0.001)
        yield port, child


def write_config(folder, *, catalog="none", startup=None, apart=False, cpus=()):
    """Write a service.toml into a folder of its own, and return its path."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = Path(folder) / "service.toml"
    file.write_text(
        f'[service]\ncatalog = "{catalog}"\n'
        + (f'[run_engine]\nstartup = "{startup}"\nprocess = {str(apart).lower()}\n' if startup else "")
        + (f"cpu_affinity = {list(cpus)}\n" if cpus else "")
    )
    return file


@contextlib.contextmanager
def service(folder, *, catalog="none", startup="rig", apart=False, cpus=()):
    """Run the service; gives its port, key and process."""
    folder = Path(folder)
    file = write_config(folder, catalog=catalog, startup=startup, apart=apart, cpus=cpus)
    with process("-m", "agent_service", "serve", str(file), "--port", "0") as child:
        for line in child.stdout:
            if line.startswith("Serving at "):
                break
        port = int(line.rsplit(":", 1)[1])
        yield port, (folder / "service.state" / "api_key").read_text().strip(), child


def client(port, key):
    """Return a blocking client of a service."""
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port}/api/v1", headers={"Authorization": f"Apikey {key}"}, timeout=120
    )


class Requests:
    """The same request again and again over kept connections, at the least cost to the machine that is measured."""

    def __init__(self, port, path, *, headers=(), method="GET", body=b""):
        self._port = port
        told = [("Host", "localhost"), ("Content-Length", len(body)), ("Content-Type", "application/json"), *headers]
        head = "".join(f"{name}: {value}\r\n" for name, value in told)
        self._bytes = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body

    async def _ask(self, reader, writer):
        writer.write(self._bytes)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")), answer
        at = answer.lower().index(b"content-length:") + 15
        await reader.readexactly(int(answer[at : answer.index(b"\r\n", at)]))

    async def per_second(self, *, seconds=2.0, connections=8):
        """Return how many are answered in a second, by as many connections as wait for an answer each."""
        counts, end = [0] * connections, time.perf_counter() + seconds

        async def one(n):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            while time.perf_counter() < end:
                await self._ask(reader, writer)
                counts[n] += 1
            writer.close()

        began = time.perf_counter()
        await asyncio.gather(*(one(n) for n in range(connections)))
        return sum(counts) / (time.perf_counter() - began)

    async def latencies(self, *, rate=100, seconds=5.0, connections=16):
        """Return each answer's delay in s, from when its request was due: a request that had to wait counts too."""
        idle = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(connections)]
        free, found, began = asyncio.Queue(), [], time.perf_counter()
        for one in idle:
            free.put_nowait(one)

        async def ask(due):
            connection = await free.get()
            await self._ask(*connection)
            found.append(time.perf_counter() - due)
            free.put_nowait(connection)

        tasks = []
        for n in range(int(rate * seconds)):
            due = began + n / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.ensure_future(ask(due)))
        await asyncio.gather(*tasks)
        for _, writer in idle:
            writer.close()
        return sorted(found)
