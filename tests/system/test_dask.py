"""Brains on a Dask cluster: what is not the same for every executor, with a real scheduler and real workers."""

import asyncio
import contextlib
import datetime as dt
import signal
import subprocess
import sys
import types
from pathlib import Path

import cloudpickle
import pytest
from dask_cluster import DaskCluster
from hosted_objects import HostedObject, Mortal

from agent_service.errors import AgentFault, BackendUnavailable, InvalidInput
from agent_service.executors.dask import DaskExecutor, _cluster, _executor, wrong_with_cluster
from agent_service.executors.dask.config import DaskSection

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with DaskCluster(tmp_path_factory.mktemp("dask"), offers=("GPU=1", ""), path=[SUPPORT]) as one:
        yield one


@contextlib.asynccontextmanager
async def executor_on(cluster, **section):
    one = DaskExecutor(DaskSection(address=cluster.address, **section))
    try:
        yield one
    finally:
        await one.close()


@pytest.fixture
async def executor(cluster):
    async with executor_on(cluster) as one:
        yield one


async def until(condition, within_s=60.0):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def told(waits, said):
    """Wait until an executor has said that it waits for something."""
    await until(lambda: any(said in (one or "") for one in waits))


async def test_a_worker_killed_is_seen_and_its_agent_begins_elsewhere(cluster, executor):
    handle = await executor.start(Mortal, name="guest", timeout_s=60)
    call = asyncio.ensure_future(handle.call(Mortal.spin, timeout_s=600))
    await until(lambda: handle.busy)
    lost = cluster.worker_at(handle.worker)
    lost.kill()
    with pytest.raises(AgentFault, match=f"the worker {handle.worker} of agent 'guest' is gone") as caught:
        await call
    assert caught.value.place_lost
    assert (await asyncio.wait_for(handle.died, 10)).place_lost
    again = await executor.start(Mortal, name="guest", timeout_s=60, on_wait=lambda what: None)
    assert again.worker != handle.worker
    assert await again.call(Mortal.echo, "here", timeout_s=60) == "here"
    cluster.workers.remove(lost)
    cluster.start_worker(lost.offers)


async def test_a_worker_that_is_silent_is_given_up_and_gets_no_agent_again(cluster):
    async with executor_on(cluster, lost_after_s=1) as executor:
        handle = await executor.start(Mortal, name="guest", timeout_s=60)
        stopped = cluster.worker_at(handle.worker)
        stopped.send(signal.SIGSTOP)
        try:
            fault = await asyncio.wait_for(handle.died, 60)
            assert "has not been heard of for 1 s" in fault.detail
            assert fault.place_lost
            others = [await executor.start(Mortal, name=name, timeout_s=60, on_wait=lambda what: None) for name in "ab"]
            assert handle.worker not in {other.worker for other in others}
        finally:
            stopped.send(signal.SIGCONT)


async def test_resources_are_held_while_an_agent_lives_and_others_wait_for_them(cluster, executor):
    first = await executor.start(Mortal, name="first", timeout_s=60, resources={"GPU": 1})
    waits = []
    second = asyncio.ensure_future(
        executor.start(Mortal, name="second", timeout_s=60, resources={"GPU": 1}, on_wait=waits.append)
    )
    await told(waits, "has GPU = 1 free")
    assert not second.done()
    await first.close()
    handle = await asyncio.wait_for(second, 60)
    assert waits[-1] is None
    await handle.close()


async def test_a_resource_that_no_worker_offers_is_named(executor):
    waits = []
    waiting = asyncio.ensure_future(
        executor.start(Mortal, name="guest", timeout_s=60, resources={"TPU": 2}, on_wait=waits.append)
    )
    await told(waits, "offers TPU = 2; start one with --resources")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_seat_that_nobody_takes_ends_by_itself(cluster, executor, monkeypatch):
    monkeypatch.setattr(_cluster, "_TAKEN_WITHIN_S", 0.1)
    await (await executor.start(HostedObject, name="other", timeout_s=60)).close()
    seat = await executor._cluster.seat("guest", {"GPU": 1}, refused={})
    later = await executor.start(Mortal, name="guest", timeout_s=60, resources={"GPU": 1}, on_wait=lambda what: None)
    assert later.worker == seat.worker
    await later.close()


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"Python": "3.99"}, "has Python 3.11.*and the service has Python 3.99"),
        ({"bluesky-agent-service": "9.9"}, "has bluesky-agent-service .*and the service has bluesky-agent-service 9.9"),
    ],
)
async def test_a_worker_of_another_version_is_refused_and_both_are_named(executor, monkeypatch, there, said):
    mine = _executor.versions()
    said = said.replace("3.11", mine["Python"])
    monkeypatch.setattr(_executor, "versions", lambda: {**mine, **there})
    with pytest.raises(InvalidInput, match=said):
        await executor.start(Mortal, name="guest", timeout_s=60)


async def test_a_module_that_is_only_here_is_named_and_what_is_of_a_notebook_travels(executor, monkeypatch):
    here = types.ModuleType("only_here")
    exec("class Brain:\n    def echo(self, thing): return thing", here.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", here)
    with pytest.raises(AgentFault, match=r"has no module 'only_here' \(only_here belongs to no.*install it there"):
        await executor.start(here.Brain, name="guest", timeout_s=60)
    cloudpickle.register_pickle_by_value(here)  # as cloudpickle does with a notebook's __main__
    handle = await executor.start(here.Brain, name="guest", timeout_s=60)
    assert await handle.call(here.Brain.echo, "by value", timeout_s=60) == "by value"


async def test_memory_is_limited_and_a_death_says_how(executor):
    handle = await executor.start(Mortal, name="guest", timeout_s=60, memory_limit_mb=300)
    with pytest.raises(AgentFault, match=r"MemoryError.*memory_limit_mb is 300"):
        await handle.call(Mortal.eat, 4096, timeout_s=60)
    with pytest.raises(AgentFault, match="killed by SIGKILL") as caught:
        await handle.call(Mortal.kill, signal.SIGKILL, timeout_s=60)
    assert caught.value.died
    assert not caught.value.place_lost, "its own process, not the worker"
    assert (await asyncio.wait_for(handle.died, 10)).died


async def test_a_scheduler_that_is_away_is_waited_for(cluster, executor):
    await (await executor.start(Mortal, name="other", timeout_s=60)).close()
    cluster.scheduler.send(signal.SIGSTOP)
    waits = []
    try:
        with pytest.raises(BackendUnavailable, match=r"the Dask cluster .* does not answer"):
            await executor.start(Mortal, name="guest", timeout_s=60)
        waiting = asyncio.ensure_future(executor.start(Mortal, name="guest", timeout_s=60, on_wait=waits.append))
        await told(waits, "does not answer")
    finally:
        cluster.scheduler.send(signal.SIGCONT)
    handle = await asyncio.wait_for(waiting, 100)
    assert await handle.call(Mortal.echo, 1, timeout_s=60) == 1


def test_check_says_that_workers_of_the_service_itself_have_no_resources():
    section = DaskSection(address="local")
    assert wrong_with_cluster(section, [{}]) == []
    (wrong,) = wrong_with_cluster(section, [{"GPU": 1}, {"GPU": 1}])
    assert 'address = "local"' in wrong
    assert "GPU = 1; leave resources out" in wrong


def test_check_says_what_is_wrong(cluster, tmp_path):
    section = DaskSection(address=cluster.address)
    assert wrong_with_cluster(section, [{"GPU": 1}]) == []
    assert wrong_with_cluster(section, [{"GPU": 2}, {"GPU": 2}]) == [
        f"no worker of the Dask cluster {cluster.address} offers GPU = 2; start one with --resources"
    ]
    (tmp_path / "service.toml").write_text('[executors.dask]\naddress = "tcp://127.0.0.1:1"\n')
    command = [sys.executable, "-m", "agent_service", "check", "service.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 2
    assert "executors.dask: the Dask cluster tcp://127.0.0.1:1 cannot be reached" in done.stderr


def _certificate(folder):
    """Make a certificate that signs itself, as those of a cluster in one hand may."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    paths = folder / "cluster.pem", folder / "cluster.key"
    paths[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return paths


async def test_certificates(tmp_path):
    pem, key = _certificate(tmp_path)
    tls = ["--tls-ca-file", str(pem), "--tls-cert", str(pem), "--tls-key", str(key)]
    with DaskCluster(tmp_path, offers=("",), path=[SUPPORT], tls=tls) as cluster:
        async with executor_on(cluster, tls_ca_file=pem, tls_cert=pem, tls_key=key) as executor:
            handle = await executor.start(Mortal, name="guest", timeout_s=60)
            assert await handle.call(Mortal.echo, "secret", timeout_s=60) == "secret"
        plain = DaskSection(address=cluster.address.replace("tls", "tcp"))
        (wrong,) = await asyncio.to_thread(wrong_with_cluster, plain, [])
        assert "cannot be reached" in wrong
        assert "its address begins with tls://" in wrong
        (tmp_path / "other").mkdir()
        another, other_key = _certificate(tmp_path / "other")
        for ca, cert, private in ((another, pem, key), (pem, another, other_key), (pem, pem, other_key)):
            mixed = DaskSection(address=cluster.address, tls_ca_file=ca, tls_cert=cert, tls_key=private)
            (wrong,) = await asyncio.to_thread(wrong_with_cluster, mixed, [])
            assert "look whether tls_ca_file, tls_cert and tls_key are those of its scheduler" in wrong


def test_nothing_of_distributed_is_imported_by_a_service_that_needs_none():
    code = (
        "import sys; from agent_service import create_app; from agent_service.service import check, compose;"
        "from agent_service.service.config import ServiceConfig; create_app(ServiceConfig());"
        "from agent_service.executors.dask import DaskExecutor; DaskExecutor(None).why_not();"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'distributed', 'dask', 'tornado', 'psycopg'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150, check=True)
    assert done.stdout.split() == []
