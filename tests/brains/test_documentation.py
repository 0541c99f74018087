"""docs/brains.md: each service.toml is run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent_service.client import Client

pytestmark = pytest.mark.timeout(300)
TEXT = (Path(__file__).parents[2] / "docs" / "brains.md").read_text(encoding="utf-8")
PAGES = dict(re.findall(r"^```toml\n# (\w+)\.toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", PAGES)
def test_a_service_toml_runs(page, tmp_path):
    (tmp_path / "service.toml").write_text(PAGES[page])
    unset = {key: value for key, value in os.environ.items() if not key.startswith("AGENT_SERVICE_")}
    service = subprocess.Popen(
        [sys.executable, "-m", "agent_service", "serve", "service.toml"],
        cwd=tmp_path,
        env={**unset, "AGENT_SERVICE_SERVICE__CATALOG": "none", "AGENT_SERVICE_SERVICE__PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stdout.readline().startswith("Serving at "), service.stderr.read()
        with Client.from_state(tmp_path / "service.state", timeout_s=240) as client:
            client.start("aligner", wait_s=240)
            status = client.wait("aligner", "stopped", "failed", within_s=240)
            assert re.match(r"max_runs reached \((\d+) of \1\)", status.reason or ""), status.reason
            assert status.best is not None or len(client.best("aligner")) > 1 or isinstance(status.spec.outcome, list)
    finally:
        service.terminate()
        service.communicate(timeout=30)
