"""SeaweedFS: object storage with the S3 interface."""

import json
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import obstore
from obstore.store import S3Store

from streams.local.process import LOOPBACK, Process, free_port, listens

REGION = "us-east-1"


def identity(
    name: str, access_key: str, secret_key: str, actions: Sequence[str]
) -> dict[str, object]:
    """Return a user as SeaweedFS takes it.

    Args:
        name: of the user.
        access_key: of the user.
        secret_key: of the user.
        actions: such as `Read:BUCKET`.
    """
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    return {"name": name, "credentials": credentials, "actions": list(actions)}


class SeaweedFS:
    """The object storage; it gets new keys at every start."""

    def __init__(
        self,
        directory: Path,
        *,
        bucket: str,
        port: int = 0,
        users: Sequence[Mapping[str, object]] = (),
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        """Take what it needs; nothing is started.

        Args:
            directory: of data and log.
            bucket: that is created.
            port: 0 for a free one.
            users: identities besides our own; see `identity`.
            certificate: files of certificate and key (PEM), for HTTPS.
        """
        self._port = port or free_port()
        self.endpoint = f"http{'s' if certificate else ''}://{LOOPBACK}:{self._port}"
        self.bucket = bucket
        self.access_key = secrets.token_hex(8)
        self.secret_key = secrets.token_hex(16)
        directory.mkdir(parents=True, exist_ok=True)
        keys = directory / "s3.json"
        keys.touch(mode=0o600)
        keys.write_text(json.dumps({"identities": [self._identity(), *users]}))
        ports = {
            f"-{part}.port{kind}": free_port()
            for part in ("master", "volume", "filer")
            for kind in ("", ".grpc")
        }
        options = {
            "-dir": directory / "data",
            "-ip": LOOPBACK,
            "-ip.bind": LOOPBACK,
            "-s3.port": self._port,
            "-s3.port.grpc": free_port(),
            "-s3.config": keys,
            "-s3.port.iceberg": 0,
            "-s3.port.lance": 0,
            "-master.volumeSizeLimitMB": 64,
            "-master.telemetry": "false",
            "-volume.max": 50,
            "-volume.preStopSeconds": 0,
            "-s3.localSocket": directory / "s3.sock",
            "-filer.localSocket": directory / "filer.sock",
        } | ports
        if certificate is not None:
            options |= {"-s3.cert.file": certificate[0], "-s3.key.file": certificate[1]}
        (directory / "data").mkdir(exist_ok=True)
        weed = Path(sys.executable).parent / "weed"
        self.process = Process(
            "seaweedfs",
            [
                weed if weed.exists() else shutil.which("weed") or "weed",
                "-logtostderr",
                "server",
                "-s3",
                "-filer",
                *(f"{name}={value}" for name, value in options.items()),
            ],
            directory=directory,
            stop_within_s=3.0,  # it waits for streams that its own parts never close
        )

    def _identity(self) -> dict[str, object]:
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        return identity("redlane", self.access_key, self.secret_key, actions)

    def start(self) -> Self:
        """Start it; returns before it answers."""
        self.process.start()
        return self

    def wait(self) -> None:
        """Wait until it returns an object that was put; this creates the bucket."""
        self.process.wait_until(lambda: listens(self._port), within_s=60)
        store = S3Store(
            self.bucket,
            endpoint=self.endpoint,
            region=REGION,
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": True,
                "allow_invalid_certificates": True,  # that of a tests' authority
                "timeout": "5s",
            },
            retry_config={"max_retries": 0},
        )

        def ready() -> bool:
            try:
                obstore.put(store, ".ready", b"ready")
                return bytes(obstore.get(store, ".ready").bytes()) == b"ready"
            except (OSError, obstore.exceptions.BaseError):
                return False

        self.process.wait_until(ready, within_s=60)

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()
