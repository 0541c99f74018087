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

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "support")}


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


def write_config(folder, *, catalog="none", startup=None):
    """Write a service.toml into a folder of its own, and return its path."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = Path(folder) / "service.toml"
    file.write_text(
        f'[service]\ncatalog = "{catalog}"\n' + (f'[run_engine]\nstartup = "{startup}"\n' if startup else "")
    )
    return file


@contextlib.contextmanager
def service(folder, *, catalog="none", startup="rig"):
    """Run the service; gives its port, key and process."""
    folder = Path(folder)
    file = write_config(folder, catalog=catalog, startup=startup)
    with process("-m", "agent_service", "serve", str(file), "--port", "0") as child:
        for line in child.stdout:
            if line.startswith("Serving at "):
                break
        port = int(line.rsplit(":", 1)[1])
        yield port, (folder / "service.state" / "api_key").read_text().strip(), child


async def requests_per_second(port, path, *, headers=(), seconds=3.0, connections=8):
    """Return requests/s of keep-alive GETs on several connections; every answer must be a 200."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode()
    counts = [0] * connections
    end = time.perf_counter() + seconds

    async def one(n):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while time.perf_counter() < end:
                writer.write(request)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200"), answer
                at = answer.lower().index(b"content-length:") + 15
                await reader.readexactly(int(answer[at : answer.index(b"\r\n", at)]))
                counts[n] += 1
        finally:
            writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(connections)))
    return sum(counts) / (time.perf_counter() - began)
