"""Bad events on the compacted topics, which lie there until somebody compacts them: nobody stops."""

import urllib.request

import pytest
from confluent_kafka import Producer

from schemas import codec
from schemas.records import Declaration, ExchangeRate, RiskProfile, TariffMeasure
from schemas.topics import EXCHANGE_RATES, RISK_PROFILES, TARIFF_MEASURES
from streams.kafka.registry import Registry
from streams.local.stack import local_stack
from streams.operations.deploy import deploy
from tests.conftest import ready

GOOD = {
    RISK_PROFILES: RiskProfile(profile_id="P"),
    TARIFF_MEASURES: TariffMeasure(measure_id="M"),
    EXCHANGE_RATES: ExchangeRate(rate_id="R"),
}
SKIPPED = 6
"""Of the events that `spoiled` returns."""


@pytest.fixture(scope="module")
def stack():
    """A stack of its own: what is spoiled here stays."""
    with local_stack() as running:
        deploy(running.settings())
        yield running


def spoiled(schema_id, record, key):
    """Events of a topic: key and value of each. One without a key no compacted topic takes."""
    good = codec.encode(record, schema_id)
    return [
        (key, good),
        (b"another", good),
        (key, b""),
        (key, b"\xff" * 900_000),
        (key, good[:-1]),
        (key, codec.PREFIX.pack(0, 888_888) + good[5:]),
        (key, codec.PREFIX.pack(0, schema_id) + codec.encode(Declaration(), 1)[5:]),
        (b"gone", None),
        (key, None),
    ]


def skipped(worker):
    """Return how many events of each topic the worker skipped."""
    with urllib.request.urlopen(f"{worker.health}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    name = 'redlane_reference_events_skipped_total{topic="'
    counts = (line.removeprefix(name).split('"} ') for line in lines if line.startswith(name))
    return {topic: float(count) for topic, count in counts}


def test_bad_reference_events_keep_no_worker_from_starting(stack, start_worker):
    """Nor stop one that runs: they are counted, logged and skipped."""
    settings = stack.settings()
    registry, producer = Registry(settings.registry_url), Producer(settings.confluent())

    refused = []

    def delivered(error, _message):
        refused.extend([error] if error else [])

    def spoil():
        for topic, record in GOOD.items():
            key = getattr(record, topic.key).encode()
            for event_key, value in spoiled(registry.schema_id(topic), record, key):
                producer.produce(topic.name, key=event_key, value=value, on_delivery=delivered)
        assert producer.flush(20) == 0
        assert refused == []

    spoil()
    worker = start_worker("screen")
    worker.wait_until(lambda: ready(worker), within_s=120)
    expected = dict.fromkeys([topic.name for topic in GOOD], SKIPPED)
    assert skipped(worker) == expected, worker.tail()
    spoil()
    twice = {name: 2 * count for name, count in expected.items()}
    worker.wait_until(lambda: skipped(worker) == twice, within_s=30)
    assert ready(worker)
