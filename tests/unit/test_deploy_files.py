"""What deploy/ holds is taken by what reads it, and the configurations in it and in docs/deploy.md are taken."""

import configparser
import importlib
import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from agent_service.service.config import ServiceConfig

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/agent-service"
KINDS = {"configmap": "ConfigMap", "deployment": "Deployment", "service": "Service"}


@pytest.fixture(scope="module")
def helm():
    """Helm itself, version 4, as a library; in CI it has to be there."""
    return importlib.import_module("helm_python") if os.environ.get("CI") else pytest.importorskip("helm_python")


@pytest.fixture
def rendered(helm):
    def render(name, **values):
        with helm.Chart.load(CHART) as chart:
            return yaml.safe_load(chart.render(values, name="agents")[f"{CHART.name}/templates/{name}.yaml"])

    return render


def test_helm_lint_passes(helm):
    report = helm.lint(CHART, strict=True)
    assert (report["total_charts_linted"], report["errors"]) == (1, [])
    assert not [one for one in report["messages"] if one["severity"] > 1]  # 1: that an icon is recommended


def test_helm_lint_refuses_what_is_wrong(helm, tmp_path):
    chart = shutil.copytree(CHART, tmp_path / CHART.name)
    (chart / "templates/service.yaml").write_text("port: {{ .Values.service.port }\n")
    assert helm.lint(chart, strict=True)["errors"]


def test_a_value_of_another_type_is_refused_by_the_schema(rendered):
    with pytest.raises(Exception, match="replicas"):
        rendered("deployment", replicas="two")


@pytest.mark.parametrize("name", KINDS)
def test_a_template_makes_what_its_name_says(rendered, name):
    made = rendered(name)
    assert made["kind"] == KINDS[name]
    assert made["metadata"]["name"] == "agents"
    assert {path.stem for path in (CHART / "templates").iterdir()} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_kubernetes_would_take_it(rendered, name):
    kubernetes = pytest.importorskip("kubernetes_validate")
    kubernetes.validate(rendered(name), kubernetes.latest_version(), strict=True)


def test_the_pods_are_probed_where_the_service_answers_and_the_leader_alone_is_ready(rendered):
    (container,) = rendered("deployment")["spec"]["template"]["spec"]["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert probes == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert rendered("deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == "100%"


@pytest.mark.parametrize("made", ["helm", "docs"])
def test_a_service_toml_for_two_services_is_taken(rendered, made):
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
