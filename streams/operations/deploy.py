"""topics.toml and avro/ → topics in Kafka and schemas in the registry.

A worker does neither, so it needs no right to create anything.
"""

from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.topics import TOPICS, Topic
from streams.kafka.contact import reach
from streams.kafka.registry import NotDeployed, Registry
from streams.settings import Settings

MEGABYTE = 1 << 20
DAY_MS = 86_400_000
ANSWER_S = 10.0
"""Longest wait for Kafka to answer at all."""


def topic_config(topic: Topic) -> dict[str, str]:
    """Return what topics.toml says of a topic, as Kafka's settings."""
    config = {"max.message.bytes": str(topic.max_message_mb * MEGABYTE)}
    if topic.compacted:
        config["cleanup.policy"] = "compact"
    else:
        config["retention.ms"] = str(topic.retention_days * DAY_MS)
    if topic.timestamps == "broker":
        config["message.timestamp.type"] = "LogAppendTime"
    return config


def new_topic(topic: Topic, replication: int) -> NewTopic:
    """Return a topic as Kafka's admin client takes it."""
    config = topic_config(topic) | {"min.insync.replicas": str(max(1, replication - 1))}
    return NewTopic(topic.name, topic.partitions, replication, config=config)


def deploy(
    settings: Settings,
    topics: Iterable[Topic] = TOPICS.values(),
    say: Callable[[str], None] = print,
) -> None:
    """Create what is missing; change nothing that exists, so it may run again and again.

    Raises:
        NotDeployed: Kafka refuses a topic, or the registry a schema.
        NoAnswer, RegistryFailed: Kafka or the registry does not answer.
    """
    admin = reach(settings, within_s=ANSWER_S)
    registry = Registry(settings.registry_url, token=settings.registry_token.get_secret_value())
    topics = tuple(topics)
    new_topics = [new_topic(topic, settings.kafka_replication) for topic in topics]
    for name, created in admin.create_topics(new_topics, operation_timeout=30).items():
        try:
            created.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise NotDeployed(f"Kafka refuses topic {name}: {error.args[0].str()}") from error
        else:
            say(f"created topic {name}")
    for topic in topics:
        if topic.schema is not None:
            try:
                schema_id = registry.register(topic)
            except SchemaRegistryError as error:
                raise NotDeployed(f"The registry refuses {topic.subject}: {error}") from error
            say(f"schema of {topic.subject}: id {schema_id}")
