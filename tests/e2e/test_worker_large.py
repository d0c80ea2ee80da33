"""Declarations of hundreds of goods items beside small ones, on real services.

It comes after test_worker.py, which counts all that lies on the topics.
"""

import time

from confluent_kafka import Consumer, TopicPartition

from models.datasets.goods import read
from schemas.codec import decode
from schemas.reasons import Reason
from schemas.records import Explanation
from schemas.topics import ASSESSMENTS, EXPLANATIONS
from streams.kafka.registry import Registry
from streams.stages.explain import EXPLAINED
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.large import large
from streams.synthetic.send import new_run, send
from tests.conftest import ready

STALL_LIMIT_S = 3
"""Less than the largest declaration takes, more than a slice of it."""


def follow(settings, topics):
    """Read topics from their end on."""
    consumer = Consumer(settings.confluent() | {"group.id": new_run(), "enable.auto.commit": False})
    places = [TopicPartition(topic.name, n) for topic in topics for n in range(topic.partitions)]
    for place in places:
        place.offset = consumer.get_watermark_offsets(place)[1]
    consumer.assign(places)
    return consumer


def test_small_declarations_overtake_large_ones_and_none_outlasts_the_watchdog(
    stack, goods_folder, start_worker
):
    """The largest that is legal: small ones are assessed at once, and it is assessed and explained.

    A worker that waited for all of it would be stopped by its own watchdog, at every restart.
    """
    settings = stack.settings()
    workers = [start_worker("screen", stall_limit_s=str(STALL_LIMIT_S)), start_worker("explain")]
    goods, run = read(goods_folder), new_run()
    source = [
        Irregularities(goods, bucket=settings.s3_buckets[0], run=run, seed=n, shares={"clean": 1.0})
        for n in range(3)
    ]
    heavy = [
        large(source[0], f"26BE{run}L0", photos=0),
        large(source[1], f"26BE{run}L1", items=200),
    ]
    light = list(source[2].consignments(20))
    large_ids = {each.declaration.declaration_id for each in heavy}
    ids = large_ids | {each.declaration.declaration_id for each in light}
    for worker in workers:
        worker.wait_until(lambda started=worker: ready(started), within_s=90)
    consumer = follow(settings, (ASSESSMENTS, EXPLANATIONS))
    writers = Registry(settings.registry_url).writers(EXPLANATIONS)
    begun = time.time()
    send(settings, [*heavy, *light], rate=0, truth=None)
    assessed, explained = {}, {}
    deadline = time.monotonic() + 120
    while assessed.keys() < ids or not large_ids <= explained.keys():
        assert time.monotonic() < deadline, [worker.tail() for worker in workers]
        message = consumer.poll(1)
        if message is None or (id_ := message.key().decode()) not in ids:
            continue
        if message.topic() == ASSESSMENTS.name:
            assert id_ not in assessed
            assessed[id_] = message.timestamp()[1] / 1000 - begun
        elif id_ in large_ids:
            explained[id_] = decode(message.value(), Explanation, writers, 4 << 20)
    consumer.close()
    slow = [assessed[id_] for id_ in large_ids]
    quick = [assessed[id_] for id_ in ids - large_ids]
    print(
        f"\nsmall after at most {max(quick):.1f} s, large after {min(slow):.1f}, {max(slow):.1f} s"
    )
    assert max(quick) < min(slow)
    for each in heavy:
        explanation = explained[each.declaration.declaration_id]
        numbers = [item.sequence_number for item in each.declaration.goods_items]
        assert [item.sequence_number for item in explanation.items] == numbers
        in_detail = [item for item in explanation.items if item.modality_shares]
        assert len(in_detail) == EXPLAINED
        brief = Reason.EXPLAINED_BRIEFLY
        assert all(
            item in in_detail or item.reasons[-1].code == brief for item in explanation.items
        )
    assert [worker.stop() for worker in workers] == [0, 0]
