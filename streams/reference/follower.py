"""risk-profiles, tariff-measures, exchange-rates → the current reference data in every worker.

Compacted topics, read whole by a plain consumer without a group and then followed in a thread:
Faust's tables lose events (docs/decisions/0008-reference-topics.md).
"""

import threading
import time
from collections.abc import Iterable
from typing import Any, Final, Self

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from models.selection import profiles
from schemas.records import RiskProfile
from schemas.topics import Topic
from streams.kafka.contact import reach
from streams.kafka.origin import TRANSIENT, absent, no_answer
from streams.kafka.registry import Registry
from streams.reference.state import TOPICS, ReferenceState, Snapshot
from streams.settings import Settings

GROUP: Final = "redlane-reference"
"""That nobody joins: Kafka's client needs a name."""
POLL_S: Final = 0.2
"""Longest wait for new events."""
BATCH: Final = 1000
ANSWER_S: Final = 10.0
"""For Kafka to answer a command at all."""
log = structlog.get_logger(__name__)


class ReferenceLost(Exception):  # noqa: N818 - says what happened
    """The reference topics cannot be read (any more): the data would silently go stale."""


class Reference:
    """Reads the topics whole, then follows them in a thread; a context manager.

    A worker starts it before it is ready, takes `snapshot` once for a micro-batch, and calls
    `check` every second or so.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topics: Iterable[Topic] = tuple(TOPICS.values()),
        within_s: float = 60.0,
        log: Any = log,
    ) -> None:
        """Connect; nothing is read yet.

        Args:
            settings: of Kafka and the registry.
            topics: that are followed; the reader needs the right to read each.
            within_s: for everything on the topics to be read.
            log: structlog's.

        Raises:
            NotDeployed: a topic or a schema is missing.
            RegistryFailed: the registry does not answer.
        """
        self._state = ReferenceState(Registry(settings.registry_url).writers, log)
        self._topics = [topic.name for topic in topics]
        self._within_s = within_s
        self._log = log
        self._consumer = Consumer(
            settings.confluent()
            | {
                "group.id": GROUP,
                "enable.auto.commit": False,
                # Where an offset is gone, the topic was created again: start over, do not guess.
                "auto.offset.reset": "error",
                # Kafka marks the end: the last offsets before it may be compacted away.
                "enable.partition.eof": True,
            }
        )
        self.snapshot: Snapshot = self._state.snapshot()
        """The current reference data; replaced as a whole."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def load(self) -> Snapshot:
        """Read everything that is on the topics now.

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
        self.snapshot = self._state.snapshot()
        return self.snapshot

    def start(self) -> Self:
        """Load, then follow the topics.

        Raises:
            NotDeployed: a topic is missing.
            ReferenceLost: the topics could not be read in time.
        """
        try:
            snapshot = self.load()
        except BaseException:
            self.stop()
            raise
        self._log.info("reference topics read", profiles=len(snapshot.profiles))
        self._log_ignored(snapshot.profiles)
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
        """End the thread and leave Kafka, for good."""
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
        """Assign all partitions, from their beginning; returns topic and number of each."""
        partitions = []
        for name in self._topics:
            try:
                topic = self._consumer.list_topics(name, timeout=self._within_s).topics[name]
            except KafkaException as error:
                raise ReferenceLost(str(no_answer(error))) from error
            if topic.error is not None:
                raise absent(topic.error, name)
            partitions += [
                TopicPartition(name, number, OFFSET_BEGINNING) for number in topic.partitions
            ]
        self._consumer.assign(partitions)
        return {(partition.topic, partition.partition) for partition in partitions}

    def _poll(self) -> tuple[set[tuple[str, int]], bool]:
        """Take new events; return the partitions at their end, and whether there were events."""
        ended, changed = set(), False
        for message in self._consumer.consume(BATCH, timeout=POLL_S):
            error = message.error()
            topic = message.topic() or ""
            if error is None:
                changed = True
                self._state.take(topic, message.key(), message.value(), message.offset() or 0)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                ended.add((topic, message.partition() or 0))
            elif error.code() not in TRANSIENT:  # a broker that is gone also stops the declarations
                raise ReferenceLost(f"{topic}: {error.str()}")
        return ended, changed

    def _follow(self) -> None:
        try:
            while not self._stopping.is_set():
                _, changed = self._poll()
                if changed:
                    before = set(self.snapshot.profiles)
                    self.snapshot = self._state.snapshot()
                    self._log_ignored(p for p in self.snapshot.profiles if p not in before)
        except Exception as error:  # noqa: BLE001 - `check` raises it where the worker sees it
            self._error = error
            self._log.exception("reference topics lost")
        finally:
            self._consumer.close()

    def _log_ignored(self, new: Iterable[RiskProfile]) -> None:
        for profile in new:
            if reason := profiles.problem(profile):
                self._log.warning(
                    "profile ignored",
                    profile_id=profile.profile_id,
                    version=profile.version,
                    reason=reason,
                )


def read(
    settings: Settings,
    *,
    topics: Iterable[Topic] = tuple(TOPICS.values()),
    within_s: float = 60.0,
    log: Any = log,
) -> Snapshot:
    """Return the reference data that is on topics now.

    Raises:
        NotDeployed: a topic or a schema is missing.
        RegistryFailed: the registry does not answer.
        NoAnswer: Kafka does not answer, or refuses.
        ReferenceLost: the topics could not be read in time.
    """
    reference = Reference(settings, topics=topics, within_s=within_s, log=log)
    try:
        reach(settings, within_s=min(ANSWER_S, within_s))
        return reference.load()
    finally:
        reference.stop()
