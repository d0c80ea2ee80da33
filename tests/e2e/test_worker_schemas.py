"""A newer schema while a worker runs: what is written under it is read, without a restart."""

import io
import json
import time
import urllib.request

import fastavro
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema

from schemas import codec
from schemas.examples import examples
from schemas.topics import DEAD_LETTERS, INSPECTION_OUTCOMES
from streams.kafka.origin import contents
from streams.kafka.registry import Registry
from tests.conftest import ready


def counted(worker, fate):
    """Return how many outcomes the worker read with this fate."""
    with urllib.request.urlopen(f"{worker.health}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    name = f'redlane_outcomes_total{{fate="{fate}"}} '
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def letters_of(settings, key):
    """Return the headers of the dead letters with a key."""
    messages = contents(settings, DEAD_LETTERS, within_s=10)
    return [dict(message.headers()) for message in messages if message.key() == key]


def until(condition, worker, within_s=30):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.2)


def test_a_newer_schema_is_read_without_a_restart(stack, start_worker):
    """An id that nobody registered is a dead letter that can be sent again, and stops nothing."""
    settings = stack.settings()
    worker = start_worker("learn")
    worker.wait_until(lambda: ready(worker), within_s=90)
    producer = Producer(settings.confluent())
    ((_, outcome), *_) = examples("inspection-outcome")
    key = outcome.declaration_id.encode()
    producer.produce(
        INSPECTION_OUTCOMES.name, key=b"made up", value=codec.PREFIX.pack(0, 888_888) + b"x"
    )
    producer.flush(10)
    until(lambda: letters_of(settings, b"made up"), worker)
    read = counted(worker, "unknown")
    newer = json.loads(codec.schema_text("inspection-outcome"))
    newer["fields"].append({"name": "added", "type": "string", "default": "", "doc": "No unit."})
    deployment = Registry(settings.registry_url, token=settings.registry_token.get_secret_value())
    schema_id = deployment._client.register_schema(
        INSPECTION_OUTCOMES.subject, Schema(json.dumps(newer), "AVRO")
    )
    value = io.BytesIO()
    value.write(codec.PREFIX.pack(0, schema_id))
    fastavro.schemaless_writer(
        value, fastavro.parse_schema(newer), outcome.to_avro() | {"added": "x"}
    )
    producer.produce(INSPECTION_OUTCOMES.name, key=key, value=value.getvalue())
    producer.flush(10)
    until(lambda: counted(worker, "unknown") == read + 1, worker)
    assert letters_of(settings, key) == []
    (letter,) = letters_of(settings, b"made up")
    assert (letter["x_dlq.reason"], letter["x_dlq.retryable"]) == (b"schema_unknown", b"true")
    assert worker.stop() == 0
