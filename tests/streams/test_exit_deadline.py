"""A stop that hangs ends in bounded time, and earlier without Kafka."""

import queue
import time

import pytest

from streams import exit_deadline
from streams.exit_deadline import ExitDeadline


@pytest.fixture
def ended():
    return queue.SimpleQueue()


def test_it_ends_the_process_once_the_time_is_over(ended):
    """Counted from the first start, with status 1."""
    begun = time.monotonic()
    deadline = ExitDeadline(0.3, end=ended.put)
    deadline.start()
    deadline.start()
    assert ended.get(timeout=5) == 1
    assert time.monotonic() - begun >= 0.3


def test_without_kafka_it_waits_less(ended, monkeypatch):
    """Nothing can be published or committed any more."""
    monkeypatch.setattr(exit_deadline, "CUT_OFF_S", 0.1)
    ExitDeadline(60, cut_off=lambda: True, end=ended.put).start()
    assert ended.get(timeout=5) == 1


def test_nothing_happens_before_the_stop_begins(ended):
    """A worker runs as long as it likes."""
    ExitDeadline(0.01, end=ended.put)
    with pytest.raises(queue.Empty):
        ended.get(timeout=0.1)
