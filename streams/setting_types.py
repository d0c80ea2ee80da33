"""What a setting may hold: a file that is there, the name of a bucket, an address of its form."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _is_file(path: Path) -> Path:
    try:
        is_file = path.is_file()
    except OSError:  # no file can have such a name
        is_file = False
    if not is_file:
        raise ValueError("there is no such file")
    return path


File = Annotated[Path, AfterValidator(_is_file)]
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _is_bucket(name: str) -> str:
    if not BUCKET.fullmatch(name):
        raise ValueError("a bucket's name has 3 to 63 of a-z, 0-9, dot and hyphen")
    return name


Bucket = Annotated[str, AfterValidator(_is_bucket)]
BucketOrNone = Annotated[str, AfterValidator(lambda name: name and _is_bucket(name))]


def check_address(url: str, schemes: tuple[str, ...]) -> None:
    """Check the form of an address, without quoting it: it may hold a password.

    Raises:
        ValueError: it has no such scheme, no host or no possible port.
    """
    form = " or ".join(f"{scheme}://" for scheme in schemes) + "HOST:PORT"
    if schemes == ("kafka",):
        form = "HOST:PORT, comma-separated"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in schemes and bool(parts.hostname)
        port = parts.port
    except ValueError:
        valid = False
    else:
        valid = valid and port != 0
        if schemes == ("kafka",):
            valid = valid and port is not None and not parts.path
    if not valid or any(sign.isspace() for sign in url):
        raise ValueError(f"write {form}")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone, whatever its network."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
