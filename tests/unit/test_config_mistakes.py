"""What is said of mistakes in [sink], [[sources]] and [conditions]: the key that was written, and what was meant."""

import pytest

from agent_service.errors import UsageError
from agent_service.models import ConditionSpec
from agent_service.service.conditions import check_signals
from agent_service.service.config import ServiceConfig, load

QUEUE = '[sink]\nkind = "queueserver"\n'
BLUEAPI = '[sink]\nkind = "blueapi"\ninstrument_session = "cm1"\n'
HEARD = '[[sources]]\nkind = "run_engine"\n[[sources]]\n'
SUSPENDER = '[conditions.beam]\nsuspender = {signal = "ring_current", '
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
}


@pytest.mark.parametrize("text", SAID)
def test_the_key_is_named_and_what_was_meant(tmp_path, text):
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
        HEARD + 'kind = "stomp"\nhost = "::1"',
        SUSPENDER + 'kind = "floor", suspend = 100, resume = 100}',
    ],
)
def test_what_is_right_is_taken(tmp_path, text):
    file = tmp_path / "service.toml"
    file.write_text(text)
    assert load(file)


class NoSignals:
    def check(self, name):
        if name != "shutter":
            raise UsageError(f"there is no signal {name!r}")


@pytest.mark.parametrize("rule", ["shutter == open", "`shutter`!=open"])
def test_a_word_without_quotes_is_taken_for_a_signal_and_that_is_said(rule):
    config = ServiceConfig(conditions={"shutter": ConditionSpec(rule=rule)})
    with pytest.raises(UsageError, match=r"no signal 'open'; a text stands in quotes: `?shutter`? [=!]= \"open\""):
        check_signals(config, NoSignals())
