"""Declarations in a steady stream, how far workers are behind, and how long each waited."""

import hashlib
import threading
from dataclasses import replace
from datetime import UTC, datetime

from confluent_kafka import Consumer, TopicPartition

from models.datasets.goods import read
from schemas.codec import encode
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run, send

CLEAN = {"clean": 1.0}
MIXED = {
    "clean": 0.8,
    "wrong_code": 0.05,
    "undervaluation": 0.05,
    "photo_reuse": 0.02,
    "missing_photo": 0.03,
    "broken_photo": 0.03,
    "malformed": 0.02,
}
"""Mostly regular, as a real stream, and some of every sort of trouble."""


def source(settings, goods_folder, dice, *, shares=CLEAN):
    """Makes consignments of traders of their own, lodged from now on."""
    return Irregularities(
        read(goods_folder),
        bucket=settings.s3_buckets[0],
        run=new_run(),
        seed=dice.randrange(1 << 31),
        shares=shares,
        start=datetime.now(UTC),
    )


def never_seen(consignment, dice):
    """The same consignment with texts and photos of its own, so that no embedding is cached.

    What follows the end of a JPEG changes its hash and nothing that is seen.
    """
    if consignment.truth.kind == "malformed":
        return consignment
    photos, items = dict(consignment.photos), []
    for item in consignment.declaration.goods_items:
        references = []
        for reference in item.images:
            photo = consignment.photos.get(reference.uri.rpartition("/")[2])
            if photo is not None and reference.sha256 in photos:
                photo += dice.randbytes(8)
                sha256 = hashlib.sha256(photo).hexdigest()
                photos[sha256] = photo
                reference = replace(  # noqa: PLW2901 - the same, of another file
                    reference, uri=reference.uri.replace(reference.sha256, sha256), sha256=sha256
                )
            references.append(reference)
        text = f"{item.description} {dice.randrange(1 << 31)}"
        items.append(replace(item, description=text, images=tuple(references)))
    used = {reference.sha256 for item in items for reference in item.images}
    declaration = replace(consignment.declaration, goods_items=tuple(items))
    return replace(
        consignment,
        declaration=declaration,
        value=lambda schema_id: encode(declaration, schema_id),
        photos={sha256: photo for sha256, photo in photos.items() if sha256 in used},
    )


def half_new(consignments, dice):
    """Yield them, every other one as goods that were never seen."""
    for consignment in consignments:
        yield never_seen(consignment, dice) if dice.random() < 0.5 else consignment


class Load:
    """Sends consignments at a rate, in a thread; a context manager that ends with all delivered."""

    def __init__(self, settings, consignments, *, rate):
        self._settings = settings
        self._consignments = consignments
        self._rate = rate
        self._stop = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._send, name="load", daemon=True)
        self.sent = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(120)
        if kind is None:
            assert not self._thread.is_alive()
            self.check()

    @property
    def is_over(self):
        """Whether everything was sent."""
        self.check()
        return not self._thread.is_alive()

    def check(self):
        """Raise what ended the sending."""
        if self._error is not None:
            raise self._error

    def _send(self):
        try:
            send(
                self._settings,
                self._consignments,
                rate=self._rate,
                truth=None,
                sent=self._count,
                stopped=self._stop.is_set,
            )
        except Exception as error:  # noqa: BLE001 - `check` raises it in the test's thread
            self._error = error

    def _count(self, _):
        self.sent += 1


class Lag:
    """How many events of a topic a group has not committed."""

    def __init__(self, settings, group, topic):
        self._consumer = Consumer(settings.confluent() | {"group.id": group})
        self._places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]

    def __call__(self):
        committed = self._consumer.committed(self._places, timeout=20)
        ends = (self._consumer.get_watermark_offsets(place, 20)[1] for place in self._places)
        return sum(end - max(place.offset, 0) for place, end in zip(committed, ends, strict=True))

    def close(self):
        """Disconnect."""
        self._consumer.close()


def arrivals(settings, topic):
    """Return the time of the first event under each key of a topic, by its Kafka timestamp. Unit: s."""
    consumer = Consumer(settings.confluent() | {"group.id": "arrivals"})
    times, left = {}, {}
    for number in range(topic.partitions):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic.name, number), 20)
        if high > low:
            left[number] = high
    consumer.assign([TopicPartition(topic.name, number, 0) for number in left])
    while left:
        for message in consumer.consume(500, timeout=10):
            assert message.error() is None, message.error()
            times.setdefault(message.key(), message.timestamp()[1] / 1000)
            if message.offset() + 1 >= left.get(message.partition(), 0):
                left.pop(message.partition(), None)
    consumer.close()
    return times
