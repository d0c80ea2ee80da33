"""risk-profiles, tariff-measures → what every worker knows, hot; and records → those topics.

Compacted topics, read whole by a plain consumer without a group and then followed in a thread:
Faust's tables lose events (docs/decisions/0008-reference-topics.md).
"""

import csv
import hashlib
import secrets
import threading
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from models import profiles, tariff
from models.tariff import Tariff
from schemas import codec
from schemas.codec import Record
from schemas.records import RiskProfile, TariffMeasure
from schemas.topics import Topic
from streams.delivery import NotDelivered
from streams.events import NAMESPACE
from streams.known import TOPICS, Known, Snapshot
from streams.registry import NotDeployed, Registry
from streams.settings import Settings

PASSING: Final = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT)  # noqa: SLF001 - their names
"""The client goes on trying. A broker that is gone also stops the declarations."""
POLL_S: Final = 0.2
"""Between what is published and what is known."""
BATCH: Final = 1000
TARIFF: Final = Path(__file__).parent / "sample" / "tariff.csv"
"""Of the sample catalogue."""
TARIFF_2024: Final = datetime(2024, 1, 1, tzinfo=UTC)
log = structlog.get_logger(__name__)


class ReferenceLost(Exception):  # noqa: N818 - says what happened
    """The reference topics cannot be read (any more): what is known would silently go stale."""


class Reference:
    """Reads both topics whole, then follows them in a thread. Use it as a context manager.

    A worker starts it before it is ready, takes `snapshot` once for a micro-batch, and calls
    `check` every second or so.
    """

    def __init__(self, settings: Settings, *, within_s: float = 60.0, log: Any = log) -> None:
        """Connect; nothing is read yet.

        Args:
            settings: of Kafka and the registry.
            within_s: for all that lies on the topics to be read.
            log: structlog's.

        Raises:
            NotDeployed: a topic or a schema is missing.
        """
        self._known = Known(Registry(settings.registry_url).writers, log)
        self._within_s = within_s
        self._log = log
        self._consumer = Consumer(
            settings.confluent()
            | {
                "group.id": "redlane-reference",  # must be there; no group is joined
                "enable.auto.commit": False,
                # An offset that is gone: the topic was made anew. Start over, do not guess.
                "auto.offset.reset": "error",
                # The end, told: what lies before the high watermark may be compacted away.
                "enable.partition.eof": True,
            }
        )
        self.snapshot: Snapshot = self._known.snapshot()
        """What is known now; replaced as a whole."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def profiles(self) -> tuple[RiskProfile, ...]:
        """All risk profiles, by id; `snapshot` gives them and the tariff of one moment."""
        return self.snapshot.profiles

    @property
    def tariff(self) -> Tariff:
        """The tariff."""
        return self.snapshot.tariff

    def load(self) -> Snapshot:
        """Read all that lies on the topics now.

        Raises:
            NotDeployed: a topic is missing.
            ReferenceLost: the topics could not be read in time.
        """
        deadline = time.monotonic() + self._within_s
        waiting = self._assign()
        while waiting:
            if time.monotonic() > deadline:
                raise ReferenceLost(
                    f"{', '.join(sorted({topic for topic, _ in waiting}))} could not be read "
                    f"within {self._within_s:g} s. Does Kafka answer?"
                )
            ended, _ = self._poll()
            waiting -= ended
        self.snapshot = self._known.snapshot()
        return self.snapshot

    def start(self) -> Self:
        """Load, then follow what comes.

        Raises:
            NotDeployed: a topic is missing.
            ReferenceLost: the topics could not be read in time.
        """
        try:
            found = self.load()
        except BaseException:
            self.stop()
            raise
        self._log.info("reference topics read", profiles=len(found.profiles))
        self._tell_ignored(found.profiles)
        self._thread = threading.Thread(target=self._follow, name="reference", daemon=True)
        self._thread.start()
        return self

    def check(self) -> None:
        """Do nothing while the topics are followed.

        Raises:
            ReferenceLost: the thread that follows them ended. Only a restart repairs it.
        """
        if self._thread is None or not self._thread.is_alive():
            raise ReferenceLost(
                f"The reference topics are not followed: {self._error or 'not running'}"
            ) from self._error

    def stop(self) -> None:
        """End the thread and leave Kafka. Nothing is started again after it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        else:
            self._consumer.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _assign(self) -> set[tuple[str, int]]:
        places = []
        for name in TOPICS:
            try:
                found = self._consumer.list_topics(name, timeout=self._within_s).topics[name]
            except KafkaException as error:
                raise ReferenceLost(f"Kafka does not answer: {error.args[0].str()}") from error
            if found.error is not None:
                raise NotDeployed(f"{found.error.str()}: {name}. Run `redlane deploy` first.")
            places += [
                TopicPartition(name, number, OFFSET_BEGINNING) for number in found.partitions
            ]
        self._consumer.assign(places)
        return {(place.topic, place.partition) for place in places}

    def _poll(self) -> tuple[set[tuple[str, int]], bool]:
        """Take what has come; return which partitions are at their end, and whether any came."""
        ended, came = set(), False
        for message in self._consumer.consume(BATCH, timeout=POLL_S):
            error = message.error()
            topic = message.topic() or ""
            if error is None:
                came = True
                self._known.take(topic, message.key(), message.value(), message.offset() or 0)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                ended.add((topic, message.partition() or 0))
            elif error.code() not in PASSING:
                raise ReferenceLost(f"{topic}: {error.str()}")
        return ended, came

    def _follow(self) -> None:
        try:
            while not self._stopping.is_set():
                _, came = self._poll()
                if came:
                    before = set(self.snapshot.profiles)
                    self.snapshot = self._known.snapshot()
                    self._tell_ignored(p for p in self.snapshot.profiles if p not in before)
        except Exception as error:  # noqa: BLE001 - `check` raises it where the worker sees it
            self._error = error
            self._log.exception("reference topics lost")
        finally:
            self._consumer.close()

    def _tell_ignored(self, new: Iterable[RiskProfile]) -> None:
        for one in new:
            if reason := profiles.problem(one):
                self._log.warning(
                    "profile ignored",
                    profile_id=one.profile_id,
                    version=one.version,
                    reason=reason,
                )


def read(settings: Settings, *, within_s: float = 60.0, log: Any = log) -> Snapshot:
    """Return what lies on the reference topics now.

    Raises:
        NotDeployed: a topic or a schema is missing.
        ReferenceLost: the topics could not be read in time.
    """
    reference = Reference(settings, within_s=within_s, log=log)
    try:
        return reference.load()
    finally:
        reference.stop()


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
        self._producer = Producer(
            settings.confluent()
            | {
                "enable.idempotence": True,
                "compression.type": "zstd",
                "linger.ms": 5,
                "partitioner": "murmur2_random",
            }
        )

    def put(self, topic: Topic, records: Iterable[Record]) -> int:
        """Publish records, each under its key, and wait until the broker has all; returns how many.

        Raises:
            NotDeployed: the topic's schema is not registered.
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
        refused: list[str] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                refused.append(error.str())

        count = 0
        for key, value in events:
            self._producer.produce(
                topic.name,
                key=key,
                value=value,
                headers=self._headers(topic, key, value),
                on_delivery=delivered,
            )
            self._producer.poll(0)
            count += 1
        waiting = self._producer.flush(60)
        if waiting or refused:
            raise NotDelivered(f"{waiting} events wait, {len(refused)} were refused: {refused[:3]}")
        return count

    def _headers(
        self, topic: Topic, key: bytes, value: bytes | None
    ) -> dict[str, str | bytes | None]:
        content = hashlib.sha256(value or b"").hexdigest()
        return {
            "ce_specversion": "1.0",
            "ce_id": str(uuid.uuid5(NAMESPACE, f"{topic.name}|{key.hex()}|{content}")),
            "ce_source": self._source,
            "ce_type": f"redlane.{topic.schema}",
            "ce_time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "content-type": "application/avro",
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        }


def load_tariff_csv(path: Path) -> list[TariffMeasure]:
    """Return measures for all origins, open-ended, from a table with columns hs6 and duty_rate.

    sample/tariff.csv is such a table, of our own: indicative third-country rates (percent) for the
    codes of sample/products.csv, after the conventional duties of the Common Customs Tariff,
    Commission Implementing Regulation (EU) 2023/2364. Where an HS6 code has several rates below it,
    it has one of them.

    Raises:
        ValueError: a row is no measure; the message has the line.
    """
    measures = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            try:
                measure = TariffMeasure(
                    measure_id=f"{row['hs6']}-erga-omnes",
                    commodity_code=row["hs6"],
                    duty_rate=float(row["duty_rate"]),
                    valid_from=TARIFF_2024,
                    source="Commission Implementing Regulation (EU) 2023/2364, indicative",
                )
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {line}: not hs6 and duty_rate") from error
            if reason := tariff.problem(measure):
                raise ValueError(f"{path}, line {line}: {reason}")
            measures.append(measure)
    return measures
