"""A service that is told of Tiled servers by the profiles of the site and of the user, as Tiled's own clients are."""

import contextlib
import json
import uuid

import peers
import pytest
from services import wait_until

import agent_service
from agent_service.errors import UsageError
from agent_service.service.check import check
from agent_service.service.config import ServiceConfig

CLAIM = {"kind": "claim"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with peers.tiled_server(tmp_path_factory.mktemp("tiled")) as one:
        yield one


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    """Write profiles where they are looked for: ``profiles(site={...})``."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    monkeypatch.setattr("tiled.profiles.paths", [folder])  # read from the environment when it is imported
    monkeypatch.setenv("TILED_PROFILES", str(folder))
    monkeypatch.setenv("TILED_SITE_PROFILES", str(tmp_path / "none"))
    monkeypatch.delenv("TILED_API_KEY", raising=False)

    def write(file="profiles.yml", **named):
        (folder / file).write_text(json.dumps(named))  # JSON is YAML too

    write.folder = folder
    return write


def source(service):
    return next(one for one in service.get("service")["sources"] if one["kind"] == "tiled")


@pytest.fixture(scope="module")
def catalogue(server):
    with contextlib.closing(peers.Catalogue(server)) as one:
        yield one


@pytest.fixture
def node(catalogue):
    """A container in the server's tree where runs are written; its name."""
    root, name = catalogue.root, f"node-{uuid.uuid4()}"
    catalogue.root = root.create_container(key=name)
    yield name
    catalogue.root = root


def measures(start, catalogue, section):
    """Let a service measure of which somebody else writes the run into the catalogue."""
    service = start(sink=CLAIM, sources=[{"kind": "tiled", **section}])
    wait_until(lambda: source(service)["state"] == "connected", within_s=60, what=lambda: source(service))
    service.create("walker", loop={"max_runs": 1})
    service.post("agents/walker/start")
    found = service.post("suggestions/claim", {"agent": "walker", "wait_s": 10})
    catalogue.write(peers.run_documents(2, **found["md"]))
    wait_until(lambda: service.get(f"suggestions/{found['id']}")["state"] == "ingested", within_s=40, what="a run")
    assert peers.KEY not in json.dumps(service.get("service"))


def test_a_source_of_a_profile_with_its_key_in_the_environment(start, catalogue, profiles, monkeypatch):
    profiles(site={"uri": catalogue.uri})
    monkeypatch.setenv("TILED_API_KEY", peers.KEY)
    measures(start, catalogue, {"profile": "site"})


@pytest.mark.parametrize(
    "key",
    [{"query": f"?api_key={peers.KEY}"}, {"headers": {"Authorization": f"Apikey {peers.KEY}"}}],
    ids=["in its uri", "in its headers"],
)
def test_a_profile_may_lead_to_a_node_and_hold_the_key(start, catalogue, profiles, node, key):
    uri = f"{catalogue.uri}/api/v1/metadata/{node}{key.pop('query', '')}"
    profiles(site={"uri": uri, **key})
    measures(start, catalogue, {"profile": "site"})


@pytest.mark.parametrize("written", ["uri", "path"])
def test_an_address_may_lead_to_a_node_too(start, catalogue, node, monkeypatch, written):
    monkeypatch.setenv("TILED_API_KEY", peers.KEY)
    at_once = {"uri": f"{catalogue.uri}/api/v1/metadata/{node}/"}
    measures(start, catalogue, at_once if written == "uri" else {"uri": f"{catalogue.uri}/api/v1/", "path": node})


def test_a_profile_that_is_not_there_keeps_the_service_from_starting(start, profiles):
    profiles(nsls2={"uri": "https://tiled.example.org"}, direct={"direct": {"trees": []}}, odd={"uri": "ftp://tiled"})
    profiles("broken.yml", beamline="https://tiled.example.org")
    for name, says in {
        "nsl2": f"there is no Tiled profile 'nsl2'; did you mean 'nsls2'? they are looked for in {profiles.folder}",
        "beamline": "Skipping",
        "direct": "is for the process that opens it alone",
        "odd": "must begin with http:// or https://",
    }.items():
        section = {"kind": "tiled", "profile": name}
        with pytest.raises(UsageError) as refused:
            start(sink=CLAIM, sources=[section])
        assert says in str(refused.value)
        with pytest.raises(UsageError) as refused:
            start(service={"catalog": f"profile:{name}"})
        assert says in str(refused.value)
        config = ServiceConfig(sink=CLAIM, sources=[section], service={"catalog": f"profile:{name}"})
        assert {wrong.field for wrong in check(config)} == {"sources.0.profile", "service.catalog"}


def test_the_catalogue_of_a_profile_is_written_and_read(start, server, profiles, tmp_path):
    profiles(site={"uri": f"{server.uri}/api/v1/?api_key={peers.KEY}", "structure_clients": "dask"})
    service = start(service={"catalog": "profile:site"})
    service.create("walker", loop={"max_runs": 1})
    service.post("agents/walker/start")
    service.until("walker", "stopped", within_s=60)
    [found] = service.suggestions("walker")
    wait_until(lambda: service.get("service")["archive"]["state"] == "ready", within_s=60, what="the catalogue")
    wait_until(lambda: service.get("service")["archive"]["runs_behind"] == 0, within_s=60, what="its run")
    archive = service.get("service")["archive"]
    assert (archive["catalog"], archive["uri"]) == ("profile:site", f"{server.uri}/api/v1/")
    for where in ("profile:site", tmp_path / "state"):
        runs, decisions = (agent_service.open_catalog(where, path=path) for path in (None, "agents"))
        assert (found["run_uid"] in runs, len(decisions)) == (True, 1)
        for opened in (runs, decisions):
            opened.context.http_client.close()
    with pytest.raises(UsageError, match="no Tiled profile 'sites'; did you mean 'site'"):
        agent_service.open_catalog("profile:sites")
