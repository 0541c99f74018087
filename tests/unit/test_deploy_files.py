"""What deploy/ holds is well-formed, and the configurations in it and in docs/deploy.md are taken."""

import configparser
import hashlib
import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from agent_service.service.config import ServiceConfig

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/agent-service"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
KINDS = {"configmap": "ConfigMap", "deployment": "Deployment", "service": "Service"}


def value(path):
    found = {"Values": VALUES, "Release": {"Name": "agents"}}
    for key in path.removeprefix(".").split("."):
        found = found[key]
    return found


def filled(match):
    """Return what Helm puts in the place of one of the few expressions that the chart has."""
    first, *filters = [part.strip() for part in match[1].split("|")]
    if first.startswith("printf "):
        _, form, *paths = first.split()
        text = form.strip('"') % tuple(value(path) for path in paths)
    elif first.startswith("toYaml "):
        text = yaml.safe_dump(value(first.removeprefix("toYaml "))).rstrip()
    else:
        text = str(value(first))
    for one in filters:
        if one == "sha256sum":
            text = hashlib.sha256(text.encode()).hexdigest()
        else:
            name, width = one.split()
            assert name == "nindent"
            text = "\n" + "\n".join(" " * int(width) + line for line in text.splitlines())
    return text


def rendered(name):
    text = (CHART / f"templates/{name}.yaml").read_text()
    text = re.sub(r"\s*\{\{- (.*?) \}\}", filled, text)
    return yaml.safe_load(re.sub(r"\{\{ (.*?) \}\}", filled, text))


@pytest.mark.parametrize("name", KINDS)
def test_a_template_makes_what_its_name_says(name):
    made = rendered(name)
    assert made["kind"] == KINDS[name]
    assert made["metadata"]["name"] == "agents"
    assert {path.stem for path in (CHART / "templates").iterdir()} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_kubernetes_would_take_it(name):
    kubernetes = pytest.importorskip("kubernetes_validate")
    kubernetes.validate(rendered(name), kubernetes.latest_version(), strict=True)


def test_the_pods_are_probed_where_the_service_answers_and_the_leader_alone_is_ready():
    (container,) = rendered("deployment")["spec"]["template"]["spec"]["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert probes == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert rendered("deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == "100%"


def test_the_values_are_as_their_schema_says():
    jsonschema.validate(VALUES, json.loads((CHART / "values.schema.json").read_text()))
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["apiVersion"], chart["name"]) == ("v2", CHART.name)


@pytest.mark.parametrize("made", ["helm", "docs"])
def test_a_service_toml_for_two_services_is_taken(made):
    if made == "helm":
        text = rendered("configmap")["data"]["service.toml"]
    else:
        page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
        (text,) = re.findall(r"```toml\n([^`]*standby = true[^`]*)```", page)
    assert ServiceConfig.model_validate(tomllib.loads(text)).journal.standby


@pytest.mark.parametrize("path", ["podman/agent-service.container", "systemd/agent-service.service"])
def test_a_unit_starts_again_what_was_taken_over_from(path):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(ROOT / "deploy" / path)
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["RestartPreventExitStatus"] == "2"
