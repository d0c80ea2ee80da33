"""A catalogue → declarations on their topic, photos in object storage, the truth in a file."""

import contextlib
import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import obstore
from confluent_kafka import Producer

from schemas.topics import DECLARATIONS
from streams.delivery import NotDelivered
from streams.images import stores
from streams.irregularities import Consignment
from streams.registry import Registry
from streams.settings import Settings

NAMESPACE = uuid.UUID("0f3b0c86-4b0a-5d3f-9f55-8c4d1f0e2a11")


class Sender:
    """Uploads photos, each once, and produces declarations, every one delivered."""

    def __init__(self, settings: Settings) -> None:
        self._store = stores(settings)[settings.s3_buckets[0]]
        self._schema_id = Registry(settings.registry_url).schema_id(DECLARATIONS)
        self._producer = Producer(
            settings.confluent()
            | {
                "enable.idempotence": True,
                "compression.type": "zstd",
                "message.max.bytes": 17_000_000,
                "linger.ms": 5,
                # As Kafka's own clients: a key goes to the same partition, whoever sends it.
                "partitioner": "murmur2_random",
            }
        )
        self._uploaded: set[str] = set()
        self._failed: list[str] = []

    def send(self, consignment: Consignment) -> None:
        """Upload what is new of the photos, then produce the event."""
        for key, photo in consignment.photos.items():
            if key not in self._uploaded:
                obstore.put(self._store, key, photo)
                self._uploaded.add(key)
        declaration = consignment.declaration
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(
                uuid.uuid5(NAMESPACE, f"{declaration.declaration_id}/{declaration.version}")
            ),
            "ce_source": "redlane/send",
            "ce_type": "redlane.declaration",
            "ce_time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "content-type": "application/avro",
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        }
        self._producer.produce(
            DECLARATIONS.name,
            key=declaration.declaration_id.encode(),
            value=consignment.value(self._schema_id),
            headers={name: value.encode() for name, value in headers.items()},
            on_delivery=self._delivered,
        )
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait for every delivery.

        Raises:
            NotDelivered: an event was refused, or the broker does not answer.
        """
        waiting = self._producer.flush(60)
        if waiting or self._failed:
            raise NotDelivered(
                f"{waiting} events wait, {len(self._failed)} were refused: {self._failed[:3]}"
            )

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(str(error))


def new_run() -> str:
    """Return a name that tells this run's declarations from another's."""
    return secrets.token_hex(4).upper()


def send(
    settings: Settings,
    consignments: Iterable[Consignment],
    *,
    rate: float,
    truth: Path | None,
    sent: Callable[[Consignment], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Send consignments at a rate; returns how many were delivered.

    Args:
        settings: of the services.
        consignments: what to send.
        rate: declarations per second; 0 for as fast as possible.
        truth: JSON lines file of what is irregular about each; None for none.
        sent: told of each declaration.
        stopped: asked before each whether to end.

    Raises:
        NotDelivered: the broker did not take every event.
    """
    sender = Sender(settings)
    begin, count = time.monotonic(), 0
    with truth.open("w") if truth else contextlib.nullcontext() as file:
        for consignment in consignments:
            if stopped():
                break
            if rate:
                time.sleep(max(0.0, begin + count / rate - time.monotonic()))
            if file:
                file.write(json.dumps(asdict(consignment.truth)) + "\n")
            sender.send(consignment)
            sent(consignment)
            count += 1
    sender.flush()
    return count
