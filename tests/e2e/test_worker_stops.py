"""What once stopped workers, or kept them from stopping, on real services.

With `redlane learn`, which needs no model. It comes after test_worker.py, which counts all that lies
on the topics.
"""

import os
import random
import signal
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from schemas.examples import examples
from schemas.records import RiskProfile
from schemas.topics import DEAD_LETTERS, INSPECTION_OUTCOMES, RISK_PROFILES
from streams.kafka.publisher import Publisher
from streams.operations.dead_letters import read_letters
from streams.synthetic.send import new_run
from tests.conftest import ready

TOPIC = INSPECTION_OUTCOMES.name
OUTCOME = next(record for _, record in examples("inspection-outcome"))
BUG = "from streams.evidence.past_inspections import PastInspections; PastInspections.record = None"
"""Every outcome fails by our own fault."""


@pytest.fixture
def settings(stack):
    """With a consumer group of its own, at the end of the topic, which is emptied afterwards.

    Other tests' consoles would read all this nonsense, and stop.
    """
    group = f"learn-{new_run()}"
    settings = stack.settings().model_copy(update={"learn_consumer_group": group})
    to_the_end(settings)
    yield settings
    to_the_end(stack.settings())  # else the doctor would tell what it did not read
    admin = AdminClient(settings.confluent())
    for removed in admin.delete_records(places(ends(settings))).values():
        removed.result(30)


@pytest.fixture
def start_learn(start_worker, settings):
    """Starts `redlane learn` and waits until it is ready."""

    def start(**more):
        worker = start_worker("learn", learn_consumer_group=settings.learn_consumer_group, **more)
        worker.wait_until(lambda: ready(worker), within_s=60)
        return worker

    return start


def to_the_end(settings):
    """Let the group go on behind what lies on the topic."""
    group = {"group.id": settings.learn_consumer_group, "enable.auto.commit": False}
    consumer = Consumer(settings.confluent() | group)
    consumer.commit(offsets=places(ends(settings)), asynchronous=False)
    consumer.close()


def places(offsets):
    return [TopicPartition(TOPIC, partition, offset) for partition, offset in offsets.items()]


def ends(settings, topic=INSPECTION_OUTCOMES):
    """Offset of the end of each partition, markers of transactions included."""
    consumer = Consumer(settings.confluent() | {"group.id": "ends", "isolation.level": "read_uncommitted"})  # fmt: skip
    deadline = time.monotonic() + 20
    offsets = {}
    while len(offsets) < topic.partitions:
        place = TopicPartition(topic.name, len(offsets))
        try:
            _, offsets[place.partition] = consumer.get_watermark_offsets(place, 10)
        except KafkaException:  # a broker that was just started elects its leaders
            assert time.monotonic() < deadline
            time.sleep(0.2)
    consumer.close()
    return offsets


def committed(settings):
    consumer = Consumer(settings.confluent() | {"group.id": settings.learn_consumer_group})
    offsets = consumer.committed(
        places(dict.fromkeys(range(INSPECTION_OUTCOMES.partitions), 0)), 20
    )
    consumer.close()
    return {place.partition: place.offset for place in offsets}


def until_no_lag(settings, worker, within_s=30):
    deadline = time.monotonic() + within_s
    while committed(settings) != ends(settings):
        assert worker.returncode is None, worker.tail()
        assert time.monotonic() < deadline, (committed(settings), ends(settings), worker.tail())
        time.sleep(0.2)


def letters(settings, keys):
    """Keys of the dead letters among `keys`, one for each."""
    return [letter.key for letter in read_letters(settings) if letter.key in keys]


def test_no_headers_or_sizes_stop_a_worker(settings, start_learn):
    """Null values, megabytes, neither key nor value, more than a dead letter holds: a fate for each."""
    worker = start_learn()
    before = sum(ends(settings, DEAD_LETTERS).values())
    run = new_run().encode()
    megabytes = b"x" * 600_000
    events = [
        {"headers": [("ce_id", None), ("traceparent", None), ("other", None)]},
        {"headers": [("ce_id", megabytes)]},
        {"headers": [("ce_id", b"\xff\xfe"), ("traceparent", megabytes)]},
        {"headers": [(f"h{n}", b"x" * 100) for n in range(5_000)]},
        {"headers": [("x_dlq.id", None), ("redlane_fate", b"made up")]},
        {"value": bytes(30 << 20)},
        {"key": run + bytes(30 << 20)},
        {"key": None, "value": None},
    ]
    producer = Producer(settings.confluent() | {"compression.type": "gzip", "message.max.bytes": 100 << 20})  # fmt: skip
    for number, event in enumerate(events):
        producer.produce(TOPIC, **{"key": run + b"%d" % number, "value": b"nonsense"} | event)
    assert producer.flush(60) == 0
    until_no_lag(settings, worker)
    assert sum(ends(settings, DEAD_LETTERS).values()) == before + len(events)
    kept = {letter.key: letter for letter in read_letters(settings)}
    assert kept[run + b"5"].reason == "value_too_large"
    assert kept[run + b"5"].value == b""
    assert dict(kept[run + b"1"].headers)["ce_id"].startswith(b"sha256:")
    assert kept[(run + bytes(30 << 20))[:1024]].value == b""
    assert worker.stop() == 0


@pytest.fixture
def small_letters(settings):
    """The topic dead-letters takes 20 kB, less than `redlane deploy` gave it."""
    admin = AdminClient(settings.confluent())
    before = DEAD_LETTERS.max_message_mb << 20

    def limit(size):
        entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)  # fmt: skip
        resource = ConfigResource(ConfigResource.Type.TOPIC, DEAD_LETTERS.name, incremental_configs=[entry])  # fmt: skip
        for done in admin.incremental_alter_configs([resource]).values():
            done.result(30)

    limit(20_000)
    yield
    limit(before)


def test_what_the_broker_refuses_as_too_large_stops_no_worker(settings, small_letters, start_learn):
    """A letter without its value instead; the idempotent producer goes on with what follows."""
    worker, run = start_learn(batch_size="4"), new_run()
    before = sum(ends(settings, DEAD_LETTERS).values())
    producer = Producer(settings.confluent())
    for number in range(20):
        value = random.Random(number).randbytes(100_000 if number % 5 == 2 else 10)
        producer.produce(TOPIC, key=f"{run}-{number}", value=value)
    assert producer.flush(30) == 0
    until_no_lag(settings, worker)
    keys = {f"{run}-{number}".encode() for number in range(20)}
    kept = {letter.key: letter for letter in read_letters(settings) if letter.key in keys}
    sizes = {number: len(kept[f"{run}-{number}".encode()].value) for number in range(20)}
    assert sizes == {number: 0 if number % 5 == 2 else 10 for number in range(20)}
    assert dict(kept[f"{run}-2".encode()].headers)["x_dlq.value_bytes"] == b"100000"
    assert sum(ends(settings, DEAD_LETTERS).values()) == before + 20
    assert worker.stop() == 0


UNREADABLE = """
import asyncio, sys
from aiokafka import AIOKafkaProducer

class Name(str):
    def encode(self, *_):
        return b"\\xff\\xfe"

async def main(servers, topic, run):
    async with AIOKafkaProducer(bootstrap_servers=servers, linger_ms=500) as producer:
        sent = []
        for number in range(30):
            headers = [(Name("h"), b"x")] if number in {0, 10, 11, 29} else []
            key = f"{run}{number}".encode()
            sent += [await producer.send(topic, b"nonsense", key, number % 2, headers=headers)]
        await asyncio.gather(*sent)

asyncio.run(main(*sys.argv[1:]))
"""
"""Sends events with headers whose name is no UTF-8; of aiokafka only the part in Python can."""


def test_a_header_whose_name_is_no_text_stops_no_worker(settings, start_learn):
    """Kafka's client cannot read such an event, nor what follows it; each has its fate all the same."""
    worker, run = start_learn(), new_run()
    before = sum(ends(settings, DEAD_LETTERS).values())
    subprocess.run(
        [sys.executable, "-c", UNREADABLE, settings.kafka_bootstrap_servers, TOPIC, run],
        env=os.environ | {"AIOKAFKA_NO_EXTENSIONS": "1"},
        check=True,
    )
    until_no_lag(settings, worker)
    keys = {f"{run}{number}".encode() for number in range(30)}
    assert sorted(letters(settings, keys)) == sorted(keys)
    assert sum(ends(settings, DEAD_LETTERS).values()) == before + 30
    assert worker.stop() == 0


def codecs(stack, topic):
    """The compression of each batch in the broker's files of a topic (Kafka's format, version 2)."""
    for log in stack.kafka._directory.glob(f"broker-0/log/{topic.name}-*/*.log"):
        data, place = log.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from(">i", data, place + 8)
            (attributes,) = struct.unpack_from(">h", data, place + 21)
            yield attributes & 0b111
            place += 12 + length


def test_results_are_compressed_as_every_client_reads_them(stack, settings, start_learn):
    """KafkaJS reads gzip (1) and nothing else; what is small is not compressed (0)."""
    worker = start_learn()
    producer = Producer(settings.confluent())
    producer.produce(TOPIC, key=b"k", value=b"nonsense" * 1000)
    assert producer.flush(30) == 0
    until_no_lag(settings, worker)
    publisher, profile = Publisher(settings, source="redlane/test"), new_run()
    publisher.put(RISK_PROFILES, [RiskProfile(profile_id=profile, title="x" * 1000)])
    publisher.remove(RISK_PROFILES, [profile])
    for topic in (DEAD_LETTERS, RISK_PROFILES):
        assert 1 in set(codecs(stack, topic)) <= {0, 1}
    assert worker.stop() == 0


def test_aborted_transactions_are_not_read_and_lag_reaches_0(settings, start_learn):
    """Neither markers nor aborted events hold up commits: not at the start, between or at the end."""
    run = new_run().encode()

    def transaction(*keys, commit, partition):
        producer = Producer(settings.confluent() | {"transactional.id": new_run()})
        producer.init_transactions(30)
        producer.begin_transaction()
        for key in keys:
            producer.produce(TOPIC, key=run + key, value=b"nonsense", partition=partition)
        producer.flush(30)
        (producer.commit_transaction if commit else producer.abort_transaction)(30)

    transaction(b"aborted-1", commit=False, partition=0)
    worker = start_learn()
    until_no_lag(settings, worker)
    transaction(b"a", b"b", commit=True, partition=0)
    transaction(b"aborted-2", b"aborted-3", commit=False, partition=0)
    transaction(b"c", commit=True, partition=0)
    transaction(b"d", commit=True, partition=1)
    transaction(b"aborted-4", commit=False, partition=2)
    until_no_lag(settings, worker)
    assert worker.stop() == 0
    transaction(b"aborted-5", commit=False, partition=0)
    again = start_learn()
    until_no_lag(settings, again)
    read = {letter.key for letter in read_letters(settings) if (letter.key or b"").startswith(run)}
    assert read == {run + key for key in (b"a", b"b", b"c", b"d")}
    assert again.stop() == 0


def test_a_worker_that_stops_itself_leaves_no_fate_uncommitted(settings, start_learn):
    """Every dead letter that the limit let through is committed: none gets a second fate."""
    run = new_run()
    worker = start_learn(bug=BUG, dead_letters_in_a_row="20", batch_size="4")
    before = ends(settings)
    found = [
        replace(OUTCOME, outcome_id=f"{run}{number}", declaration_id=f"{run}{number}")
        for number in range(200)
    ]
    Publisher(settings, source="redlane/test").put(INSPECTION_OUTCOMES, found)
    keys = {outcome.declaration_id.encode() for outcome in found}
    deadline = time.monotonic() + 60
    while worker.returncode is None:
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.1)
    assert worker.returncode == 1
    done = sum(committed(settings).values()) - sum(before.values())
    assert 20 < done < 200
    assert len(letters(settings, keys)) == done
    published = sum(ends(settings, DEAD_LETTERS).values())
    mended = start_learn()
    until_no_lag(settings, mended)
    assert mended.stop() == 0
    assert sum(ends(settings, DEAD_LETTERS).values()) == published


def answer(worker, path):
    try:
        with urllib.request.urlopen(f"{worker.health}{path}", timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def killed(broker):
    broker.kill()


def frozen(broker):
    """It takes what is sent and never answers."""
    os.kill(broker.pid, signal.SIGSTOP)


@pytest.fixture(params=[killed, frozen])
def lose_kafka(stack, request):
    """Takes the only broker away; it answers again at the end."""
    (broker,) = stack.kafka.brokers
    yield lambda: request.param(broker)
    if request.param is killed:
        stack.kafka.start()
    else:
        os.kill(broker.pid, signal.SIGCONT)
    stack.kafka.wait()


def test_a_worker_without_kafka_says_so_and_ends(settings, lose_kafka, start_learn):
    """Not only once Kafka is back."""
    worker = start_learn(delivery_timeout_s="3")
    producer = Producer(settings.confluent())
    for number in range(2_000):
        producer.produce(TOPIC, key=b"%d" % number, value=b"nonsense")
    assert producer.flush(30) == 0
    lose_kafka()
    begun = time.monotonic()
    while answer(worker, "/readyz") != 503:
        assert time.monotonic() < begun + 15, worker.tail()
        time.sleep(0.1)
    while worker.returncode is None:
        assert time.monotonic() < begun + 40, worker.tail()
        time.sleep(0.1)
    assert worker.returncode == 1


@pytest.mark.parametrize("lose_kafka", [frozen], indirect=True)
def test_a_worker_stops_without_kafka(start_learn, lose_kafka):
    """SIGTERM ends it in bounded time: there is nothing to wait for."""
    worker = start_learn()
    lose_kafka()
    begun = time.monotonic()
    os.kill(worker.pid, signal.SIGTERM)
    while worker.returncode is None:
        assert time.monotonic() < begun + 30, worker.tail()
        time.sleep(0.1)


@pytest.mark.parametrize("lose_kafka", [frozen], indirect=True)
def test_a_worker_that_finds_no_kafka_ends(lose_kafka, start_worker):
    """Its health is not even served yet."""
    lose_kafka()
    worker = start_worker("learn", delivery_timeout_s="1")
    begun = time.monotonic()
    while worker.returncode is None:
        assert time.monotonic() < begun + 40, worker.tail()
        time.sleep(0.1)
    assert worker.returncode == 1
