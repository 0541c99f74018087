"""Finding agent types, checking configurations by signature, and building brains."""

import json
import sys

import jsonschema
import pytest

from agent_service.brains import types
from agent_service.brains.adapter import adapter_for
from agent_service.brains.types import AgentType
from agent_service.errors import InvalidConfig, UnknownType
from agent_service.models import AgentSpec


class Plain:
    """A class without a Config.

    More text.
    """

    def __init__(self, step: float, *, names: list[str] | None = None, limits: tuple[float, float] = (0, 1), free=None):
        self.step = step

    def suggest(self, num_points=None):
        return []

    def ingest(self, points):
        pass

    @classmethod
    def check(cls, config, *, actuators, outcomes):
        if config["step"] == 13:
            raise ValueError("13 is unlucky")


class Ears:
    def ingest(self, points):
        pass


def open_factory(**config):
    return Plain(1)


def late_annotation(step: "Unimportable" = 1):  # noqa: F821 - that is the point
    return Plain(step)


class Outer:
    Inner = Plain


def spec_of(listen="own", **config):
    return AgentSpec(name="a", type="t:t", config=config, actuators=["x"], outcome="flux", listen=listen)


PLAIN = AgentType("here:Plain", Plain)


def test_a_type_of_ones_own_is_found_by_module_and_name() -> None:
    found = types.resolve(f"{__name__}:Outer.Inner")
    assert found.factory is Plain
    assert found.name == f"{__name__}:Outer.Inner"
    assert found.summary == "A class without a Config."


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bays", "did you mean 'bayes'.*installed: .*sobol"),
        ("no_such_module_anywhere:X", "ModuleNotFoundError.*must be importable where the service runs"),
        (
            "gpcam.no_such:X",
            r"ModuleNotFoundError.*; where the service runs, pip install 'bluesky-agent-service\[gpcam\]'",
        ),
        (
            "bluesky_adaptive.no_such:X",
            r"ModuleNotFoundError.*; where the service runs, pip install 'bluesky-agent-service\[ax\]'",
        ),
        (f"{__name__}:Plane", "did you mean 'Plain'"),
        (f"{__name__}:PLAIN", "not a class or function"),
        (f"{__name__}:", "not written as module:callable"),
        (":Plain", "not written as module:callable"),
    ],
)
def test_an_unknown_type_says_what_is_near(name, said) -> None:
    with pytest.raises(UnknownType, match=said):
        types.resolve(name)


@pytest.mark.parametrize("code", ["raise RuntimeError('two\\nlines')", "import sys; sys.exit(3)", "def f(:"])
def test_a_module_that_does_not_import_says_why_in_one_line(tmp_path, monkeypatch, code) -> None:
    (tmp_path / "broken_agents.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownType) as caught:
        types.resolve("broken_agents:X")
    sys.modules.pop("broken_agents", None)
    assert "\n" not in caught.value.detail
    assert "importing 'broken_agents' raised" in caught.value.detail


def test_installed_types_are_sorted_and_complete() -> None:
    names = [one.name for one in types.installed()]
    assert names == sorted(names)
    assert {"bayes", "sequence", "sobol"} <= set(names)


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ({}, ["config.step"]),
        ({"step": "much"}, ["config.step"]),
        ({"step": 1, "stop": 2}, ["config.stop"]),
        ({"step": 1, "names": [1]}, ["config.names.0"]),
        ({"step": 1, "limits": [0, 1, 2]}, ["config.limits"]),
        ({"step": 13}, ["config"]),
        ({"names": 1, "nam": 1}, ["config.step", "config.names", "config.nam"]),
    ],
)
def test_a_signature_checks_a_configuration(config, fields) -> None:
    with pytest.raises(InvalidConfig) as caught:
        PLAIN.validate(spec_of(**config))
    assert [one.field for one in caught.value.errors] == fields


def test_a_right_configuration_passes() -> None:
    PLAIN.validate(spec_of(step=1, names=["a"], limits=[0, 2], free={"any": "thing"}))
    AgentType("t", open_factory).validate(spec_of(whatever=1))
    AgentType("t", late_annotation).validate(spec_of(step="anything"))


def test_a_signature_gives_a_schema() -> None:
    schema = PLAIN.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema)
    assert schema["required"] == ["step"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["step"]["type"] == "number"
    assert AgentType("t", open_factory).schema()["additionalProperties"] is True


def test_a_brain_is_built_from_its_configuration() -> None:
    assert PLAIN.build(spec_of(step=2)).step == 2


def test_a_brain_without_suggest_must_listen() -> None:
    ears = AgentType("here:Ears", Ears)
    listening, asked = spec_of(listen="all"), spec_of()
    assert not adapter_for(ears.build(listening), spec=listening).traits().suggests
    with pytest.raises(TypeError, match=r"type 'here:Ears' made a Ears without suggest.*listen = \"all\""):
        adapter_for(ears.build(asked), spec=asked, type_name=ears.called)
    with pytest.raises(TypeError, match="without ingest"):
        adapter_for(AgentType("t", dict).build(listening), spec=listening)


def test_knowing_the_types_is_cheap() -> None:
    code = (
        "import sys; from agent_service.brains import types; types.installed();"
        "print([name for name in ('sklearn', 'bayes_opt', 'scipy', 'pandas', 'bluesky') if name in sys.modules])"
    )
    import subprocess

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"
