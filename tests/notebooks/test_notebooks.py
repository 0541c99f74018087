"""The tutorial notebooks, run from top to bottom in a real kernel, and what they say checked against the truth."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import kernels
import psutil
import pytest
import wanted
from services import wait_until

from agent_service.plans.beamline import optimum, true_flux

nbformat = wanted.module("nbformat")
nbclient = wanted.module("nbclient")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted(one.name for one in NOTEBOOKS.glob("*.ipynb"))
WITHIN_S = 150


class Lab:
    """A folder with a copy of one notebook, and kernels of which all files are in there.

    ``outputs`` are those of the last run, by the cell's id.
    """

    def __init__(self, root, environ):
        self.root = root
        self.folder = root / "work"
        self.folder.mkdir()
        self._environ = environ
        self.outputs = {}

    def run(self, name, tell="None", times=1):
        """Run all cells in one kernel, so often; return what the expression ``tell`` is each time before the last."""
        shutil.copy(NOTEBOOKS / name, self.folder)
        self._environ.setenv("JPY_SESSION_NAME", str(self.folder / name))  # as Jupyter's server does
        notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
        once = [one for one in notebook.cells if one.cell_type == "code"]
        ask = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({tell}, default=str))", id="ask")
        notebook.cells = [one.copy() for _ in range(times) for one in (*once[:-1], ask, once[-1])]
        for number, one in enumerate(notebook.cells):
            one.id = f"{one.id}-{number}"
        client = nbclient.NotebookClient(
            notebook, timeout=WITHIN_S, kernel_name="python3", resources={"metadata": {"path": str(self.folder)}}
        )
        client.execute()
        self.outputs = {one.id.rpartition("-")[0]: one.outputs for one in notebook.cells}
        told = [text(one.outputs) for one in notebook.cells if one.id.startswith("ask-")]
        for one in notebook.cells:
            refuse_noise(one)
            assert "A panel appears here" not in kept(one.outputs), "its last picture takes the place of each"
        return [json.loads(one) for one in told]

    def left(self):
        """Return the processes that were started in here and still run."""
        return [one for one in psutil.process_iter() if self._is_ours(one)]

    def _is_ours(self, process):
        try:
            return process.pid != os.getpid() and process.environ().get("IPYTHONDIR", "").startswith(str(self.root))
        except psutil.Error:
            return False


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder and an environment for kernels; afterwards nothing may run and nothing may lie about."""
    for name in ("tmp", "runtime", "ipython"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", kernels.python_path(None))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    for name in ("AGENT_SERVICE_URL", "AGENT_SERVICE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    lab = Lab(tmp_path, monkeypatch)
    yield lab
    wait_until(lambda: not lab.left(), what="the end of all that the notebook started")
    assert {one.name for one in lab.folder.iterdir()} - set(NAMES) <= {".agent-service"}
    # ophyd.sim makes two empty folders when it is imported
    assert not [one for one in (tmp_path / "tmp").rglob("*") if not one.is_dir()]


def text(outputs):
    """Return all that a cell said, as text."""
    return "".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs)


def refuse_noise(cell):
    """Fail when a cell shows an error, a traceback or anything on stderr: a reader would take fright."""
    for one in cell.outputs:
        assert one.output_type != "error", f"{cell.id}: {one}"
        assert one.get("name") != "stderr", f"{cell.id}: {one.text}"
    assert "Traceback" not in text(cell.outputs), cell.id


def shown(outputs):
    """Return how many widgets a cell displays."""
    return sum("application/vnd.jupyter.widget-view+json" in one.get("data", {}) for one in outputs)


def kept(outputs):
    """Return the last pictures of the panels that a cell displayed."""
    return "".join(one["data"]["text/html"] for one in outputs if "agent_service" in one.get("metadata", {}))


def near_the_optimum(point, part):
    """Return whether the true flux at a point is at least this part of the highest."""
    return true_flux(point["mirror_x"], point["mirror_y"]) >= part * optimum().flux


def test_quickstart_aligns_the_mirrors_and_keeps_every_run(lab):
    tell = """{
        "status": client.agent("aligner").model_dump(mode="json"),
        "asked": [one.run_uid for one in client.suggestions("aligner")],
        "kept": [uid for uid in runs if uid != "agents"],
        "best_run": run.metadata["start"]["uid"],
        "at": {name: float(run["primary"].read()[name][0]) for name in bounds},
    }"""
    (told,) = lab.run("01-quickstart.ipynb", tell)
    status = told["status"]
    assert (status["state"], status["reason"]) == ("stopped", "max_runs reached (25 of 25)")
    assert near_the_optimum(status["best"]["point"], 0.8)
    assert len(told["asked"]) == 25
    assert set(told["asked"]) == set(told["kept"])
    assert told["best_run"] in told["asked"]
    assert told["at"] == pytest.approx(status["best"]["point"])
    assert shown(lab.outputs["serve"]) == 1
    assert "aligner: stopped, max_runs reached (25 of 25); 25 of 25 runs; best" in kept(lab.outputs["serve"])
    assert kept(lab.outputs["serve"]).count("<circle") == 25, "without a page there is a picture, too"
    assert "nothing moves until you press Start" in text(lab.outputs["serve"])
    assert "the service is closed" in text(lab.outputs["close"])
    assert (lab.folder / ".agent-service" / "01-quickstart").is_dir()


def test_quickstart_is_quick():
    cells = nbformat.read(NOTEBOOKS / "01-quickstart.ipynb", as_version=4).cells
    assert len(cells) < 10, "with those of text"


@pytest.mark.long
def test_own_agents_optimize_listen_and_are_replaced_twice_over(lab):
    tell = """{
        "compass": client.agent("compass").model_dump(mode="json"),
        "peak": client.report("peak").report,
        "measured": [one.report["measured"] for one in client.reports("peak")],
        "listens": client.agent("peak").spec.listen,
    }"""
    for told in lab.run("02-your-own-agent.ipynb", tell, times=2):
        compass, peak = told["compass"], told["peak"]
        assert compass["state"] == "stopped"
        assert compass["reason"].startswith("no side is better at steps of 0.15 mm")
        assert near_the_optimum(compass["best"]["point"], 0.9)
        assert told["listens"] == "all"
        first, second, last = told["measured"]
        assert first > 15
        assert second == last == first + compass["progress"]["done"] - compass["counts"]["retold"]
        assert peak["centre_mm"] == pytest.approx(list(optimum().point.values()), abs=0.4)
        assert peak["fwhm_mm"] == pytest.approx([3.7, 1.7], abs=0.7)
    assert f"replaced compass: {first} outcomes ingested" in text(lab.outputs["edit"])


def test_an_own_runengine_is_stopped_goes_on_and_stays_the_users(lab):
    tell = """{
        "first": len(uids),
        "status": client.agent("aligner").model_dump(mode="json"),
        "bounds": [list(one.point.values()) for one in client.suggestions("aligner") if one.state != "rejected"],
        "asked_by": asked_by,
        "state": RE.state,
    }"""
    (told,) = lab.run("03-your-own-runengine.ipynb", tell)
    assert 10 <= told["first"] < 15
    assert "runs, then stopped: stopped by a person" in text(lab.outputs["stop"])
    status = told["status"]
    assert (status["state"], status["progress"]) == ("stopped", {"done": 20, "total": 20})
    assert near_the_optimum(status["best"]["point"], 0.8)
    assert all(abs(one) <= 4 for point in told["bounds"] for one in point)
    assert sorted(told["asked_by"]) == ["aligner"] * 20 + ["you"]
    assert told["state"] == "idle"
    assert "nothing moves until RE(run_agent(" in text(lab.outputs["serve"])


def test_a_service_elsewhere_is_steered_and_ended(lab):
    tell = """{
        "status": client.agent("scout").model_dump(mode="json"),
        "first": [one.model_dump(mode="json") for one in client.suggestions("scout")][:3],
        "panels": [overview.link["state"], scout.link["state"], inbox.link["state"]],
        "queue": client.queue().state,
        "server": server.poll(),
    }"""
    (told,) = lab.run("04-remote-control.ipynb", tell)
    approved, edited, rejected = told["first"]
    assert (approved["state"], edited["state"], rejected["state"]) == ("ingested", "ingested", "rejected")
    assert edited["point"] == {"mirror_x": 0.0, "mirror_y": 0.0}
    assert rejected["reason"] == "rejected by a person: not now"
    assert "stopped: max_runs reached (20 of 20)" in text(lab.outputs["trust"])
    assert (told["status"]["state"], told["queue"]) == ("stopped", "idle")
    assert told["status"]["best"]["outcome"]["flux"] > 20
    assert told["panels"] == ["live"] * 3
    assert told["server"] is None, "it ran to the last cell"
    said = text(lab.outputs["emergency"])
    assert "scout is paused and the queue is held\nrefused: the plan queue is held" in said
    assert said.endswith("scout is running again\n")
    assert sum(shown(one) for one in lab.outputs.values()) == 3


def test_the_notebook_itself_is_deployed_and_its_agent_goes_on(lab):
    tell = """{
        "status": remote.agent("spiral").model_dump(mode="json"),
        "runs": len({one.run_uid for one in remote.suggestions("spiral") if one.run_uid}),
        "server": server.poll(),
    }"""
    (told,) = lab.run("05-deploy.ipynb", tell)
    status = told["status"]
    assert (status["state"], status["reason"]) == ("stopped", "max_runs reached (30 of 30)")
    assert told["runs"] == 30, "those of the notebook among them"
    assert status["best"]["outcome"]["flux"] > 5
    assert told["server"] is None
    assert "spiral is there already, paused, and goes on with what it knows" in text(lab.outputs["deploy"])
    assert "exported 05-deploy.ipynb, as it was saved at" in text(lab.outputs["export"])
    (folder,) = lab.folder.glob("to-the-beamline-*")
    assert (folder / "state" / "arrived").exists()
    assert "api_key" not in {one.name for one in folder.rglob("*")}
    shutil.rmtree(folder)
    assert shown(lab.outputs["watch"]) == 1


def test_a_queue_server_measures_for_an_agent_among_the_plans_of_people(lab):
    tell = """{
        "status": client.agent("aligner").model_dump(mode="json"),
        "asked": [one.run_uid for one in client.suggestions("aligner") if one.run_uid],
        "ran": ran,
        "runs": [item["result"]["run_uids"] for item in ask("history_get")["items"] if item["name"] == "acquire"],
    }"""
    (told,) = lab.run("06-real-beamline.ipynb", tell)
    status = told["status"]
    assert (status["state"], status["progress"]) == ("stopped", {"done": 12, "total": 12})
    assert near_the_optimum(status["best"]["point"], 0.5)
    assert text(lab.outputs["open"]) == "acquire, count, move_to\n"
    assert "nothing moves until you press Start" in text(lab.outputs["serve"])
    assert "the queue server is busy: count of a person\n" in text(lab.outputs["person"])
    assert sorted(told["ran"]) == [["acquire", "agent-service", "completed"]] * 12 + [
        ["count", "a person", "completed"]
    ]
    assert sorted(uid for uids in told["runs"] for uid in uids) == sorted(told["asked"])


@pytest.mark.parametrize("name", NAMES)
def test_in_git_there_is_no_output_and_little_metadata(name):
    path = NOTEBOOKS / name
    (entry,) = re.findall(r"entry: nbstripout (.*)", (ROOT / ".pre-commit-config.yaml").read_text())
    told = subprocess.run(
        [sys.executable, "-m", "nbstripout", *shlex.split(entry), "--verify", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, f"{told.stdout}{told.stderr}; `nbstripout {entry} {path}` mends it"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    }
    assert all(one.metadata in ({}, {"tags": ["notebook-only"]}) for one in notebook.cells)
    assert all(re.fullmatch(r"[a-z-]+", one.id) for one in notebook.cells), "ids that say what the cell is, and stay"


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    for cell in nbformat.read(NOTEBOOKS / name, as_version=4).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#]+)\)", cell.source):
                assert (NOTEBOOKS / target).exists(), f"{name} links to {target}"


def test_all_of_them_are_run_here():
    assert NAMES == [
        "01-quickstart.ipynb",
        "02-your-own-agent.ipynb",
        "03-your-own-runengine.ipynb",
        "04-remote-control.ipynb",
        "05-deploy.ipynb",
        "06-real-beamline.ipynb",
    ]
