"""docs/scale.md: each of its files is one that works, as far as there is no cluster and no SLURM here."""

import configparser
import shlex

import pytest
from distributed.cli import dask_scheduler, dask_worker
from services import wait_until
from test_documentation import blocks

from agent_service.client import Client
from agent_service.service.config import load

PAGE = blocks("scale.md")


def test_each_configuration_is_valid(tmp_path):
    for name in ("ca.pem", "service.pem", "service.key"):
        (tmp_path / name).touch()
    for name in ("local.toml", "cluster.toml", "beamlines.toml"):
        (tmp_path / name).write_text(PAGE[name])
        config = load(tmp_path / name)
        assert config.agents
    assert load(tmp_path / "cluster.toml").executors.dask.tls_key == tmp_path / "service.key"


@pytest.mark.parametrize(("unit", "main"), [("scheduler", dask_scheduler.main), ("worker", dask_worker.main)])
def test_each_unit_of_systemd_starts_what_there_is(unit, main, tmp_path):
    for name in ("ca.pem", "host.pem", "host.key"):
        (tmp_path / name).touch()
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(PAGE[f"dask-{unit}.service"].replace("/etc/agents", str(tmp_path)))
    program, command, *arguments = shlex.split(parser["Service"]["ExecStart"])
    assert (program.rpartition("/")[2], command) == ("dask", unit)
    context = main.make_context("dask", arguments)  # refuses an option that is not there
    assert context.params["tls_key"] == str(tmp_path / "host.key")


def test_the_scheduler_for_slurm_asks_for_what_agents_take(monkeypatch):
    jobqueue = pytest.importorskip("dask_jobqueue")
    monkeypatch.setattr("signal.pause", lambda: None)
    names = {}
    exec(compile(PAGE["slurm_scheduler.py"].replace("8786", "0"), "slurm_scheduler.py", "exec"), names)
    with names["cluster"] as cluster:
        assert isinstance(cluster, jobqueue.SLURMCluster)
        assert "--resources GPU=1" in cluster.job_script()


def test_a_cluster_of_the_service_s_own(tmp_path, command):
    (tmp_path / "local.toml").write_text(PAGE["local.toml"])
    command.start("serve", "local.toml", "--port", "0")
    wait_until((tmp_path / "local.state/service.json").exists, within_s=100)
    with Client.from_state(tmp_path / "local.state") as client:
        client.start("aligner", wait_s=100)
        assert client.agent("aligner").executor == "dask"
        client.wait("aligner", "stopped", within_s=100)
        assert client.agent("aligner").progress.done == 3
