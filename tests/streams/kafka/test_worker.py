"""The worker around a stage, without a broker: acknowledged after delivery, stopped by a fault."""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from types import SimpleNamespace

import faust
import pytest
from aiokafka.errors import MessageSizeTooLargeError

from schemas.topics import ASSESSMENTS, DECLARATIONS
from streams.kafka import transport as transport_module
from streams.kafka.events import Outbound
from streams.kafka.transport import PromptConsumer
from streams.kafka.unread import Unread, UnreadOfAll
from streams.kafka.worker import faust_app, received_by_faust, worker
from streams.settings import Settings

KEY = "of the tests"


@dataclass
class FakeProducer:
    """Takes events like Faust's producer: `send` returns what to await for the delivery."""

    delivered: asyncio.Event
    sent: list = field(default_factory=list)
    error: Exception | None = None
    """With which the broker refuses what is sent first."""

    async def send(self, *event):
        self.sent.append(event)
        return self.answer()

    async def answer(self):
        await self.delivered.wait()
        error, self.error = self.error, None
        if error is not None:
            raise error


class FakeStream:
    """Yields events like Faust's stream, then waits for more."""

    def __init__(self, events):
        self._events = events

    def noack(self):
        return self

    async def events(self):
        for event in self._events:
            yield event
        await asyncio.Event().wait()


def message(offset, headers=(("ce_id", b"e1"),)):
    return SimpleNamespace(
        topic=DECLARATIONS.name, partition=3, offset=offset, key=b"D1", value=b"v", timestamp=5.0,
        timestamp_type=1, headers=list(headers),
    )  # fmt: skip


async def stage(batch):
    return [
        (Outbound(topic=ASSESSMENTS, key=event.key, value=b"out", headers=(("h", b"1"),)),)
        for event in batch
    ]


class Running:
    """A worker's agent on a fake broker."""

    def __init__(self, monkeypatch, events, *, stage=stage, checks=(), **settings):
        self.delivered = asyncio.Event()
        self.producer = FakeProducer(self.delivered)
        self.acknowledged = []
        self.committed = []

        async def commit():
            self.committed.append(list(self.acknowledged))

        place = ("declarations", 3)
        consumer = SimpleNamespace(assignment=lambda: {place}, commit=commit, lag={place: 2})
        monkeypatch.setattr(faust.App, "producer", self.producer)
        monkeypatch.setattr(faust.App, "consumer", consumer)
        app = worker(
            Settings(**{"batch_wait_ms": 1} | settings),
            name="test",
            group="test",
            unread=UnreadOfAll([Unread(Settings(), group="test", topic=DECLARATIONS)]),
            stage=stage,
            checks=checks,
        )
        app.deadline = SimpleNamespace(start=lambda: None)
        (agent,) = app.agents.values()
        self.events = [
            SimpleNamespace(
                message=message(n), value=b"v", ack=lambda n=n: self.acknowledged.append(n)
            )
            for n in range(events)
        ]
        self.task = asyncio.create_task(agent.fun(FakeStream(self.events)))

    async def until(self, condition):
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.005)
        pytest.fail("it did not come to that within 5 s")

    async def stop(self):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def test_an_event_is_acknowledged_once_its_outcome_is_delivered(monkeypatch):
    """Not before: what the broker has not taken would be lost with the worker."""
    running = Running(monkeypatch, 3)
    await running.until(lambda: len(running.producer.sent) == 3)
    assert running.acknowledged == []
    running.delivered.set()
    await running.until(lambda: running.acknowledged == [0, 1, 2])
    assert running.producer.sent[0] == ("assessments", b"D1", b"out", None, None, [("h", b"1")])
    await running.stop()


async def test_faust_keeps_no_value_of_an_event_that_is_under_way(monkeypatch):
    """Thousands may wait behind one that takes long."""
    running = Running(monkeypatch, 2)
    await running.until(lambda: len(running.producer.sent) == 2)
    assert [(event.value, event.message.value) for event in running.events] == [(None, None)] * 2
    await running.stop()


async def test_partitions_are_given_back_though_an_event_takes_long(monkeypatch):
    """It is delivered again; the group would wait for it, and throw this member out."""
    monkeypatch.setattr(transport_module, "GIVE_BACK_S", 0.05)
    transport = faust_app(Settings(), "group").transport
    consumer = transport.create_consumer(
        callback=print, on_partitions_revoked=print, on_partitions_assigned=print
    )
    commits = []

    async def commit(**_options):
        commits.append(None)
        return True

    monkeypatch.setattr(consumer, "commit", commit)
    consumer._unacked_messages = {"under way"}
    async with asyncio.timeout(10):
        await consumer.wait_empty()
    assert consumer._unacked_messages == set()
    assert commits


async def test_a_delivery_that_takes_too_long_stops_the_worker(monkeypatch):
    """A supervisor starts it again, from the first event that is not acknowledged."""
    running = Running(monkeypatch, 1, delivery_timeout_s=0.05)
    with pytest.raises(ExceptionGroup) as caught:
        await running.task
    assert caught.group_contains(TimeoutError)
    assert running.acknowledged == []


async def test_a_producer_that_takes_nothing_stops_the_worker(monkeypatch):
    """It waits for metadata, or for room: that counts as delivery too."""
    running = Running(monkeypatch, 1, delivery_timeout_s=0.05)

    async def send(*_event):
        await asyncio.Event().wait()

    running.producer.send = send
    with pytest.raises(ExceptionGroup) as caught:
        await running.task
    assert caught.group_contains(TimeoutError)


async def test_an_event_that_the_broker_finds_too_large_becomes_a_dead_letter(monkeypatch):
    """A topic may take less than topics.toml says; the event stops no worker."""
    running = Running(monkeypatch, 1)
    running.producer.error = MessageSizeTooLargeError()
    running.delivered.set()
    await running.until(lambda: running.acknowledged == [0])
    assert [event[0] for event in running.producer.sent] == ["assessments", "dead-letters"]
    await running.stop()


async def test_what_is_acknowledged_is_committed_before_a_stop_on_purpose(monkeypatch):
    """Else the same events get a second fate after the restart."""
    lost = []

    def check():
        if lost:
            raise LookupError

    running = Running(monkeypatch, 3, checks=[check])
    running.delivered.set()
    await running.until(lambda: running.acknowledged == [0, 1, 2])
    lost.append(True)
    with pytest.raises(ExceptionGroup):
        await running.task
    assert running.committed == [[0, 1, 2], [0, 1, 2]]


async def test_a_stage_that_raises_stops_the_worker(monkeypatch):
    """A failing service or a bug is not passed over."""

    async def broken(_batch):
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        await Running(monkeypatch, 1, stage=broken).task
    assert caught.group_contains(ZeroDivisionError)


async def test_a_check_that_raises_stops_the_worker(monkeypatch):
    """Such as the reference topics that are not followed any more."""

    def lost():
        raise LookupError("reference topics")

    with pytest.raises(ExceptionGroup) as caught:
        await Running(monkeypatch, 0, checks=[lost]).task
    assert caught.group_contains(LookupError, match="reference topics")


def test_a_record_of_faust_is_taken_as_it_was_received():
    """Nothing of it is decoded; missing headers are none."""
    event = received_by_faust(SimpleNamespace(message=message(7)))
    assert (event.topic, event.partition, event.offset) == ("declarations", 3, 7)
    assert (event.key, event.value, event.timestamp) == (b"D1", b"v", 5.0)
    assert event.timestamp_by_broker
    assert event.header("ce_id") == "e1"
    null = SimpleNamespace(message=message(7, headers=[("ce_id", None), ("other", None)]))
    assert received_by_faust(null).headers == (("ce_id", b""), ("other", b""))
    assert received_by_faust(null).source_id == "declarations/3/7"
    bare = SimpleNamespace(**vars(message(7)) | {"headers": None, "timestamp_type": 0})
    event = received_by_faust(SimpleNamespace(message=bare))
    assert event.headers == ()
    assert not event.timestamp_by_broker


def test_the_app_has_the_settings_under_which_nothing_is_lost():
    """See docs/decisions/0003-faust-without-its-acks.md."""
    app = faust_app(Settings(kafka_bootstrap_servers="one:9092,two:9093"), "group")
    assert [str(url) for url in app.conf.broker] == ["kafka://one:9092", "kafka://two:9093"]
    assert app.conf.id == "group"
    assert app.conf.broker_credentials is None
    assert app.conf.producer_acks == -1
    assert app.conf.consumer_auto_offset_reset == "earliest"
    assert app.conf.topic_allow_declare is False
    assert app.transport.Consumer is PromptConsumer
    producer = app.transport.create_producer()
    assert producer._settings_extra() == {"acks": "all", "enable_idempotence": True}


def test_credentials_are_those_of_the_settings():
    """TLS, with SCRAM where a user is named."""
    scram = faust_app(
        Settings(kafka_security_protocol="SASL_SSL", kafka_username="screen", kafka_password=KEY),
        "group",
    ).conf.broker_credentials
    assert (scram.username, scram.password) == ("screen", KEY)
    assert scram.mechanism.value == "SCRAM-SHA-512"
    assert scram.ssl_context.verify_mode == ssl.CERT_REQUIRED
    mutual = faust_app(Settings(kafka_security_protocol="SSL"), "group").conf.broker_credentials
    assert mutual.context.verify_mode == ssl.CERT_REQUIRED
