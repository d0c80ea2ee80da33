"""A catalogue → declarations on their topic, photos in object storage, the truth in a file."""

import contextlib
import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from schemas.topics import DECLARATIONS
from streams.kafka.contact import reach
from streams.kafka.delivery import Deliveries, NotDelivered, producer
from streams.kafka.events import cloud_event, new_trace
from streams.kafka.registry import Registry
from streams.settings import Settings
from streams.synthetic.irregularities import Consignment

ANSWER_S = 10.0
"""For Kafka to answer at all."""
NAMESPACE = uuid.UUID("0f3b0c86-4b0a-5d3f-9f55-8c4d1f0e2a11")


def photo_store(settings: Settings) -> S3Store:
    """Return the first bucket that photos may be read from, to write to."""
    deadline = timedelta(seconds=settings.photo_deadline_s)
    return S3Store(
        settings.s3_buckets[0],
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key.get_secret_value(),
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": settings.s3_endpoint.startswith("http://"),
            "timeout": deadline,
            "connect_timeout": deadline / 2,
        },
        retry_config={"retry_timeout": deadline, "max_retries": 3},
    )


class Sender:
    """Uploads photos, each once, and produces declarations, every one delivered."""

    def __init__(self, settings: Settings) -> None:
        reach(settings, within_s=ANSWER_S)
        self._store = photo_store(settings)
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
                    obstore.put(self._store, key, photo)
                except (OSError, BaseError) as error:
                    first_line = str(error).partition("\n")[0]
                    raise NotDelivered(
                        f"A photo could not be uploaded: {first_line}. Check REDLANE_S3_ENDPOINT, "
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
