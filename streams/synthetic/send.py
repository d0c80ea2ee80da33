"""A catalogue → declarations on their topic, photos in object storage, the truth in a file."""

import asyncio
import contextlib
import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from schemas.topics import DECLARATIONS
from streams.kafka.delivery import Deliveries, NotDelivered, producer
from streams.kafka.events import cloud_event, new_trace
from streams.kafka.registry import Registry
from streams.object_storage import ObjectStorage
from streams.settings import Settings
from streams.synthetic.irregularities import Consignment

NAMESPACE = uuid.UUID("0f3b0c86-4b0a-5d3f-9f55-8c4d1f0e2a11")


class Sender:
    """Uploads photos, each once, and produces declarations, every one delivered."""

    def __init__(self, settings: Settings) -> None:
        self._storage = ObjectStorage(settings)
        self._photos = self._storage.bucket(settings.s3_buckets[0])
        self._loop = asyncio.Runner()
        self._schema_id = Registry(settings.registry_url).schema_id(DECLARATIONS)
        # One more than the topic takes: the broker, not the client, refuses what is too large.
        limit_mb = DECLARATIONS.max_message_mb + 1
        self._deliveries = Deliveries(producer(settings, max_message_mb=limit_mb))
        self._uploaded: set[str] = set()

    def send(self, consignment: Consignment) -> None:
        """Upload the photos that are new, then produce the event.

        Raises:
            NotDelivered: object storage does not take a photo.
        """
        for key, photo in consignment.photos.items():
            if key not in self._uploaded:
                try:
                    self._loop.run(self._photos.write(key, photo, media_type="image/jpeg"))
                except OSError as error:
                    problem = str(error) or type(error).__name__
                    raise NotDelivered(
                        f"A photo could not be uploaded: {problem}. Check REDLANE_S3_ENDPOINT, "
                        "its keys and buckets, or start it on this machine with `redlane up`."
                    ) from error
                self._uploaded.add(key)
        declaration = consignment.declaration
        headers = cloud_event(
            DECLARATIONS.schema,
            id_=str(uuid.uuid5(NAMESPACE, f"{declaration.declaration_id}/{declaration.version}")),
            source="redlane/send",
            time=datetime.now(UTC),
            traceparent=new_trace(),
        )
        self._deliveries.put(
            DECLARATIONS.name,
            key=declaration.declaration_id.encode(),
            value=consignment.value(self._schema_id),
            headers=list(headers),
        )

    def flush(self) -> None:
        """Wait for every delivery.

        Raises:
            NotDelivered: an event was refused, or the broker does not answer.
        """
        self._deliveries.wait()

    def close(self) -> None:
        """Close the connections to the object storage."""
        self._loop.run(self._storage.close())
        self._loop.close()


def new_run() -> str:
    """Return a random name for a run, so that its declarations have ids of their own."""
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
        consignments: to be sent.
        rate: declarations per second; 0 for as fast as possible.
        truth: JSON lines file of what is irregular about each; None for none.
        sent: called after each declaration.
        stopped: called before each; true ends the sending.

    Raises:
        NotDelivered: the broker did not take every event, or object storage a photo.
        NotDeployed: the registry lacks the schema.
        RegistryFailed: the registry does not answer.
    """
    sender = Sender(settings)
    begin, count = time.monotonic(), 0
    with (
        contextlib.closing(sender),
        truth.open("w") if truth else contextlib.nullcontext() as file,
    ):
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
