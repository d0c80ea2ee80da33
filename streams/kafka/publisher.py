"""Records → compacted topics, and tombstones that remove them."""

import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from schemas import codec
from schemas.codec import Record
from schemas.topics import Topic
from streams.kafka.delivery import Deliveries, producer
from streams.kafka.events import NAMESPACE, cloud_event, new_trace
from streams.kafka.registry import Registry
from streams.settings import Settings


class Publisher:
    """Puts records on compacted topics, under the key that topics.toml names."""

    def __init__(self, settings: Settings, *, source: str) -> None:
        """Connect.

        Args:
            settings: of Kafka and the registry.
            source: `ce_source` of the events.
        """
        self._source = source
        self._registry = Registry(settings.registry_url)
        self._producer = producer(settings)

    def put(self, topic: Topic, records: Iterable[Record]) -> int:
        """Publish records, each under its key, and wait until the broker has all; returns how many.

        Raises:
            NotDeployed: the topic's schema is not registered.
            RegistryFailed: the registry does not answer.
            NotDelivered: an event was refused, or the broker does not answer.
        """
        schema_id = self._registry.schema_id(topic)
        return self._send(
            topic,
            (
                (getattr(record, topic.key).encode(), codec.encode(record, schema_id))
                for record in records
            ),
        )

    def remove(self, topic: Topic, keys: Iterable[str]) -> int:
        """Publish tombstones, so that readers forget the keys; returns how many.

        Raises:
            NotDelivered: an event was refused, or the broker does not answer.
        """
        return self._send(topic, ((key.encode(), None) for key in keys))

    def _send(self, topic: Topic, events: Iterable[tuple[bytes, bytes | None]]) -> int:
        deliveries, count = Deliveries(self._producer), 0
        for key, value in events:
            content = hashlib.sha256(value or b"").hexdigest()
            headers = cloud_event(
                topic.schema,
                id_=str(uuid.uuid5(NAMESPACE, f"{topic.name}|{key.hex()}|{content}")),
                source=self._source,
                time=datetime.now(UTC),
                traceparent=new_trace(),
            )
            deliveries.put(topic.name, key=key, value=value, headers=list(headers))
            count += 1
        deliveries.wait()
        return count
