"""Screened, inspected, learned: on real services, a worker each.

It comes after test_worker.py, which counts all that lies on the topics.
"""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from confluent_kafka import Consumer, Producer
from redis import Redis

from models.datasets.goods import read
from schemas.codec import decode
from schemas.records import Alert
from schemas.topics import ALERTS, INSPECTION_OUTCOMES
from streams.kafka.publisher import Publisher
from streams.kafka.registry import Registry
from streams.redis.keys import SignalKeys, inspection_keys
from streams.synthetic.inspector import outcomes
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run, send
from tests.conftest import ready


def alerts(settings, within_s=60):
    """Yield the alerts, until none comes any more."""
    writers = Registry(settings.registry_url).writers(ALERTS)
    consumer = Consumer(settings.confluent() | {"group.id": new_run(), "auto.offset.reset": "earliest"})  # fmt: skip
    consumer.subscribe([ALERTS.name])
    deadline = time.monotonic() + within_s
    try:
        while time.monotonic() < deadline:
            for message in consumer.consume(50, timeout=1):
                yield decode(message.value(), Alert, writers)
    finally:
        consumer.close()


def test_what_inspectors_find_counts_for_later_declarations(stack, goods_folder, start_worker):
    """Outcomes delivered twice count once, and what is no outcome stops nothing."""
    settings = stack.settings()
    workers = [start_worker("screen"), start_worker("learn")]
    for worker in workers:
        worker.wait_until(lambda started=worker: ready(started), within_s=90)
    shares = {"clean": 0.4, "photo_reuse": 0.6}
    source = Irregularities(read(goods_folder), bucket=settings.s3_buckets[0], run=new_run(), seed=3, shares=shares)  # fmt: skip
    truths = {}
    send(
        settings,
        source.consignments(30),
        rate=0,
        truth=None,
        sent=lambda sent: truths.update({sent.truth.declaration_id: sent.truth}),
    )
    inspected_outcomes = []
    for alert in alerts(settings):
        inspected_outcomes += outcomes([alert], truths)
        if len(inspected_outcomes) >= 8:
            break
    assert len(inspected_outcomes) >= 8
    inspected_outcomes = [
        replace(outcome, decided_at=datetime.now(UTC) - timedelta(hours=1))
        for outcome in inspected_outcomes
    ]
    producer = Producer(settings.confluent())
    producer.produce(INSPECTION_OUTCOMES.name, key=b"x", value=b"nonsense")
    assert producer.flush(10) == 0
    publisher = Publisher(settings, source="redlane/test")
    publisher.put(INSPECTION_OUTCOMES, inspected_outcomes + inspected_outcomes)
    keys = SignalKeys(settings.pseudonym_key.get_secret_value().encode())
    inspected, irregular = inspection_keys(f"all:{keys.digest()}")
    store = Redis.from_url(stack.valkey.url)
    deadline = time.monotonic() + 60
    while store.zcard(inspected) < len(inspected_outcomes):
        assert time.monotonic() < deadline, workers[1].tail()
        time.sleep(0.2)
    results = [outcome.result for outcome in inspected_outcomes]
    assert store.zcard(irregular) == results.count("irregular")
    assert [worker.stop() for worker in workers] == [0, 0]
