"""A stage → a Faust worker that runs it.

This module, acker.py and pump.py use Faust so that nothing is lost; read
docs/decisions/0003-faust-without-its-acks.md before you change any of the three.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import faust
import structlog
from aiokafka.helpers import create_ssl_context
from faust.transport.drivers import aiokafka as driver
from mode import CrashingSupervisor

from schemas.topics import DEAD_LETTERS, Topic
from streams.kafka.acker import Acker
from streams.kafka.dead_letter import DeadLetterLimit
from streams.kafka.events import Inbound, Outbound
from streams.kafka.health import Health
from streams.kafka.pump import Pumps, Stage
from streams.kafka.unread import Unread
from streams.settings import Settings

MEGABYTE = 1 << 20
FETCH_WAIT_MS = 100
log = structlog.get_logger(__name__)


class IdempotentProducer(driver.Producer):
    """Idempotent: Faust offers that only with exactly_once, which does not work."""

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class PromptConsumerThread(driver.AIOKafkaConsumerThread):
    """Shortens the 1.5 s for which Faust lets the broker hold a fetch.

    A partition that is not part of a held fetch waits as long, even if events have arrived for it.
    """

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - Faust has no setting for it
        return consumer

    def verify_event_path(self, _now: float, _tp: Any) -> None:
        """Do nothing: Faust's check raises where retention passed the position. Health checks."""


class PromptConsumer(driver.Consumer):
    """Consumer that fetches promptly."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return PromptConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Transport(driver.Transport):
    """Kafka transport whose producer is idempotent and whose consumer is prompt."""

    Consumer: ClassVar[type[driver.Consumer]] = PromptConsumer
    Producer: ClassVar[type[driver.Producer]] = IdempotentProducer


def _credentials(settings: Settings) -> Any:
    if settings.kafka_security_protocol == "PLAINTEXT":
        return None

    def text(path: Path | None) -> str | None:
        return str(path) if path else None

    context = create_ssl_context(
        cafile=text(settings.kafka_ca_file),
        certfile=text(settings.kafka_certificate_file),
        keyfile=text(settings.kafka_key_file),
    )
    if settings.kafka_security_protocol == "SSL":
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=settings.kafka_username,
        password=settings.kafka_password.get_secret_value(),
        ssl_context=context,
        mechanism="SCRAM-SHA-512",
    )


def faust_app(settings: Settings, group: str) -> faust.App:
    """Return a Faust app with the settings under which it loses nothing."""
    urls = [f"kafka://{server}" for server in settings.kafka_bootstrap_servers.split(",")]
    app = faust.App(
        group,
        broker=urls,
        broker_credentials=_credentials(settings),
        autodiscover=False,
        broker_commit_interval=0.5,
        broker_commit_every=1000,
        broker_max_poll_records=500,
        broker_session_timeout=30.0,
        broker_heartbeat_interval=3.0,
        broker_rebalance_timeout=60.0,
        # A member that does not fetch for this long leaves for ever; Health notices a stall.
        broker_max_poll_interval=86_400.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=DEAD_LETTERS.max_message_mb * MEGABYTE,
        producer_acks=-1,
        producer_request_timeout=settings.delivery_timeout_s,
        producer_linger_ms=5,
        producer_compression_type="zstd",
        producer_max_request_size=DEAD_LETTERS.max_message_mb * MEGABYTE,
        stream_wait_empty=True,
        stream_buffer_maxsize=1024,
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
    )
    app.transport = Transport(app.conf.broker, app)
    return app


def received_by_faust(event: Any) -> Inbound:
    """Return what Faust received, not decoded."""
    message = event.message
    return Inbound(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        timestamp=message.timestamp,
        headers=tuple(message.headers or ()),
    )


def worker(
    settings: Settings,
    *,
    group: str,
    topic: Topic,
    stage: Stage,
    checks: Sequence[Callable[[], None]] = (),
    unread: Unread | None = None,
) -> faust.App:
    """Return a worker that runs a stage over a topic.

    Args:
        settings: of the services.
        group: consumer group.
        topic: that it reads.
        stage: takes its events in micro-batches.
        checks: called every second; an error stops the worker.
        unread: tells of what retention removed before it was read; one of its own where None.
    """
    unread = unread or Unread(settings, group=group, topic=topic)
    app = faust_app(settings, group)

    async def publish(events: Sequence[Outbound]) -> None:
        """Send in order, then wait until the broker has taken every event."""
        deliveries = [
            await app.producer.send(
                event.topic.name, event.key, event.value, None, None, list(event.headers)
            )
            for event in events
        ]
        async with asyncio.timeout(settings.delivery_timeout_s):
            await asyncio.gather(*deliveries)

    acker = Acker(clock=time.monotonic)
    health = Health(
        acker, lambda: len(app.consumer.assignment()), settings.stall_limit_s, model_warm=True
    )
    pumps = Pumps(
        stage,
        publish,
        acker,
        DeadLetterLimit(in_a_row=settings.dead_letters_in_a_row, share=settings.dead_letter_share),
        pumps=settings.pumps,
        batch_size=settings.batch_size,
        batch_wait_s=settings.batch_wait_ms / 1000,
    )
    source = app.topic(
        topic.name,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )

    async def watch() -> None:
        while True:
            health.check_progress()
            for check in checks:
                check()
            await unread.check()
            await asyncio.sleep(1)

    @app.agent(source, concurrency=1, supervisor_strategy=CrashingSupervisor)
    async def run_stage(stream: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pumps.run())
            tasks.create_task(watch())
            async for event in stream.noack().events():
                unread.received(event.message.partition, event.message.offset)
                await pumps.put(received_by_faust(event), event.ack)

    async def compare(_app: Any, *assigned: Any, **_: Any) -> None:
        await unread.assigned({place.partition for places in assigned for place in places})

    app.on_partitions_assigned.connect(compare)  # type: ignore[arg-type] # Faust names no arguments

    @app.task  # type: ignore[untyped-decorator] # Faust's is
    async def serve_health() -> None:
        runner = await health.serve(settings.health_host, settings.health_port)
        log.info("health served", addresses=[list(address) for address in runner.addresses])

    return app


def run(app: faust.App) -> None:
    """Run a worker until a signal stops it.

    Raises:
        SystemExit: 0 after SIGTERM or SIGINT, once all events under way are done; 1 on what only a
            restart can repair.
    """
    faust.Worker(
        app, override_logging=False, redirect_stdouts=False, quiet=True
    ).execute_from_commandline()
