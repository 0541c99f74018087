"""What is said of mistakes in [sink], [[sources]] and such: the key that was written, and what was meant."""

import json

import pytest
from hypothesis import given, settings, strategies as st
from zmq import auth as zmq_auth

from agent_service.documents.gate import DocumentGate
from agent_service.errors import UsageError
from agent_service.models import ConditionSpec
from agent_service.service.check import check
from agent_service.service.compose_sources import SourceParts, sources_of
from agent_service.service.conditions import check_signals
from agent_service.service.config import ServiceConfig, load

QUEUE = '[sink]\nkind = "queueserver"\n'
BLUEAPI = '[sink]\nkind = "blueapi"\ninstrument_session = "cm1"\n'
HEARD = '[[sources]]\nkind = "run_engine"\n[[sources]]\n'
ZMQ = 'kind = "zmq"\naddress = "127.0.0.1:5568"'
KAFKA = 'kind = "kafka"\ntopics = ["t"]\nservers = "127.0.0.1:9092"'
NATS = 'kind = "nats"\nservers = "nats://127.0.0.1:4222"'
TILED = 'kind = "tiled"\nuri = "http://127.0.0.1:8000"'
SUSPENDER = '[conditions.beam]\nsuspender = {signal = "ring_current", '
STANDBY = '[journal]\nurl = "postgresql://me@db/beamline"\nstandby = true\n'
SAID = {
    '[sink]\nkind = "queueserve"': "sink: is of no known kind; did you mean 'queueserver'? the kinds are",
    QUEUE + 'controls = "x"': "sink.controls: is not a known key here; did you mean 'control'?",
    QUEUE + 'control = "127.0.0.1:60615"': "sink.control: must be an address of 0MQ, as tcp://127.0.0.1:60615",
    QUEUE + 'control = "tcp://127.0.0.1"': "sink.control: must be an address of 0MQ",
    QUEUE + 'url = "127.0.0.1:60610"': "sink.url: must begin with http:// or https://",
    BLUEAPI + 'url = "blueapi:8000"': "sink.url: must begin with http:// or https://",
    BLUEAPI + 'token = "x"': "sink.token: is not a known key here; did you mean 'token_file'?",
    HEARD + 'kind = "zqm"': "sources.1: is of no known kind; did you mean 'zmq'? the kinds are",
    HEARD + 'kind = "zmq"': "sources.1.address: is missing",
    HEARD + 'kind = "zmq"\naddress = "127.0.0.1"': "sources.1.address: must be host:port",
    HEARD + 'kind = "zmq"\naddress = "127.0.0.1:1"\nprefix = "a b"': "sources.1.prefix: must hold no space",
    HEARD + 'kind = "kafka"\ntopic = "x"': "sources.1.topic: is not a known key here; did you mean 'topics'?",
    HEARD + 'kind = "tiled"\nuri = "tiled.example.org"': "sources.1.uri: must begin with http:// or https://",
    HEARD + 'kind = "stomp"\nhost = "tcp://a"': "sources.1.host: must be the name of a machine alone",
    "[conditions]\nbeam = 100": 'conditions.beam: must be a rule, as "ring_current > 100", or a table',
    '[conditions]\nbeam = ["ring_current > 100"]': "conditions.beam: must be a rule",
    '[conditions.beam]\nrule = "a > 1"\nsettle = 5': "conditions.beam.settle: is not a known key here; did you mean 's",
    '[conditions]\nbeam = "3 > 2"': "conditions.beam.rule: 3 > 2 names no signal",
    '[conditions]\nbeam = "shutter is open"': 'in a rule of its own, as shutter == "open"',
    SUSPENDER
    + 'kind = "floor", suspend = 100, resume = 50}': "conditions.beam.suspender: resume of a floor is suspend or",
    SUSPENDER
    + 'kind = "ceil", suspend = 100, resume = 150}': "conditions.beam.suspender: resume of a ceil is suspend or",
    SUSPENDER + 'kind = "band", band = [10, 1]}': "conditions.beam.suspender: band is its lower end",
    **{
        HEARD + one + "\n[[sources]]\n" + other: f"sources.2: of kind {kind}, is named once; leave it out, as sources.1"
        for kind, one, other in [
            ("zmq", ZMQ, ZMQ),
            ("zmq", ZMQ, ZMQ.replace("127", "tcp://127")),
            ("kafka", KAFKA, KAFKA),
            ("nats", NATS, NATS + '\nsubject = "other.>"'),
            ("tiled", TILED, TILED.replace(":8000", ":8000/api/v1/")),
            ("tiled", 'kind = "tiled"\nprofile = "site"', 'kind = "tiled"\nprofile = "site"\npath = "/"'),
            ("stomp", 'kind = "stomp"', 'kind = "stomp"\nport = 61613'),
        ]
    },
    **{
        HEARD + f'kind = "zmq"\naddress = "{address}"': f"sources.1.address: {said}"
        for address, said in {
            "127.0.0.1:99999": "must have a port from 1 to 65535: write 127.0.0.1:5568",
            "127.0.0.1:0": "must have a port from 1 to 65535",
            "127.0.0.1:port": "must have a port from 1 to 65535",
            ":5568": "must name a machine: write 127.0.0.1:5568",
            "tcp://:5568": "must name a machine",
            "tcp://a": "must be host:port",
            "tcp://*:5568": "must name the machine to connect to: * is where a server listens",
            "http://a:5568": "must be an address of 0MQ",
            "a b:5568": "must hold no space",
            "tcp://[::1:5568": "must have an address of IPv6 in brackets",
        }.items()
    },
    **{
        HEARD + ZMQ + f'\npublic_key = "{key}"': "sources.1.public_key: must be the 40 letters of a public key of CURVE"
        for key in ("short", "é" * 40, "a b" * 13 + "c", "nowhere/server.key", "service.toml", "\\u0000")
    },
    HEARD
    + ZMQ
    + '\nsecret_file = "x.key_secret"': "sources.1.secret_file: must be the file with this service's secret",
    HEARD + 'kind = "kafka"\ntopics = []': "sources.1.topics: must hold 1 or more",
    HEARD + 'kind = "kafka"\ntopics = [""]': "sources.1.topics: '' is no topic",
    HEARD + 'kind = "kafka"\ntopics = ["a b"]': "sources.1.topics: 'a b' is no topic",
    HEARD + 'kind = "kafka"\ntopics = ["a", "a"]': "sources.1.topics: must name each topic once",
    **{
        HEARD + f'kind = "kafka"\ntopics = ["a"]\nservers = "{servers}"': f"sources.1.servers: {said}"
        for servers, said in {
            ":9092": "must name a machine: write kafka1:9092",
            "a:99999": "must have a port",
            "a:1,,b:2": "must name a machine",
            "kafka://a:1": "must be host:port, or several with commas, without a scheme",
        }.items()
    },
    HEARD + KAFKA + '\ngroup = " "': "sources.1.group: must be a name, or be left out",
    HEARD + KAFKA + '\noptions = {"group.id" = "x"}': "sources.1.options: group.id cannot be given here: write group",
    HEARD + KAFKA + '\noptions = {"enable.auto.commit" = true}': "an offset is committed when its document is on disk",
    HEARD + KAFKA + "\noptions = {a = [1]}": "sources.1.options: a must be a text, a number, true or false",
    **{
        HEARD + f'kind = "nats"\nservers = "{servers}"': f"sources.1.servers: {said}"
        for servers, said in {
            " ": "must name a machine: write nats://127.0.0.1:4222",
            "nats://": "must name a machine",
            "nats://a:1,": "must name a machine",
            "nats://a:99999": "must have a port",
            "http://a:1": "must begin with nats:// or tls://",
        }.items()
    },
    **{
        HEARD + NATS + f'\nsubject = "{subject}"': "sources.1.subject: must be words with dots between them"
        for subject in ("", "a b", "a..b", ".a", ">.a", "a.>.b", "a*.b")
    },
    **{
        HEARD + NATS + f'\n{key} = "{name}"': f"sources.1.{key}: must be a name without spaces, dots"
        for key in ("stream", "durable")
        for name in ("a b", "a.b", "a*", "a/b")
    },
    HEARD + NATS + '\ncredentials = "nowhere"': "sources.1.credentials: must be a file with credentials; ",
    **{
        HEARD + f'kind = "tiled"\nuri = "{uri}"': f"sources.1.uri: {said}"
        for uri, said in {
            "http://:8000": "must name a machine",
            "http://a:99999": "must have a port",
            "http://a/?api_key=secret": "must be an address alone: a key or password belongs in the environment",
            "http://me:secret@a": "must be an address alone: a key or password belongs in the environment",
            "http://[::1": "must have an address of IPv6 in brackets",
        }.items()
    },
    HEARD + 'kind = "tiled"': "sources.1: give one of uri, the address of the Tiled server, and profile, the name",
    HEARD + TILED + '\nprofile = "site"': "sources.1: give one of uri, ",
    HEARD + 'kind = "tiled"\nprofile = " "': "sources.1.profile: must be a name, or be left out",
    '[service]\ncatalog = "profile:"': "service.catalog: must be embedded, none, the address of a Tiled ",
    HEARD + TILED + '\npath = "../raw"': "sources.1.path: must be the way to a catalogue in the server's tree",
    HEARD + TILED + '\napi_key_from = "my key"': "sources.1.api_key_from: must be the name of an environment variable",
    HEARD + 'kind = "stomp"\nhost = "a:61613"': "sources.1.host: must be the name of a machine alone; its port is",
    HEARD + 'kind = "stomp"\nport = 99999': "sources.1.port: must be 65535 or less",
    HEARD
    + 'kind = "stomp"\ndestination = "a b"': "sources.1.destination: must be a text without spaces, and not empty",
    '[source]\nkind = "zmq"\naddress = "a:1"': "source: must be written [[sources]], in double brackets, once for each",
    '[sources]\nkind = "zmq"': "sources: must be written [[sources]], in double brackets, once for each",
    QUEUE + 'control = "tcp://a:99999"': "sink.control: must have a port from 1 to 65535: write tcp://127.0.0.1:60615",
    QUEUE
    + 'control = "http://a:1"': "sink.control: must be an address of 0MQ, as tcp://127.0.0.1:60615: an address of "
    "its HTTP server is given as url",
    QUEUE + 'url = "tcp://a:1"': "sink.url: must begin with http:// or https://: an address of 0MQ is given as control",
    QUEUE + 'control = "tcp://:60615"': "sink.control: must name a machine",
    QUEUE + 'control = "tcp://*:60615"': "sink.control: must name the machine to connect to",
    QUEUE + 'public_key = "short"': "sink.public_key: must be a public key of CURVE: 40 letters",
    QUEUE + 'url = "http://:60610"': "sink.url: must name a machine",
    QUEUE + 'url = "http://a:99999"': "sink.url: must have a port",
    QUEUE + 'user = " "': "sink.user: must be a name, and not blank",
    QUEUE + 'user_group = ""': "sink.user_group: must be a name, and not blank",
    BLUEAPI + 'url = "http://a:99999"': "sink.url: must have a port",
    BLUEAPI + 'token_file = ""': "sink.token_file: must be a file that holds the token",
    BLUEAPI.replace("cm1", " "): "sink.instrument_session: must be a text without spaces, and not empty",
    **{
        f'[conditions]\nbeam = "ring_current {compared}"': f"conditions.beam.rule: {said}"
        for compared, said in {
            "> nan": "nan is no number that anything could be compared with",
            "> -inf": "inf is no number",
            "< Infinity": "Infinity is no number",
            "== true": "true is no number",
            "> 100 mA": "ring_current > 100 mA cannot be read as a rule: invalid syntax; a number stands without",
            "> 100mA": "ring_current > 100mA cannot be read as a rule: invalid decimal literal; a number stands",
        }.items()
    },
    SUSPENDER.replace("ring_current", " ") + 'kind = "floor", suspend = 1}': "suspender.signal: must be the name of a",
    SUSPENDER.replace("ring_", "`") + 'kind = "floor", suspend = 1}': "suspender.signal: must be the name of a signal",
    '[run_engine]\nstartup = ""': "run_engine.startup: must name a module, a script or a folder, or be left out",
    "[run_engine]\nstartup = []": "run_engine.startup: must name a module",
    '[run_engine]\nconfigure = "setup"': "run_engine.configure: must be module:function, as my_beamline.startup:",
    '[run_engine]\nmd = {uid = "x"}': "run_engine.md: uid is of each run its own",
    "[run_engine]\nwaits_s = inf": "run_engine.waits_s: must be ",
    '[service]\ncatalog = "embedding"': "service.catalog: must be embedded, none, the address of a Tiled ",
    '[service]\ncatalog = "http://a:99999"': "service.catalog: must have a port",
    '[service]\nhost = ""': "service.host: must be the name of a machine alone",
    '[service]\nroot_path = "proxy"': "service.root_path: must begin with a slash, as /proxy/8000",
    '[journal]\nurl = "mysql://a/b"': "journal.url: must look like postgresql+psycopg://USER@HOST/DATABASE",
    "[journal]\nstandby = true": "journal: standby = true needs a url: nobody can take over a file",
    STANDBY: "its devices are connected to this machine, and another cannot go on with them; take [sink] kind",
    STANDBY + '[sink]\nkind = "claim"': "that catalogue is on the disk of this machine; take catalog = ",
}


@pytest.mark.parametrize("text", SAID)
def test_the_key_is_named_and_what_was_meant(tmp_path, text, monkeypatch):
    monkeypatch.delenv(
        "AGENT_SERVICE_RUN_ENGINE__WAITS_S", raising=False
    )  # of the tests' services; it wins over a file
    file = tmp_path / "service.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        load(file)
    said = str(refused.value)
    assert SAID[text] in said
    assert "\n" not in said
    assert "actuator" not in said


@pytest.mark.parametrize(
    "text",
    [
        QUEUE + 'control = "tcp://[::1]:60615"',
        QUEUE + 'control = "ipc:///tmp/manager"',
        QUEUE + 'url = "https://queue.example.org/re"',
        HEARD + 'kind = "zmq"\naddress = "tcp://127.0.0.1:5568"',
        HEARD + 'kind = "zmq"\naddress = "[::1]:5568"',
        HEARD + 'kind = "zmq"\naddress = "ipc:///tmp/documents"',
        HEARD + ZMQ + '\nprefix = "a"\n[[sources]]\n' + ZMQ + '\nprefix = "b"',
        HEARD + ZMQ + f'\npublic_key = "{"a" * 40}"',
        HEARD + 'kind = "kafka"\ntopics = ["^bl.*"]\nservers = "SSL://a:1,b"',
        HEARD + 'kind = "nats"\nservers = "127.0.0.1:4222, tls://me:secret@b"\nsubject = "bl.*.docs.>"',
        HEARD + NATS + "\n[[sources]]\n" + NATS + '\ndurable = "other"',
        HEARD + 'kind = "tiled"\nuri = "https://[::1]:8000/api/v1"\npath = "beamline/raw"',
        HEARD + TILED + '\n[[sources]]\nkind = "tiled"\nprofile = "site"\n[service]\ncatalog = "profile:site"',
        HEARD + 'kind = "stomp"\nhost = "::1"',
        '[conditions]\nbeam = "`nan` > 0x10"',
        STANDBY.replace("standby", "lease_s").replace("true", "1.5"),
        STANDBY + 'lease_s = 2\n[sink]\nkind = "claim"\n[service]\ncatalog = "none"',
        SUSPENDER + 'kind = "floor", suspend = 100, resume = 100}',
    ],
)
def test_what_is_right_is_taken(tmp_path, text):
    file = tmp_path / "service.toml"
    file.write_text(text)
    assert load(file)


KEYS = {
    HEARD + ZMQ: ("public_key", "secret_file", "prefix"),
    HEARD + 'kind = "zmq"': ("address",),
    HEARD + 'kind = "kafka"\ntopics = ["t"]': ("servers", "group"),
    HEARD + 'kind = "nats"': ("servers",),
    HEARD + NATS: ("subject", "stream", "durable", "credentials"),
    HEARD + 'kind = "tiled"': ("uri",),
    HEARD + TILED: ("path", "api_key_from"),
    HEARD + 'kind = "stomp"': ("host", "destination", "username"),
    QUEUE: ("control", "url", "public_key", "user"),
    BLUEAPI: ("url", "token_file"),
    "[run_engine]": ("startup", "configure"),
    "[service]": ("host", "catalog", "root_path"),
    "[conditions]": ("beam",),
}
PIECES = st.sampled_from(
    ["://", "tcp", "http", "nats", "ipc", ":", "[", "]", "@", "/", "a", "1", "99999", ",", "*", "é", " "]
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([(text, key) for text, keys in KEYS.items() for key in keys]), st.lists(PIECES, max_size=6))
def test_any_text_is_taken_or_refused_in_one_line_that_names_its_key(tmp_path_factory, where, pieces):
    text, key = where
    file = tmp_path_factory.getbasetemp() / "service.toml"
    file.write_text(f"{text}\n{key} = {json.dumps(''.join(pieces), ensure_ascii=False)}\n", encoding="utf-8")
    try:
        load(file)
    except UsageError as refused:
        said = str(refused)
        assert f".{key}" in said
        assert "\n" not in said


def test_files_with_keys_are_relative_to_the_configuration(tmp_path, monkeypatch):
    (tmp_path / "keys").mkdir()
    zmq_auth.create_certificates(tmp_path / "keys", "server")
    (tmp_path / "keys" / "nats.creds").write_text("x")
    file = tmp_path / "service.toml"
    keys = 'public_key = "keys/server.key"\nsecret_file = "keys/server.key_secret"'
    file.write_text(HEARD + f'{ZMQ}\n{keys}\n[[sources]]\n{NATS}\ncredentials = "keys/nats.creds"')
    monkeypatch.chdir("/")
    _, zmq, nats = load(file).sources
    folder = tmp_path / "keys"
    assert (zmq.public_key, zmq.secret_file) == (str(folder / "server.key"), folder / "server.key_secret")
    assert nats.credentials == str(folder / "nats.creds")


def test_an_option_that_kafka_does_not_know_is_said_before_anything_is_heard(tmp_path):
    for options in ({"nonsense": 1}, {"session.timeout.ms": "abc"}):
        section = {"kind": "kafka", "topics": ["t"], "servers": "127.0.0.1:9", "options": options}
        config = ServiceConfig(sink={"kind": "claim"}, sources=[section])
        with pytest.raises(
            UsageError, match=f"the source kafka cannot be made with these options: .*{next(iter(options))}"
        ):
            sources_of(config, SourceParts(None, None, DocumentGate(), tmp_path))


@pytest.mark.parametrize("sink", [QUEUE, BLUEAPI])
@pytest.mark.parametrize("sources", ["", '[[sources]]\nkind = "run_engine"'])
def test_plans_that_go_to_a_facility_want_a_source_of_their_documents(tmp_path, sink, sources):
    file = tmp_path / "service.toml"
    file.write_text(sink + sources)
    config = load(file)
    [wrong] = check(config)
    assert wrong.field == "sources"
    assert "write [[sources]] with kind = " in wrong.message
    with pytest.raises(UsageError, match=r"^sources: where do the documents of the (queueserver|blueapi) come from"):
        sources_of(config, SourceParts(None, None, DocumentGate(), tmp_path))


def test_check_says_that_a_source_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.setenv("BLUESKY_KAFKA_CONFIG_PATH", str(tmp_path / "none.yml"))
    file = tmp_path / "service.toml"
    file.write_text(QUEUE + HEARD + 'kind = "kafka"\ntopics = ["t"]')
    [wrong] = check(load(file))
    assert wrong.field == "sources.1"
    assert f"needs servers: give them, or a file {tmp_path}/none.yml" in wrong.message


class NoSignals:
    def check(self, name):
        if name != "shutter":
            raise UsageError(f"there is no signal {name!r}")


@pytest.mark.parametrize("rule", ["shutter == open", "`shutter`!=open"])
def test_a_word_without_quotes_is_taken_for_a_signal_and_that_is_said(rule):
    config = ServiceConfig(conditions={"shutter": ConditionSpec(rule=rule)})
    with pytest.raises(UsageError, match=r"no signal 'open'; a text stands in quotes: `?shutter`? [=!]= \"open\""):
        check_signals(config, NoSignals())


@pytest.mark.parametrize("rule", ["bounds = { stage.x = [-6, 6] }", "max_step = { stage.x = 2 }"])
@pytest.mark.parametrize(
    "where", ["[guardrails]\n", "[[agents]]\nname='a'\ntype='sobol'\noutcome='y'\n[agents.guardrails]\n"]
)
def test_a_way_to_a_device_without_quotes(tmp_path, rule, where):
    (tmp_path / "service.toml").write_text(where + rule)
    with pytest.raises(UsageError, match=f'{rule.split()[0]}: write the way to a device in quotes: "stage.x" = ...'):
        load(tmp_path / "service.toml")
