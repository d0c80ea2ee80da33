"""Java archives → the local cache of jgo, once."""

import contextlib
import fcntl
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import jgo
from jgo.maven import MavenContext

KAFKA: Final = "4.1.2"
LOG4J: Final = "2.25.2"
APICURIO: Final = "3.3.3"


def cache() -> Path:
    """Return the directory for everything that Redlane fetches or builds (REDLANE_CACHE)."""
    path = Path(os.environ.get("REDLANE_CACHE") or Path.home() / ".cache" / "redlane")
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock between processes, so that no two fetch the same archive at once."""
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kafka_jars() -> list[Path]:
    """Return Kafka's archives, with a log4j binding so that its log is not empty."""
    logging = "org.apache.logging.log4j"
    endpoint = (
        f"org.apache.kafka:kafka_2.13:{KAFKA}"
        # log4j's own dependency management would bring older clients.
        f"+org.apache.kafka:kafka-clients:{KAFKA}"
        f"+{logging}:log4j-slf4j2-impl:{LOG4J}+{logging}:log4j-core:{LOG4J}"
    )
    with locked("kafka"):
        return list(jgo.build(endpoint).all_jars)


def apicurio() -> Path:
    """Return the directory of the unpacked registry."""
    target = cache() / f"apicurio-registry-{APICURIO}"
    with locked("apicurio"):
        if not target.exists():
            component = MavenContext().project("io.apicurio", "apicurio-registry-app")
            artifact = component.at_version(APICURIO).artifact(classifier="all", packaging="tar.gz")
            archive = artifact.resolve()
            with tempfile.TemporaryDirectory(dir=cache()) as unpacked:
                with tarfile.open(archive) as tar:
                    tar.extractall(unpacked, filter="data")
                Path(unpacked).rename(target)
                Path(unpacked).mkdir()  # for the context manager to remove
    return target
