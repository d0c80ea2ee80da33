"""Retention removes events before a worker reads them: it goes on, and tells loudly."""

import os
import signal
import time
import urllib.request
import uuid

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import INSPECTION_OUTCOMES
from streams.kafka.unread import Unread
from streams.operations import doctor
from tests.conftest import ready

PARTITION = 2


def send(settings, count):
    """Send values that become dead letters, to one partition."""
    producer = Producer(settings.confluent())
    for number in range(count):
        producer.produce(INSPECTION_OUTCOMES.name, key=b"%d" % number, value=b"x", partition=PARTITION)  # fmt: skip
    assert producer.flush(10) == 0


def remove(settings):
    """Remove all that lies on the partition, as retention does."""
    place = TopicPartition(INSPECTION_OUTCOMES.name, PARTITION, -1)
    admin = AdminClient(settings.confluent())
    for removal in admin.delete_records([place]).values():
        removal.result()


def expired(worker):
    """Return the number that the worker tells of."""
    name = f'redlane_expired_events_total{{partition="{PARTITION}",topic="inspection-outcomes"}} '
    with urllib.request.urlopen(f"{worker.health}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.fixture
def outcomes(stack, start_worker):
    """The settings of a group of its own, and what starts a worker of it."""
    group = f"gaps-{uuid.uuid4().hex}"
    settings = stack.settings().model_copy(update={"learn_consumer_group": group})

    def start():
        worker = start_worker("learn", learn_consumer_group=group)
        worker.wait_until(lambda: ready(worker), within_s=90)
        return worker

    return settings, start


def test_what_was_removed_while_no_worker_ran_is_told(outcomes):
    """Of a group that had read nothing yet; by the doctor before, by metric and log after."""
    settings, start = outcomes
    assert start().stop() == 0
    send(settings, 30)
    remove(settings)
    (kafka,) = [part for part in doctor.examine(settings) if part.part == "Kafka"]
    assert f"30 events of inspection-outcomes, partition {PARTITION}" in kafka.problem
    worker = start()
    assert expired(worker) == 30
    assert '"event": "events were removed before they were read"' in worker.log.read_text()
    send(settings, 1)
    unread = Unread(settings, group=settings.learn_consumer_group, topic=INSPECTION_OUTCOMES)
    deadline = time.monotonic() + 30
    while unread.gaps():
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.2)
    assert worker.stop() == 0


def test_what_was_removed_under_a_worker_is_told(outcomes):
    """A worker that is slower than retention: held up here, while its events go."""
    settings, start = outcomes
    worker = start()
    send(settings, 1)
    time.sleep(1)
    os.kill(worker.pid, signal.SIGSTOP)
    time.sleep(1)  # the broker has answered the last fetch
    send(settings, 20)
    remove(settings)
    send(settings, 1)
    os.kill(worker.pid, signal.SIGCONT)
    deadline = time.monotonic() + 30
    while expired(worker) != 20:
        assert worker.returncode is None, worker.log.read_text()[-4000:]
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.2)
