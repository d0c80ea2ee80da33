"""What must hold before anything is started, and what to do where it does not."""

import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from streams.local.process import LOOPBACK, listens

PLATFORMS = {("Linux", "x86_64"), ("Linux", "aarch64")}
"""Where every pip package of the stack has its programs."""
NEEDED_MB = 2500
"""Kafka's and the registry's archives, and the data of a long demo."""


class NotReady(Exception):  # noqa: N818 - says what it is
    """What is missing, one sentence a line; nothing has been started."""


def problems(directory: Path, ports: Mapping[str, int]) -> list[str]:
    """Return a sentence for each thing that is in the way.

    Args:
        directory: where data and archives go.
        ports: name of the setting → port that was asked for; 0 for any free one.
    """
    found = []
    here = (platform.system(), platform.machine())
    if here not in PLATFORMS:
        supported = ", ".join(" ".join(one) for one in sorted(PLATFORMS))
        found.append(f"{' '.join(here)} is not supported by the local stack; {supported} are.")
    free_mb = shutil.disk_usage(directory).free >> 20
    if free_mb < NEEDED_MB:
        found.append(
            f"{directory} has {free_mb} MB free and {NEEDED_MB} MB are needed: free some, or set "
            "REDLANE_CACHE and TMPDIR to a larger disk."
        )
    found += [
        f"Port {port} of {LOOPBACK} is taken: stop what uses it, or choose another with {name}."
        for name, port in ports.items()
        if port and listens(port)
    ]
    return found


def check(directory: Path, ports: Mapping[str, int]) -> None:
    """Check everything at once.

    Raises:
        NotReady: with every problem found.
    """
    if found := problems(directory, ports):
        raise NotReady("\n".join(found))
