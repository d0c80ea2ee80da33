"""deploy/alerts.yml: the alerts are about metrics that exist."""

import re
from pathlib import Path

import yaml
from prometheus_client import REGISTRY

from streams import metrics

ALERTS = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "alerts.yml").read_text())


def test_every_alert_is_about_a_metric_with_its_labels():
    """A misspelt one would never fire."""
    metrics.EXPIRED.labels("topic", "0").inc(0)
    metrics.INFERENCE_FAULTS.labels("none").inc(0)
    samples = {s.name: set(s.labels) for metric in REGISTRY.collect() for s in metric.samples}
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            (name,) = re.findall(r"redlane_\w+", rule["expr"])
            texts = " ".join(rule["annotations"].values())
            assert set(re.findall(r"\$labels\.(\w+)", texts)) <= samples[name]
            assert rule["labels"]["severity"] in {"critical", "warning"}
