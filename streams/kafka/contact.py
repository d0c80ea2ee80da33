"""Whether Kafka answers us: asked before anything begins, and then every few seconds."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas.topics import Topic
from streams.kafka.origin import DENIALS, Refused, no_answer
from streams.settings import Settings

ASK_EVERY_S: Final = 3.0
ANSWER_S: Final = 5.0
FIRST_S: Final = 0.25
"""Of the first question at the start; the next are twice as long each."""
log = structlog.get_logger(__name__)


class Asker:
    """Asks the brokers, and keeps what they say where they refuse: the client only gives up."""

    def __init__(self, settings: Settings) -> None:
        """Connect."""
        # Not a method of ours: a client in a circle of references is ended by the collector of
        # garbage, at any time and in any thread.
        self._problems: list[KafkaError] = []
        # It fails while no broker answers, which is what we tell ourselves.
        more: dict[str, Any] = {"log_level": 0, "error_cb": self._problems.append}
        self.admin = AdminClient(settings.confluent() | more)

    def __call__(self, topic: str | None = None, *, within_s: float) -> None:
        """Ask for a topic, or for all.

        Raises:
            KafkaException: none answers in time, or this user may not see the topic; it says why.
        """
        self._problems.clear()
        try:
            answer = self.admin.list_topics(topic, timeout=within_s)
        except KafkaException as error:
            self.admin.poll(0)  # tells of the problems
            known = [one for one in self._problems if one.code() != KafkaError._ALL_BROKERS_DOWN]  # noqa: SLF001 - its name
            raise KafkaException(known[-1] if known else error.args[0]) from error
        hidden = None if topic is None else answer.topics[topic].error
        if hidden is not None and hidden.code() in DENIALS:
            raise KafkaException(hidden)


def reach(
    settings: Settings,
    *,
    within_s: float,
    waiting: Callable[[KafkaError], object] = lambda _: None,
) -> AdminClient:
    """Wait until Kafka answers this user; return the client.

    Args:
        settings: of Kafka.
        within_s: at most. Unit: s.
        waiting: called once, if it does not answer at once.

    Raises:
        Refused: it refuses the user, or TLS fails.
        NoAnswer: it does not answer in time.
    """
    ask = Asker(settings)
    deadline = time.monotonic() + within_s
    reported, patience_s = False, FIRST_S
    while True:
        try:
            # The client says only in the end that it was refused, so it is not asked for long.
            ask(within_s=min(patience_s, within_s))
        except KafkaException as error:
            problem = no_answer(error)
            if isinstance(problem, Refused) or time.monotonic() > deadline:
                raise problem from error
            if not reported:
                reported = True
                waiting(error.args[0])
            patience_s = min(2 * patience_s, ANSWER_S)
        else:
            return ask.admin


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
                problem = no_answer(error)
                if isinstance(problem, Refused):
                    log.error(problem.problem, remedy=problem.remedy)  # noqa: TRY400 - no bug
                else:
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
    ask = Asker(settings)
    return lambda: ask(topic.name, within_s=ANSWER_S)
