"""A real PostgreSQL for tests, on loopback: started once a session, and paused, killed and filled up by them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psycopg
import pytest

_TABLES = ("facts", "snapshots", "meta")


def binaries():
    """Return the folder of PostgreSQL's programs, or skip; in CI there has to be one: `.ci/postgresql` installs it."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    why = "no PostgreSQL server on this machine: apt-get install postgresql"
    return pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)


class PostgresServer:
    """A server with a data directory of its own. It refuses to run as root, so it runs as nobody there."""

    def __init__(self):
        self._bin = binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._user = {}
        if os.getuid() == 0:
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(self._folder, "nobody", "nogroup")
        self._data = self._folder / "data"
        initdb = [self._bin / "initdb", "-D", self._data, "-A", "trust", "-U", "agents", "-N", "-E", "UTF8"]
        subprocess.run([*initdb, "--locale=C"], cwd=self._folder, check=True, capture_output=True, **self._user)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self._process = None
        self.start()

    def start(self):
        """Start it, if it is not there, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",  # a crash of the server loses nothing by it, only one of the machine
            "shared_buffers": "16MB",
            "max_wal_size": "128MB",
            "autovacuum": "off",
        }
        command = [self._bin / "postgres", "-D", self._data]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self._user
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                with self.connect():
                    return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError((self._folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def connect(self, database="postgres"):
        """Return a connection of a person at a console."""
        return psycopg.connect(self.address(database), autocommit=True, connect_timeout=5)

    def address(self, database):
        return f"postgresql://agents@127.0.0.1:{self.port}/{database}"

    def database(self):
        """Make an empty database, and return the URL of a journal in it."""
        name = f"beamline_{uuid.uuid4().hex[:12]}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://agents@127.0.0.1:{self.port}/{name}"

    def ask(self, url, statement, *values):
        """Return the rows of a statement, as a person at a console sees them."""
        with self.connect(url.rpartition("/")[2]) as connection:
            found = connection.execute(statement, values or None)
            return found.fetchall() if found.description else []

    @contextlib.contextmanager
    def full(self, url):
        """Let the server refuse whatever is written to a journal, as when its disk is full."""
        self.ask(
            url,
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'could not extend file: no space left on device' USING ERRCODE = 'disk_full'; END $$",
        )
        for table in _TABLES:
            self.ask(url, f"CREATE TRIGGER refused BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION refuse()")
        try:
            yield
        finally:
            for table in _TABLES:
                self.ask(url, f"DROP TRIGGER refused ON {table}")

    def _processes(self):
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return [self._process.pid, *map(int, children)]

    @contextlib.contextmanager
    def paused(self):
        """Let it say nothing, while its sockets are open: as a machine that hangs."""
        _stop([self._process.pid])  # it starts no more of them now: one would go on, and answer whoever is connecting
        _stop(self._processes())
        try:
            yield
        finally:
            for pid in self._processes():
                _send(pid, signal.SIGCONT)

    def kill(self):
        """End it as a crash does; `start` brings it back with what was committed."""
        os.kill(self._process.pid, signal.SIGQUIT)
        self._process.wait(60)

    def close(self):
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _stop(pids):
    """Stop processes, and return when they have."""
    for pid in pids:
        _send(pid, signal.SIGSTOP)
    while any(_state(pid) not in "TtZX" for pid in pids):
        time.sleep(0.001)


def _state(pid):
    """Return the state of a process by its letter in /proc, X when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
