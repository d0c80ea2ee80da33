"""The whole local stack: Kafka, registry, Valkey and SeaweedFS, started and stopped together."""

import contextlib
import secrets
import shlex
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams.local import fetch, preflight
from streams.local.kafka import Kafka
from streams.local.registry import Registry
from streams.local.seaweedfs import REGION, SeaweedFS
from streams.local.valkey import Valkey
from streams.settings import Settings

BUCKET = "goods-photos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Ports at the loopback address; 0 for any free one."""

    kafka: int = 0
    registry: int = 0
    redis: int = 0
    s3: int = 0


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack."""

    directory: Path
    kafka: Kafka
    registry: Registry
    valkey: Valkey
    seaweedfs: SeaweedFS
    pseudonym_key: str = field(default_factory=secrets.token_hex)
    selection_key: str = field(default_factory=secrets.token_hex)
    """Both keys last as long as the stack, like the data that depend on them."""

    def environment(self) -> dict[str, str]:
        """Return the settings (REDLANE_…) with which every command uses this stack."""
        return {
            "REDLANE_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "REDLANE_KAFKA_REPLICATION": str(len(self.kafka.brokers)),
            "REDLANE_REGISTRY_URL": self.registry.url,
            "REDLANE_REGISTRY_TOKEN": self.registry.token,
            "REDLANE_REDIS_URL": self.valkey.url,
            "REDLANE_S3_ENDPOINT": self.seaweedfs.endpoint,
            "REDLANE_S3_REGION": REGION,
            "REDLANE_S3_ACCESS_KEY_ID": self.seaweedfs.access_key,
            "REDLANE_S3_SECRET_ACCESS_KEY": self.seaweedfs.secret_key,
            "REDLANE_S3_BUCKETS": self.seaweedfs.bucket,
            "REDLANE_PSEUDONYM_KEY": self.pseudonym_key,
            "REDLANE_SELECTION_KEY": self.selection_key,
        }

    def settings(self) -> Settings:
        """Return the settings of this process, with this stack's addresses."""
        fields = {k.removeprefix("REDLANE_").lower(): v for k, v in self.environment().items()}
        return Settings(**fields)  # read as from the environment


@contextlib.contextmanager
def local_stack(
    *,
    brokers: int = 1,
    ports: Ports | None = None,
    kafka_proxies: Sequence[int] = (),
    say: Callable[[str], None] = print,
) -> Iterator[Stack]:
    """Start all services in a temporary directory; stop them and remove it at the end.

    Args:
        brokers: of Kafka, 1 or 3.
        ports: that services listen on.
        kafka_proxies: ports of proxies in front of the brokers, see `Kafka`.
        say: prints a line.

    Raises:
        NotReady: something is missing; nothing was started.
        ServiceFailed: a service did not start; the others were stopped.
    """
    ports = ports or Ports()
    options = {f"--{name}-port": port for name, port in _named(ports)}
    preflight.check(fetch.cache(), options)
    with (
        tempfile.TemporaryDirectory(prefix="redlane-") as temporary,
        contextlib.ExitStack() as running,
    ):
        directory = Path(temporary)
        say("Fetching Kafka and the registry, unless they are cached …")
        kafka = Kafka(
            directory / "kafka",
            ports=(ports.kafka, *(0,) * (brokers - 1)),
            proxy_ports=kafka_proxies,
        )
        registry = Registry(directory / "registry", port=ports.registry)
        valkey = Valkey(directory / "valkey", port=ports.redis)
        seaweedfs = SeaweedFS(directory / "seaweedfs", bucket=BUCKET, port=ports.s3)
        services = (kafka, registry, valkey, seaweedfs)
        for service in services:
            running.callback(service.stop)
            service.start()
        for service in services:
            service.wait()
            say(f"{type(service).__name__} is ready")
        yield Stack(directory, *services)


def run_until_interrupted(
    *,
    brokers: int,
    ports: Ports,
    env_file: Path | None,
    bundle: Path,
    after_start: Callable[[Stack], None],
    say: Callable[[str], None] = print,
) -> None:
    """Run the stack alone until SIGINT or SIGTERM; print the settings to use it.

    Args:
        brokers: of Kafka, 1 or 3.
        ports: that services listen on.
        env_file: written with the settings, for the owner alone; printed where None.
        bundle: folder of the model bundle, named in the settings.
        after_start: called once every service answers.
        say: prints a line.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with local_stack(brokers=brokers, ports=ports, say=say) as stack:
        if not stop.is_set():
            after_start(stack)
        settings = stack.environment() | {"REDLANE_BUNDLE": str(bundle)}
        lines = [f"export {k}={shlex.quote(v)}" for k, v in settings.items()]
        if env_file:
            env_file.touch(mode=0o600)
            env_file.write_text("\n".join(lines) + "\n")
            say(f"Settings written to {env_file}: `. {env_file}` in another terminal.")
        else:
            say("\n".join(lines))
        say("The stack is up. Ctrl-C stops it.")
        stop.wait()
        say("Stopping …")


def _named(ports: Ports) -> list[tuple[str, int]]:
    return [(name, getattr(ports, name)) for name in ("kafka", "registry", "redis", "s3")]
