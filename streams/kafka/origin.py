"""Events that are read without a consumer group: one by its place, or all of a topic."""

import re
import threading
import time
from collections.abc import Generator, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.topics import DECLARATIONS, Topic
from streams.kafka.delivery import NotDelivered
from streams.kafka.events import Inbound, received
from streams.kafka.registry import NotDeployed
from streams.settings import Settings

TRANSIENT: Final = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT)  # noqa: SLF001 - their names
"""The client goes on trying."""
DENIALS: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
GIVE_RIGHTS: Final = "an administrator gives rights with `redlane deploy --acls`"
ORIGINS_GROUP: Final = "redlane-origin"
CONTENTS_GROUP: Final = "redlane-contents"
"""Groups that nobody joins: Kafka's client needs a name."""
PLACE: Final = re.compile(
    r"(?P<topic>[\w.-]+)/(?P<partition>\d{1,9})/(?P<offset>\d{1,18})", re.ASCII
)
GONE: Final = (
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - its name
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - its name
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - its name
)
"""The record has expired, or the topic was created again."""
NO_ENDS: Final[Mapping[int, int]] = {}


class Origins:
    """Fetches declarations, one at a time. Thread safe; joins no consumer group."""

    def __init__(self, settings: Settings, *, within_s: float = 10.0) -> None:
        """Connect; `within_s` is for one record."""
        self._within_s = within_s
        self._lock = threading.Lock()
        self._consumer = Consumer(
            settings.confluent()
            | {
                "group.id": ORIGINS_GROUP,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                # A fetch waits behind the previous one, which asks for more records than there are.
                "fetch.wait.max.ms": 10,
                "queued.max.messages.kbytes": 1024,  # one record is needed, not those after it
            }
        )

    def __call__(self, origin: str) -> Inbound | None:
        """Return the declaration at topic/partition/offset; None where it is gone.

        Raises:
            KafkaException: Kafka does not answer.
            TimeoutError: Kafka does not send the record in time.
        """
        place = PLACE.fullmatch(origin)
        if place is None or place["topic"] != DECLARATIONS.name:
            return None
        with self._lock:
            try:
                return self._fetched(int(place["partition"]), int(place["offset"]))
            except KafkaException as error:
                if error.args[0].code() in GONE:
                    return None
                raise
            finally:
                self._consumer.unassign()

    def _fetched(self, partition: int, offset: int) -> Inbound | None:
        deadline = time.monotonic() + self._within_s
        at = TopicPartition(DECLARATIONS.name, partition, offset)
        low, high = self._consumer.get_watermark_offsets(at, timeout=self._within_s)
        if not low <= offset < high:
            return None
        self._consumer.assign([at])
        while time.monotonic() < deadline:
            message = self._consumer.poll(self._within_s)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            if message.offset() != offset:
                return None
            return received(message)
        raise TimeoutError(f"Kafka did not give a record within {self._within_s:g} s.")


class NoAnswer(NotDelivered):
    """Kafka does not answer."""


class Refused(NoAnswer):
    """Kafka answers, but not to this user: another attempt would fail too."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}.")
        self.problem = problem
        self.remedy = remedy


def no_answer(error: KafkaException) -> NoAnswer:
    """Return what to say, and to do, where Kafka does not answer, or refuses to."""
    cause: KafkaError = error.args[0]
    if cause.code() in DENIALS:
        return Refused(f"Kafka refuses: {cause.str()}", GIVE_RIGHTS)
    if cause.code() == KafkaError._AUTHENTICATION:  # noqa: SLF001 - its name
        remedy = "check REDLANE_KAFKA_USERNAME and REDLANE_KAFKA_PASSWORD"
        return Refused(f"Kafka refuses the user: {cause.str()}", remedy)
    # That the broker refuses our certificate, only the text says.
    if cause.code() == KafkaError._SSL or "SSL alert" in cause.str():  # noqa: SLF001 - its name
        remedy = "check REDLANE_KAFKA_CA_FILE, and when the certificates of both sides expire"
        return Refused(f"TLS to Kafka fails: {cause.str()}", remedy)
    return NoAnswer(
        f"Kafka does not answer: {cause.str()}. Check REDLANE_KAFKA_BOOTSTRAP_SERVERS, or "
        "start it on this machine with `redlane up`."
    )


def absent(error: KafkaError, topic: str) -> NotDeployed | NoAnswer:
    """Return what to say of a topic that is not there, or that this user may not see."""
    if error.code() in DENIALS:
        return no_answer(KafkaException(error))
    return NotDeployed(f"{error.str()}: {topic}. Run `redlane deploy` first.")


def partitions_of(consumer: Consumer, topic: Topic, within_s: float) -> list[int]:
    """Return the partitions of a topic.

    Raises:
        NotDeployed: the topic is missing.
        Refused: this user may not see it.
        KafkaException: Kafka does not answer.
    """
    described = consumer.list_topics(topic.name, timeout=within_s).topics[topic.name]
    if described.error is not None:
        raise absent(described.error, topic.name)
    return list(described.partitions)


def contents(
    settings: Settings,
    topic: Topic,
    *,
    within_s: float,
    begin: Mapping[int, int] | None = None,
    end: Mapping[int, int] = NO_ENDS,
) -> Generator[Message]:
    """Yield every event that lies on a topic now, partition by partition in order.

    Begins where retention has left something, and ends where Kafka says that a partition ends: the
    last offsets may belong to no event.

    Args:
        settings: of Kafka.
        topic: to be read.
        within_s: longest wait for Kafka's next answer.
        begin: partitions that are read → first offset of each; None for all, from the beginning.
        end: partition → first offset that is not read; the others are read to their end.

    Raises:
        NotDeployed: the topic is missing.
        NoAnswer: the broker does not answer.
        NotDelivered: it stopped answering.
    """
    consumer = Consumer(
        settings.confluent()
        | {
            "group.id": CONTENTS_GROUP,
            "enable.auto.commit": False,
            # Retention may remove the first event between the question and the fetch.
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,  # the end is told by an answer without events
            "log_level": 0,
        }
    )
    try:
        ends = _assign(consumer, topic, within_s, begin, end)
        deadline = time.monotonic() + within_s
        while ends:
            message = consumer.poll(min(within_s, 1.0))
            error = None if message is None else message.error()
            if message is None or (error is not None and error.code() in TRANSIENT):
                if time.monotonic() > deadline:
                    raise NotDelivered(f"The broker did not give the rest of {topic.name}.")
                continue
            deadline = time.monotonic() + within_s
            partition = message.partition() or 0
            if error is None and (message.offset() or 0) < ends.get(partition, 0):
                yield message
            elif error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                raise NotDelivered(
                    f"{topic.name} cannot be read. {no_answer(KafkaException(error))}"
                )
            if error is not None or (message.offset() or 0) + 1 >= ends.get(partition, 0):
                ends.pop(partition, None)
                consumer.pause([TopicPartition(topic.name, partition)])
    finally:
        consumer.close()


def _assign(
    consumer: Consumer,
    topic: Topic,
    within_s: float,
    begin: Mapping[int, int] | None,
    end: Mapping[int, int],
) -> dict[int, int]:
    """Assign the partitions that have events, from the first that is there; return their ends."""
    ends, places = {}, []
    try:
        for number in partitions_of(consumer, topic, within_s):
            place = TopicPartition(topic.name, number)
            if begin is not None and number not in begin:
                continue
            low, high = consumer.get_watermark_offsets(place, timeout=within_s)
            first = low if begin is None else max(low, begin[number])
            high = min(high, end.get(number, high))
            if high > first:
                ends[number] = high
                places.append(TopicPartition(topic.name, number, first))
    except KafkaException as error:
        raise no_answer(error) from error
    consumer.assign(places)
    return ends
