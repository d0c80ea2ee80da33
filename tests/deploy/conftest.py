"""The tools that charts, alerts and Compose files are checked with; and the rendered chart."""

import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.deploy import go_tools

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "redlane"
VALUES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*.yaml"))
"""Of the chart's examples: what has to be given alone, GPU, a Kafka elsewhere, Strimzi, the least."""
KUBERNETES = "1.37.0"


def ran(*words, cwd=None):
    """The finished command, whatever its exit status."""
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="session")
def helm():
    """Runs Helm on the chart, with one of its examples and more values."""
    command = go_tools.binary(go_tools.HELM)

    def run(action, values, *words):
        name = ["redlane"] if action == "template" else []
        file = CHART / "ci" / f"{values}-values.yaml"
        version = f"--kube-version={KUBERNETES}"
        return ran(command, action, *name, CHART, f"--values={file}", version, *words)

    return run


@pytest.fixture(scope="session")
def rendered(helm):
    """Returns the manifests of an example, with more values."""

    @cache
    def render(values, *words):
        done = helm("template", values, *words)
        assert done.returncode == 0, done.stderr
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]

    return render


@pytest.fixture(scope="session")
def kubeconform():
    """The command."""
    return go_tools.binary(go_tools.KUBECONFORM)


@pytest.fixture(scope="session")
def promtool():
    """The command."""
    return go_tools.binary(go_tools.PROMTOOL)


@pytest.fixture(scope="session")
def compose_go():
    """The command."""
    return go_tools.binary(go_tools.COMPOSE)
