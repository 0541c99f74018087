"""Opening the catalogue: what is said when there is none, and what is written for others to find it."""

import json
import socket
import stat
import subprocess
import sys

import pytest
from routed import RoutedSpool

from agent_service.archive import serve_catalog, standalone
from agent_service.archive.catalog import CatalogAddress, node_uri, open_catalog, without_key
from agent_service.errors import BackendUnavailable, UsageError
from agent_service.state_dir import StateDir, engine_socket


@pytest.fixture
def dead_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, and nobody else gets it
        yield taken.getsockname()[1]


def test_the_address_and_the_profiles_are_for_their_owner_only(tmp_path):
    state = StateDir(tmp_path / "state")
    address = CatalogAddress(uri="http://127.0.0.1:1/api/v1", api_key="secret")
    address.save(state)
    assert CatalogAddress.load(state) == address
    profile = state.profiles / "agent_service.yml"
    for path in (profile, state.catalog / "server.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(profile.read_text()) == {
        "agent_service": {"uri": "http://127.0.0.1:1/api/v1?api_key=secret"},
        "agent_service_agents": {"uri": "http://127.0.0.1:1/api/v1/metadata/agents?api_key=secret"},
    }
    CatalogAddress.forget(state)
    with pytest.raises(UsageError, match="run `agent-service catalog"):
        CatalogAddress.load(state)


def test_no_key_of_the_site_is_written_down(tmp_path):
    state = StateDir(tmp_path)
    CatalogAddress(uri="https://tiled.example/api/v1").save(state)
    assert "key" not in (state.profiles / "agent_service.yml").read_text()


def test_a_directory_without_a_catalogue_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match=f"run `agent-service catalog {tmp_path}` first"):
        open_catalog(tmp_path)
    with pytest.raises(UsageError, match="there is no embedded catalogue"):
        serve_catalog(tmp_path, on_ready=print)
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "server.json").write_text("half")
    with pytest.raises(UsageError, match="cannot be read"):
        open_catalog(tmp_path)


def test_runs_for_a_catalogue_elsewhere_are_not_put_into_one_of_their_own(tmp_path):
    state = StateDir(tmp_path)
    spool = RoutedSpool(state.spool)
    spool.write("start", {"uid": "u", "time": 1.0})
    spool.write("stop", {"uid": "s", "run_start": "u", "time": 2.0, "exit_status": "success"})
    CatalogAddress(uri="https://tiled.example/api/v1").save(state)
    with pytest.raises(UsageError, match=r"no embedded catalogue in .*; still to be written: 1 run; start a service"):
        serve_catalog(tmp_path, on_ready=print)
    assert len(spool.complete()) == 1


def test_runs_that_an_engine_may_still_measure_are_left_open(tmp_path, monkeypatch):
    state, lines = StateDir(tmp_path), []
    state.catalog_files.mkdir(parents=True)

    async def serve(*_):
        pass

    monkeypatch.setattr(standalone, "_serve", serve)
    spool = RoutedSpool(state.spool)
    spool.write("start", {"uid": "u", "time": 1.0})
    with socket.socket(socket.AF_UNIX) as engine, engine_socket.short(tmp_path) as path:
        engine.bind(path)
        engine.listen()
        serve_catalog(tmp_path, on_ready=print, on_progress=lines.append)
    assert spool.complete() == []
    [line] = lines
    assert line.startswith("the RunEngine's process of this service has not ended: runs that are open are left open")
    serve_catalog(tmp_path, on_ready=print)
    assert len(spool.complete()) == 1, "it has ended"


def test_a_catalogue_that_is_gone_says_what_to_do_at_once(tmp_path, dead_port):
    uri = f"http://127.0.0.1:{dead_port}/api/v1"
    CatalogAddress(uri=uri, api_key="secret").save(StateDir(tmp_path))
    with pytest.raises(BackendUnavailable, match="run `agent-service catalog") as caught:
        open_catalog(str(tmp_path))
    assert "secret" not in str(caught.value)
    with pytest.raises(BackendUnavailable, match="check the URI"):
        open_catalog(f"{uri}?api_key=secret")


def test_a_catalogue_in_use_says_where_it_is(tmp_path):
    state = StateDir(tmp_path)
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "catalog.db").touch()
    with state:
        with pytest.raises(UsageError, match="in use by another service"):
            serve_catalog(tmp_path, on_ready=print)
        CatalogAddress(uri="http://127.0.0.1:1/api/v1", api_key="secret").save(state)
        with pytest.raises(UsageError, match=r"serves its catalogue at http://127.0.0.1:1/api/v1; read it") as caught:
            serve_catalog(tmp_path, on_ready=print)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "node"),
    [
        ("http://host:8000", "http://host:8000/api/v1/metadata/agents"),
        ("http://host:8000/", "http://host:8000/api/v1/metadata/agents"),
        ("http://host/api/v1", "http://host/api/v1/metadata/agents"),
        ("https://host/api/v1/metadata/raw/", "https://host/api/v1/metadata/raw/agents"),
        ("http://host/api/v1?api_key=k", "http://host/api/v1/metadata/agents?api_key=k"),
    ],
)
def test_the_uri_of_a_node_below_a_catalogue(uri, node):
    assert node_uri(uri, "agents") == node


def test_a_uri_is_shown_without_its_secrets():
    assert without_key("http://host/api/v1?api_key=k") == "http://host/api/v1"
    assert without_key("http://me:pass@host/api/v1?api_key=k") == "http://host/api/v1"
    assert without_key("embedded") == "embedded"


def test_the_services_side_imports_neither_tiled_nor_pandas():
    code = (
        "import sys, agent_service.archive, agent_service.archive.catalog, agent_service.documents.spool\n"
        "print({'tiled', 'pandas', 'databroker', 'bluesky_tiled_plugins', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"
