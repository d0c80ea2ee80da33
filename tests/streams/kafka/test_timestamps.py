"""On a real broker: where its clock decides, no sender dates an event."""

import time
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Place

from schemas.topics import DECLARATIONS, INSPECTION_OUTCOMES, Topic
from streams.kafka.events import received
from streams.kafka.worker import received_by_faust
from streams.operations.deploy import deploy

DAY_MS = 86_400_000
NOW_MS = int(time.time() * 1000)


def test_the_broker_dates_what_workers_order_by_time():
    assert DECLARATIONS.timestamps == INSPECTION_OUTCOMES.timestamps == "broker"


@pytest.mark.parametrize("timestamps", ["broker", "sender"])
async def test_whose_clock_it_was_is_known_of_every_event(stack, timestamps):
    """To both clients, of events of one batch dated 1970, two days back and an hour ahead."""
    settings = stack.settings()
    topic = Topic(
        name=f"dated-by-{timestamps}", key="k", partitions=1, writers=("w",), readers=(), why="a test",
        retention_days=365 * 100, timestamps=timestamps,
    )  # fmt: skip
    deploy(settings, topics=[topic], say=lambda _: None)
    declared = [DAY_MS, NOW_MS - 2 * DAY_MS, NOW_MS + 3_000_000]
    producer = Producer(settings.confluent() | {"linger.ms": 200})
    for at in declared:
        producer.produce(topic.name, b"v", timestamp=at)
    assert producer.flush(20) == 0

    consumer = Consumer(
        settings.confluent() | {"group.id": "dated", "auto.offset.reset": "earliest"}
    )
    consumer.assign([Place(topic.name, 0, 0)])
    events = [received(consumer.poll(10)) for _ in declared]
    consumer.close()
    reader = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await reader.start()
    reader.assign([TopicPartition(topic.name, 0)])
    await reader.seek_to_beginning()
    for _ in declared:
        record = await reader.getone()
        message = SimpleNamespace(**vars(record) | {"timestamp": record.timestamp / 1000})
        events.append(received_by_faust(SimpleNamespace(message=message)))
    await reader.stop()

    assert {event.timestamp_by_broker for event in events} == {timestamps == "broker"}
    if timestamps == "broker":
        assert all(abs(event.timestamp - time.time()) < 60 for event in events)
    else:
        assert [event.timestamp * 1000 for event in events] == pytest.approx(declared * 2)
