"""Configuration: flags > environment > file > defaults; wrong files are one clear line."""

import pytest

from agent_service.errors import UsageError
from agent_service.service.config import ServiceConfig, config_from_environment, load

FILE = """
[service]
port = 1111
host = "localhost"
[run_engine]
startup = "my_beamline.py"
md = { proposal = "p1" }
[[agents]]
name = "aligner"
type = "bayes"
config = { bounds = { mirror_x = [-5, 5] } }
actuators = ["mirror_x"]
sensors = ["flux"]
outcome = "flux"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "service.toml"
    path.write_text(FILE)
    return path


def test_the_defaults_need_nothing():
    config = load()
    assert (config.service.host, config.service.catalog) == ("127.0.0.1", "embedded")


def test_a_file(file, tmp_path):
    config = load(file)
    assert config.service.port == 1111
    assert config.service.state == tmp_path / "service.state"
    assert config.run_engine.startup == str(tmp_path / "my_beamline.py")
    assert config.agents[0].loop.max_failures == 3


def test_flags_win_over_the_environment_and_that_over_the_file(file, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_SERVICE__PORT", "2222")
    monkeypatch.setenv("AGENT_SERVICE_API_KEY", "secret")
    config = load(file)
    assert (config.service.port, config.service.host) == (2222, "localhost")
    assert config.api_key.get_secret_value() == "secret"
    assert "secret" not in repr(config)
    assert load(file, flags={"port": 3333, "host": None}).service.port == 3333


def test_the_environment_names_the_file(file, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_CONFIG", str(file))
    assert config_from_environment().agents[0].name == "aligner"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[service", "not valid TOML"),
        ("[service]\nprot = 1", "service.prot"),
        ("[service]\nport = 70000", "service.port"),
        ("[servise]", "servise"),
        ("service = 3", "service"),
        ("[[agents]]\nname = 'a b'", '[[agents]] "a b": name: may hold'),
        ("api_key = 'x'", "AGENT_SERVICE_API_KEY"),
        ("[sink]\nkind = 'teleport'", "sink: is of no known kind"),
        ("[sink]\nkind = 'blueapi'", "instrument_session"),
        ("[sink]\nkind = 'queueserver'\nurl = 'http://x'\ncontrol = 'tcp://x:1'", "two ways to one manager"),
        ("[sink]\nkind = 'queueserver'\nurl = 'http://x'\nencoding = 'json'", "leave encoding out"),
        ("[sink]\nkind = 'queueserver'\nuser_gruop = 'x'", "user_gruop"),
        ("[sink]\nkind = 'claim'\ncontrol = 'tcp://x:1'", "control"),
        ("[source]\nkind = 'none'", 'take sink "claim"'),
        ("[[sources]]\nkind = 'posted'", 'take sink "claim"'),
        ("[[sources]]\nkind = 'telepathy'", "sources.0"),
        ("[[sources]]\nkind = 'run_engine'\n[[sources]]\nkind = 'run_engine'", "named once"),
        ("[source]\nkind = 'run_engine'\n[[sources]]\nkind = 'run_engine'", "leave [source] out"),
    ],
)
def test_a_wrong_file_says_which_key(tmp_path, monkeypatch, text, said):
    monkeypatch.delenv("AGENT_SERVICE_SERVICE__GRACE_S")  # wins over a file that has no section
    path = tmp_path / "service.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert said in caught.value.detail


def test_a_sink_without_a_kind_is_the_services_own_run_engine(tmp_path, monkeypatch):
    path = tmp_path / "service.toml"
    path.write_text("[sink]\n")
    assert load(path).sink.own_engine
    monkeypatch.setenv("AGENT_SERVICE_SINK__KIND", "queueserver")
    monkeypatch.setenv("AGENT_SERVICE_SINK__USER_GROUP", "guests")
    found = load(path).sink
    assert (found.kind, found.user_group, found.own_engine) == ("queueserver", "guests", False)


def test_the_file_s_folder_is_where_modules_come_from(file, tmp_path):
    assert load(file).import_from == [tmp_path]
    file.write_text('import_from = ["lib"]')
    assert load(file).import_from == [tmp_path / "lib"]


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("", {"run_engine", "posted"}),
        ("[source]\nkind = 'run_engine'", {"run_engine", "posted"}),
        ("[sink]\nkind = 'claim'\n[source]\nkind = 'none'", {"posted"}),
        ("[sink]\nkind = 'claim'\n[[sources]]\nkind = 'posted'", {"posted"}),
        ("[[sources]]\nkind = 'run_engine'", {"run_engine"}),
    ],
)
def test_sources_are_listed_or_named_as_before(tmp_path, text, heard):
    path = tmp_path / "service.toml"
    path.write_text(text)
    config = load(path)
    assert {kind for kind in ("run_engine", "posted") if config.hears(kind)} == heard


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "no.toml")
    with pytest.raises(UsageError, match="is a folder"):
        load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        load(tmp_path / "binary.toml")


def test_it_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        ServiceConfig().service.port = 1


@pytest.mark.parametrize(("said", "key"), [("", None), (" \n", None), ("secret\n", "secret")])
def test_an_empty_variable_is_no_key(monkeypatch, said, key):
    """Or whoever shows an empty key would be the owner, on any address."""
    monkeypatch.setenv("AGENT_SERVICE_API_KEY", said)
    found = load().api_key
    assert (found and found.get_secret_value()) == key
