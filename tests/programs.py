"""Programs that tests run."""

import subprocess


def output_of(*command, cwd, environment=None, within_s):
    """Run a program; returns what it wrote.

    Args:
        command: and its arguments.
        cwd: where it runs.
        environment: instead of this process's.
        within_s: that it may take. Unit: s.

    Raises:
        AssertionError: it failed; with what it wrote.
    """
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=within_s,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
