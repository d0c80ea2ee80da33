"""Screened, then explained: on real services, a worker each.

It comes after test_worker.py, which counts all that lies on the topics.
"""

import asyncio
import time
from collections import defaultdict

from confluent_kafka import Consumer

from models.datasets.goods import read
from schemas.codec import decode
from schemas.records import Alert, Explanation
from schemas.topics import ALERTS, EXPLANATIONS
from streams.kafka.registry import Registry
from streams.object_storage import ObjectStorage
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run, send
from tests.conftest import ready


async def read_all(settings, bucket, references):
    storage = ObjectStorage(settings)
    keys = [reference.removeprefix(f"s3://{bucket}/") for reference in references]
    read = [await storage.bucket(bucket).read(key, max_bytes=10**7) for key in keys]
    await storage.close()
    return read


def test_every_alert_is_explained_once(stack, goods_folder, start_worker):
    """With the same reasons, words, and heat maps that lie in object storage."""
    settings = stack.settings()
    workers = [start_worker("screen"), start_worker("explain")]
    for worker in workers:
        worker.wait_until(lambda started=worker: ready(started), within_s=90)
    shares = {"clean": 0.4, "wrong_photo": 0.6}
    source = Irregularities(read(goods_folder), bucket=settings.s3_buckets[0], run=new_run(), seed=4, shares=shares)  # fmt: skip
    sent = set()
    send(
        settings,
        source.consignments(20),
        rate=10,
        truth=None,
        sent=lambda consignment: sent.add(consignment.truth.declaration_id),
    )
    kinds = {ALERTS.name: Alert, EXPLANATIONS.name: Explanation}
    registry = Registry(settings.registry_url)
    writers = {topic.name: registry.writers(topic) for topic in (ALERTS, EXPLANATIONS)}
    consumer = Consumer(settings.confluent() | {"group.id": new_run(), "auto.offset.reset": "earliest"})  # fmt: skip
    consumer.subscribe(list(kinds))
    records, times = defaultdict(lambda: defaultdict(list)), {}
    deadline, quiet = time.monotonic() + 120, 0
    while quiet < 5 or not records[ALERTS.name].keys() <= records[EXPLANATIONS.name].keys():
        assert time.monotonic() < deadline, workers[1].tail()
        messages = consumer.consume(50, timeout=1)
        quiet = 0 if messages else quiet + 1
        for message in messages:
            topic = message.topic()
            record = decode(message.value(), kinds[topic], writers[topic])
            if record.declaration_id in sent:
                records[topic][record.declaration_id].append(record)
                times[topic, record.declaration_id] = message.timestamp()[1] / 1000
    consumer.close()
    alerts, explained = records[ALERTS.name], records[EXPLANATIONS.name]
    assert alerts.keys() == explained.keys()
    assert len(alerts) >= 6
    assert {len(some) for some in explained.values()} == {1}
    bucket = settings.s3_explanations_bucket
    references = []
    for (explanation,) in explained.values():
        assert all(item.modality_shares for item in explanation.items)
        assert any(item.words for item in explanation.items)
        heat_maps = [heat_map for item in explanation.items for heat_map in item.heat_maps]
        references += filter(None, heat_maps)
    assert len(references) >= len(explained) / 2
    for heat_map in asyncio.run(read_all(settings, bucket, references)):
        assert heat_map.startswith(b"\x89PNG")
    late = sorted(times[EXPLANATIONS.name, id_] - times[ALERTS.name, id_] for id_ in alerts)
    print(f"\nexplained after {late[len(late) // 2]:.2f} s, at most {late[-1]:.2f} s")
    assert [worker.stop() for worker in workers] == [0, 0]
