"""`redlane deliver` dies amid deliveries, and its receiver fails: every alert arrives all the same."""

import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from schemas.examples import examples
from schemas.topics import ALERTS
from streams.kafka.publisher import Publisher
from streams.synthetic.send import new_run
from tests.chaos.faults.patches import patch
from tests.chaos.fleet import SESSION_S
from tests.chaos.verifier import committed, ends
from tests.conftest import ready
from tests.streams.webhook.endpoint import SECRET, Endpoint

ALERT = next(record for _, record in examples("alert"))
VERSIONS = [1, 2, 3]
KEYS = 12
"""Declarations for each death."""
FAILURES = (500, 503, 404, "hang", (429, {"Retry-After": "1"}))
FAILING = 0.15
"""Share of the webhooks that are not taken."""


class Receiver(Endpoint):
    """Fails now and then; tells when a number of webhooks came, and may kill the worker at that."""

    def __init__(self, dice):
        super().__init__()
        self.is_down = False
        self.came = threading.Event()
        self.dice = dice
        self._left = 0
        self._kills = None
        self.answer = self._answer

    def expect(self, number, *, kills=None):
        """Tell of the next webhooks by `came`; `kills`: the process that dies before the answer."""
        self.came.clear()
        self._left, self._kills = number, kills

    def _answer(self, _posted):
        self._left -= 1
        if self._left == 0:
            if self._kills is not None:
                os.kill(self._kills, signal.SIGKILL)
            self.came.set()
        if self.is_down:
            return 500
        return self.dice.choice(FAILURES) if self.dice.random() < FAILING else 204


@pytest.fixture
def receiver(dice):
    with Receiver(dice) as running:
        yield running


@pytest.fixture
def start(start_worker, receiver):
    """Starts a worker in a group of this test."""
    group = f"deliver-{new_run()}"

    def start(**settings):
        worker = start_worker(
            "deliver",
            bug=patch("session_timeout", SESSION_S),
            deliver_url=receiver.url,
            deliver_secret=SECRET,
            deliver_consumer_group=group,
            deliver_timeout_s="2",
            batch_size="4",
            **settings,
        )
        worker.group = group
        return worker

    return start


def publish(settings, number):
    """Publish alerts of declarations in versions; returns the declarations' keys."""
    keys = [f"{new_run()}{place:04d}" for place in range(number)]
    alerts = [
        replace(ALERT, declaration_id=key, declaration_version=version)
        for version in VERSIONS
        for key in keys
    ]
    Publisher(settings, source="redlane/test").put(ALERTS, alerts)
    return keys


def lag(settings, group):
    """How many alerts are not committed."""
    offsets = committed(settings, group, ALERTS)
    return sum(end - offsets[place] for (_, place), end in ends(settings, [ALERTS]).items())


def judge(receiver, keys, figures):
    """Assert that each arrived, in order, always with the same body."""
    bodies, versions = {}, {key: [] for key in keys}
    for posted in receiver.posted:
        assert bodies.setdefault(posted.id, posted.body) == posted.body
    ours = [posted for posted in receiver.taken if posted.key in versions]
    for posted in ours:
        if posted.data["declaration_version"] not in versions[posted.key]:
            versions[posted.key].append(posted.data["declaration_version"])
    figures.lost = figures.records - sum(map(len, versions.values()))
    figures.duplicates = len(ours) - figures.records + figures.lost
    figures.more["failures"] = len(receiver.posted) - len(receiver.taken)
    assert versions == dict.fromkeys(keys, VERSIONS)


@pytest.mark.slow
def test_every_alert_arrives_whenever_the_worker_dies(stack, start, receiver, faults, figures):
    """Before the receiver answers, or after it."""
    settings, deaths, dice = stack.settings(), faults(10), receiver.dice
    keys = publish(settings, KEYS * deaths)
    figures.records = len(VERSIONS) * len(keys)
    for _ in range(deaths):
        before, worker = dice.random() < 0.5, start()
        begun = time.monotonic()
        receiver.expect(1)
        assert receiver.came.wait(120), worker.tail()
        figures.recovery_s.append(round(time.monotonic() - begun, 1))
        receiver.expect(dice.randint(3, 40), kills=worker.pid if before else None)
        assert receiver.came.wait(120), worker.tail()
        if not before:
            time.sleep(dice.uniform(0, 0.05))
        worker.kill()
        figures.faults += 1
    worker = start()
    worker.wait_until(lambda: ready(worker) and not lag(settings, worker.group), within_s=240)
    assert worker.stop() == 0
    judge(receiver, keys, figures)


@pytest.mark.slow
def test_a_worker_stops_in_time_while_its_receiver_is_down(stack, start, receiver, figures):
    """Before its supervisor kills it, and without passing over an alert."""
    settings = stack.settings()
    keys = publish(settings, KEYS)
    figures.records = len(VERSIONS) * len(keys)
    receiver.is_down = True
    receiver.expect(3)
    worker = start(deliver_retry_s="600")
    assert receiver.came.wait(120), worker.tail()
    asked_at = time.monotonic()
    assert worker.stop() == 0
    figures.more["stop_s"] = round(time.monotonic() - asked_at, 1)
    assert figures.more["stop_s"] < settings.stop_within_s
    assert not receiver.taken
    receiver.is_down = False
    worker = start()
    worker.wait_until(lambda: ready(worker) and not lag(settings, worker.group), within_s=120)
    assert worker.stop() == 0
    judge(receiver, keys, figures)
