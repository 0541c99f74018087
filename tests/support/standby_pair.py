"""Services in processes of their own that share a journal in PostgreSQL: one leads, the others stand by."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import httpx
from queue_service import free_ports
from services import wait_until

KEY = "k" * 32
SUPPORT = Path(__file__).parent
TOML = """
[service]
port = {port}
catalog = "none"
[journal]
url = "{url}"
standby = true
lease_s = 1
[sink]
kind = "claim"
{more}
"""


class Serving:
    """One of the services."""

    def __init__(self, folder, *, url, more=""):
        folder.mkdir()
        [self.port] = free_ports(1)
        (folder / "service.toml").write_text(TOML.format(port=self.port, url=url, more=more))
        self.folder = folder
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers={"Authorization": f"Apikey {KEY}"}, timeout=60
        )
        self.child = None

    def start(self):
        path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
        with (self.folder / "log").open("a") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "agent_service", "serve", "service.toml"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": path, "AGENT_SERVICE_API_KEY": KEY},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def readyz(self):
        with contextlib.suppress(httpx.HTTPError):
            return self.http.get("/readyz")
        return None

    def until_ready(self):
        wait_until(
            lambda: (said := self.readyz()) is not None and said.status_code == 200,
            within_s=120,
            what=lambda: f"readiness: {(self.folder / 'log').read_text()[-2000:]}",
        )

    def until_standing_by(self):
        wait_until(lambda: (said := self.readyz()) is not None and "standing by" in said.text, within_s=120)

    def get(self, path):
        answer = self.http.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, body=None):
        answer = self.http.post(f"/api/v1/{path}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def close(self):
        self.http.close()
        if self.child is not None:
            self.child.kill()
            self.child.wait(60)
