"""What the local stack needs before it starts, and what to do about what is missing."""

import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from streams.local.process import LOOPBACK, listens

PLATFORMS = {("Linux", "x86_64"), ("Linux", "aarch64")}
"""Platforms on which every pip package of the stack contains its programs."""
NEEDED_MB = 2500
"""For Kafka's and the registry's archives, and the data of a long demo."""


class NotReady(Exception):  # noqa: N818 - says what it is
    """Something is missing, one sentence on each line; nothing was started."""


def problems(directory: Path, ports: Mapping[str, int]) -> list[str]:
    """Return a sentence for each problem.

    Args:
        directory: where data and archives go.
        ports: name of the setting → port, 0 for any free one.
    """
    sentences = []
    here = (platform.system(), platform.machine())
    if here not in PLATFORMS:
        supported = ", ".join(" ".join(each) for each in sorted(PLATFORMS))
        sentences.append(f"{' '.join(here)} is not supported by the local stack; {supported} are.")
    free_mb = shutil.disk_usage(directory).free >> 20
    if free_mb < NEEDED_MB:
        sentences.append(
            f"{directory} has {free_mb} MB free and {NEEDED_MB} MB are needed: free some, or set "
            "REDLANE_CACHE and TMPDIR to a larger disk."
        )
    sentences += [
        f"Port {port} of {LOOPBACK} is taken: stop what uses it, or choose another with {name}."
        for name, port in ports.items()
        if port and listens(port)
    ]
    return sentences


def check(directory: Path, ports: Mapping[str, int]) -> None:
    """Check everything at once.

    Raises:
        NotReady: with every problem.
    """
    if sentences := problems(directory, ports):
        raise NotReady("\n".join(sentences))
