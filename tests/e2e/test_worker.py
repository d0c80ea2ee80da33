"""Screening on real services: every input has exactly one fate, and the worker lives."""

import re
import time
import urllib.request

import pytest

from models.datasets.goods import read
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS
from streams.kafka.dead_letter import DeadLetterLimit
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run, send
from tests.chaos.verifier import (
    REASONS,
    assert_exactly_one_fate,
    committed,
    ends,
    read_all,
)
from tests.conftest import ready

GROUP = "redlane-screen"
FATES = (DECLARATIONS, ASSESSMENTS, ALERTS, DEAD_LETTERS)


@pytest.fixture(scope="module")
def source(stack, goods_folder):
    """Makes consignments of the sample catalogue, half of them damaged in some way."""
    shares = {
        "clean": 0.4,
        "wrong_code": 0.1,
        "broken_photo": 0.2,
        "missing_photo": 0.1,
        "malformed": 0.2,
    }
    bucket = stack.settings().s3_buckets[0]
    return Irregularities(read(goods_folder), bucket=bucket, run=new_run(), seed=5, shares=shares)


def settled(settings, within_s=120):
    """Wait until the group has committed everything that was sent."""
    deadline = time.monotonic() + within_s
    sent = list(ends(settings, [DECLARATIONS]).values())
    while (done := list(committed(settings, GROUP).values())) != sent:
        assert time.monotonic() < deadline, (done, sent)
        time.sleep(0.5)


def test_every_event_has_one_fate_and_the_worker_lives(stack, source, start_worker):
    """Malformed Avro, unknown schema, 10 MB, broken and hostile photos: none stops the worker."""
    settings = stack.settings()
    truths, mark = {}, ends(settings, FATES)
    worker = start_worker(dead_letter_share="1.0", traces="console", traces_share="0.5")
    worker.wait_until(lambda: ready(worker), within_s=90)
    send(
        settings,
        source.consignments(60),
        rate=0,
        truth=None,
        sent=lambda consignment: truths.update(
            {consignment.truth.declaration_id: consignment.truth}
        ),
    )
    settled(settings)
    seen = read_all(settings, FATES, mark)  # other tests share the topics
    assert_exactly_one_fate(seen)
    assert seen.duplicates == 0
    malformed = {id_: truth.detail for id_, truth in truths.items() if truth.kind == "malformed"}
    assert {key.decode(): reason for key, reason in seen.reasons.items()} == {
        id_: REASONS[detail] for id_, detail in malformed.items()
    }
    assert set(malformed.values()) == set(REASONS)
    told = metrics(worker)
    assert 'redlane_declarations_total{fate="dead_letter"} 12.0' in told
    deadline = time.monotonic() + 30
    while {*lags(told)} != {"0.0"}:  # told every few seconds
        assert time.monotonic() < deadline, lags(told)
        time.sleep(0.5)
        told = metrics(worker)
    with urllib.request.urlopen(f"{worker.health}/livez", timeout=5) as answer:
        assert answer.status == 200
    assert worker.stop() == 0
    log = worker.log.read_text()
    assert "Traceback" not in log, worker.tail()
    assert log.count('"name": "screen"') == log.count('"name": "publish"')
    assert 0 < log.count('"name": "screen"') < 60


def metrics(worker):
    """What a worker tells Prometheus."""
    with urllib.request.urlopen(f"{worker.health}/metrics", timeout=5) as answer:
        return answer.read().decode()


def lags(told):
    """The lag of each partition."""
    lag = r'^redlane_lag_events{partition="\d+",topic="declarations"} (.*)$'
    return re.findall(lag, told, re.MULTILINE)


def test_the_window_of_the_dead_letter_limit_is_larger_than_the_tests_share():
    """So that it does not stop the workers of the tests above."""
    assert DeadLetterLimit.WINDOW > 180
