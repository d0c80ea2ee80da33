"""Whether Kafka answers, asked every few seconds, also while there is nothing to do."""

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.topics import Topic
from streams.settings import Settings

ASK_EVERY_S: Final = 3.0
ANSWER_S: Final = 5.0
log = structlog.get_logger(__name__)


class Contact:
    """Asks the brokers for a topic, in a thread; ends with the process."""

    def __init__(
        self,
        ask: Callable[[], object],
        *,
        limit_s: float,
        on_lost: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what asks and what to do.

        Args:
            ask: see `asking_for`.
            limit_s: without an answer, until `on_lost` is called. Unit: s.
            on_lost: called in the thread, after each question from then on.
            clock: in seconds.
        """
        self._ask = ask
        self._limit_s = limit_s
        self._on_lost = on_lost
        self._clock = clock
        self._lost_at: float | None = None
        self._thread = threading.Thread(target=self._follow, name="kafka-contact", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    @property
    def lost_s(self) -> float:
        """For how long no broker has answered; 0 while one does. Unit: s.

        It counts from the end of the first question without an answer: a process that was frozen
        meanwhile is not cut off.
        """
        lost_at = self._lost_at
        return 0.0 if lost_at is None else self._clock() - lost_at

    def ask(self) -> None:
        """Ask once."""
        try:
            self._ask()
        except KafkaException as error:
            if self._lost_at is None:
                self._lost_at = self._clock()
                log.warning("Kafka does not answer", error=error.args[0].str())
            if self.lost_s > self._limit_s:
                self._on_lost()
        else:
            if self._lost_at is not None:
                log.info("Kafka answers again", after_s=round(self.lost_s))
            self._lost_at = None

    def _follow(self) -> None:
        while True:
            self.ask()
            time.sleep(ASK_EVERY_S)


def asking_for(settings: Settings, topic: Topic) -> Callable[[], object]:
    """Return a function that asks the brokers about a topic.

    It raises KafkaException where none answers within ANSWER_S.
    """
    # It fails while no broker answers, which is what we tell ourselves.
    admin = AdminClient(settings.confluent() | {"log_level": 0})
    return lambda: admin.list_topics(topic.name, timeout=ANSWER_S)
