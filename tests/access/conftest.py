"""A Kafka with TLS, users and rights; the registry, Redis and storage of the session's stack."""

from dataclasses import dataclass

from streams.local.certificates import Authority
from streams.local.kafka import ADMIN, Kafka
from streams.operations.access import user_of
from streams.settings import Settings


@dataclass(frozen=True)
class SecuredKafka:
    """A secured cluster, and how each component connects to it."""

    kafka: Kafka
    authority: Authority
    passwords: dict[str, str]
    plain: dict[str, str]
    """Settings of the open stack, whose other services are used too."""

    def environment(self, component, **more):
        """The settings (REDLANE_…) of a component's process."""
        user = component if component == ADMIN else user_of(component)
        return (
            self.plain
            | {
                "REDLANE_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
                "REDLANE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "REDLANE_KAFKA_USERNAME": user,
                "REDLANE_KAFKA_PASSWORD": self.passwords[user],
                "REDLANE_KAFKA_CA_FILE": str(self.authority.ca_file),
            }
            | {f"REDLANE_{name.upper()}": str(value) for name, value in more.items()}
        )

    def settings(self, component, **more):
        """The same for a client in this process."""
        environment = self.environment(component)
        fields = {k.removeprefix("REDLANE_").lower(): v for k, v in environment.items()}
        return Settings(**fields | more)
