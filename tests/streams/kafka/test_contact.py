"""Whether Kafka answers is known, also to a worker that has nothing to do."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas.topics import DECLARATIONS
from streams.kafka import contact as module
from streams.kafka.contact import Contact, asking_for
from streams.local.process import LOOPBACK, free_port
from streams.settings import Settings


def test_it_counts_from_the_first_question_without_an_answer():
    """And forgets that once a broker answers; beyond the limit the process has to end."""
    now, answers, lost = [100.0], [False], []

    def ask():
        if not answers[0]:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    contact = Contact(ask, limit_s=6, on_lost=lambda: lost.append(now[0]), clock=lambda: now[0])
    assert contact.lost_s == 0
    for now[0] in (100.0, 106.0, 107.0):
        contact.ask()
    assert contact.lost_s == 7
    assert lost == [107.0]
    answers[0] = True
    contact.ask()
    assert contact.lost_s == 0


def test_a_broker_that_is_not_there_does_not_answer(monkeypatch):
    """Within the time for an answer."""
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    servers = f"{LOOPBACK}:{free_port()}"
    with pytest.raises(KafkaException):
        asking_for(Settings(kafka_bootstrap_servers=servers), DECLARATIONS)()
