"""deploy/alerts.yml: alerts about metrics that exist, tried on made-up series, each with a runbook."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

from streams import metrics  # noqa: F401 - registers what the alerts are about
from tests.deploy.conftest import ROOT, ran

HERE = Path(__file__).parent
ALERTS = ROOT / "deploy" / "alerts.yml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
PROMETHEUS = ROOT / "deploy" / "prometheus.yml"
BY_PROMETHEUS = {"job", "instance", "le"}
"""Labels that no metric declares."""


def series():
    """Labels of every series that a worker exposes, by its name."""
    collectors = REGISTRY._names_to_collectors
    return {name: set(getattr(item, "_labelnames", ())) for name, item in collectors.items()}


def test_the_rules_and_the_configuration_are_valid(promtool):
    for words in (
        ("check", "rules", "--lint=all", "--lint-fatal", ALERTS),
        ("check", "config", "--syntax-only", PROMETHEUS),
    ):
        done = ran(promtool, *words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_should(promtool):
    """And none where all is well; tests/deploy/alerts_test.yml has the series."""
    done = ran(promtool, "test", "rules", "alerts_test.yml", cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = (HERE / "alerts_test.yml").read_text()
    for rule in RULES:
        assert rule["alert"] in tried


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_about_metrics_with_their_labels(rule):
    """A misspelt one would never fire."""
    expression = rule["expr"]
    names = re.findall(r"\b(?:redlane|process)_\w+", expression)
    assert names
    known = set().union(*(series()[name] for name in names), BY_PROMETHEUS)
    asked = set(re.findall(r"(\w+)=~?\"", expression))
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        asked |= {label.strip() for label in grouped.split(",")}
    texts = " ".join(rule["annotations"].values())
    assert asked | set(re.findall(r"\$labels\.(\w+)", texts)) <= known
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    """Under the alert's name."""
    titles = re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)
    assert titles == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"


def test_the_chart_makes_the_same_rules(rendered):
    """There is one source."""
    (item,) = [item for item in rendered("gpu") if item["kind"] == "PrometheusRule"]
    assert [rule for group in item["spec"]["groups"] for rule in group["rules"]] == RULES
