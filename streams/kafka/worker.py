"""A stage → a Faust worker that runs it.

This module, transport.py, acker.py and pump.py use Faust so that nothing is lost; read
docs/decisions/0003-faust-without-its-acks.md before you change any of the four.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faust
import structlog
from aiokafka import errors
from aiokafka.helpers import create_ssl_context
from mode import CrashingSupervisor

from schemas.topics import DEAD_LETTERS
from streams import logs, metrics
from streams.exit_deadline import ExitDeadline
from streams.kafka.acker import Acker
from streams.kafka.contact import Contact, asking_for
from streams.kafka.dead_letter import DeadLetterLimit
from streams.kafka.events import Inbound, Outbound
from streams.kafka.health import Health
from streams.kafka.origin import GIVE_RIGHTS
from streams.kafka.pump import Pumps, Stage, Weigh
from streams.kafka.transport import TOO_LARGE, Transport
from streams.kafka.unread import UnreadOfAll
from streams.settings import NotConfigured, Settings

if TYPE_CHECKING:
    from streams.spans import Traces

MEGABYTE = 1 << 20
COMMIT_S = 5.0
"""For the last commit before a stop on purpose."""
SHORTEST_ATTEMPT_S = 5.0
"""Of a delivery: less would send again what is under way."""
LOG_APPEND_TIME = 1
"""Timestamp type of aiokafka: the broker set it."""
log = structlog.get_logger(__name__)
logs.tell_plainly(
    GIVE_RIGHTS,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)


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


class App(faust.App):
    """A Faust app whose stop is bounded."""

    contact: Contact
    deadline: ExitDeadline


def attempt_s(delivery_timeout_s: float) -> float:
    """Return how long one attempt to deliver waits for the broker. Unit: s.

    Several fit into the time for a delivery, so that where a leader hangs the next one gets it.
    """
    return min(delivery_timeout_s, max(SHORTEST_ATTEMPT_S, delivery_timeout_s / 4))


def faust_app(settings: Settings, group: str) -> App:
    """Return a Faust app with the settings under which it loses nothing."""
    urls = [f"kafka://{server}" for server in settings.kafka_bootstrap_servers.split(",")]
    app = App(
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
        producer_request_timeout=attempt_s(settings.delivery_timeout_s),
        producer_linger_ms=5,
        producer_compression_type=(
            None if settings.kafka_compression == "none" else settings.kafka_compression
        ),
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
    return Inbound.bounded(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        timestamp=message.timestamp,
        timestamp_by_broker=message.timestamp_type == LOG_APPEND_TIME,
        headers=message.headers or (),
    )


async def published(app: faust.App, events: Sequence[Outbound], *, within_s: float) -> list[bool]:
    """Send in order, then wait for the broker's answers.

    Returns:
        whether it took each event, False where that is too large.

    Raises:
        TimeoutError: it does not answer in time.
        KafkaError: it refuses an event for another reason.
    """
    async with asyncio.timeout(within_s):
        # To send waits too: for metadata, and for room in the producer.
        deliveries = [
            await app.producer.send(
                event.topic.name,
                event.key,
                event.value,
                None,
                None,
                list(event.headers),
            )
            for event in events
        ]
        answers = await asyncio.gather(*deliveries, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, TOO_LARGE):
            raise answer
    return [not isinstance(answer, TOO_LARGE) for answer in answers]


async def commit_last(app: faust.App) -> None:
    """Commit what is acknowledged: after a restart it would get another fate."""
    try:
        async with asyncio.timeout(COMMIT_S):
            # The first call may find a commit under way, and then only waits for it.
            await app.consumer.commit()
            await app.consumer.commit()
    except TimeoutError:
        log.warning("the last commit failed: no broker answers")


def traces(settings: Settings, stage: str) -> "Traces | None":
    """Return what makes a stage's spans; None where no exporter is set.

    Raises:
        NotConfigured: the extra `tracing` is not installed.
    """
    if settings.traces == "off":
        return None
    try:
        from streams import spans  # noqa: PLC0415 - without traces no worker needs its packages
    except ModuleNotFoundError as error:
        raise NotConfigured(
            f"REDLANE_TRACES needs the extra `tracing`, and {error.name} is not installed: "
            "pip install 'redlane[tracing]'."
        ) from error
    exports = spans.processor(settings.traces, settings.traces_endpoint)
    return spans.Traces(exports, stage, share=settings.traces_share)


def worker(
    settings: Settings,
    *,
    name: str,
    group: str,
    unread: UnreadOfAll,
    stage: Stage,
    weigh: Weigh = lambda _: 0,
    checks: Sequence[Callable[[], None]] = (),
) -> App:
    """Return a worker that runs a stage over a topic, or over several.

    Args:
        settings: of the services.
        name: of the stage, for dead letters.
        group: consumer group.
        unread: the topics that it reads; tells of what retention removed before it was read.
        stage: takes its events in micro-batches.
        weigh: finds heavy events, which light ones may overtake.
        checks: called every second; an error stops the worker.
    """
    app = faust_app(settings, group)

    async def publish(events: Sequence[Outbound]) -> list[bool]:
        return await published(app, events, within_s=settings.delivery_timeout_s)

    acker = Acker(clock=time.monotonic)
    app.deadline = ExitDeadline(settings.stop_within_s, cut_off=lambda: app.contact.lost_s > 0)
    # The health below stops the worker in order; but without Kafka it may not even have started.
    app.contact = Contact(
        asking_for(settings, unread.each[0].topic),
        limit_s=settings.delivery_timeout_s,
        on_lost=app.deadline.start,
    )
    health = Health(
        acker,
        lambda: len(app.consumer.assignment()),
        settings.stall_limit_s,
        model_warm=True,
        cut_off_s=lambda: app.contact.lost_s,
        cut_off_limit_s=settings.delivery_timeout_s,
    )
    pumps = Pumps(
        stage,
        publish,
        acker,
        DeadLetterLimit(in_a_row=settings.dead_letters_in_a_row, share=settings.dead_letter_share),
        name=name,
        pumps=settings.pumps,
        batch_size=settings.batch_size,
        batch_wait_s=settings.batch_wait_ms / 1000,
        weigh=weigh,
        traces=traces(settings, name),
    )
    source = app.topic(
        *unread.topics,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )

    async def watch() -> None:
        consumer: Any = app.consumer  # PromptConsumer; Faust's type lacks what we add
        while True:
            health.check_progress()
            for check in checks:
                check()
            await unread.check()
            metrics.set_lag(consumer.lag)
            await asyncio.sleep(1)

    @app.agent(source, concurrency=1, supervisor_strategy=CrashingSupervisor)
    async def run_stage(stream: Any) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pumps.run())
                tasks.create_task(watch())
                async for event in stream.noack().events():
                    place = event.message
                    unread.received(place.topic, place.partition, place.offset)
                    received = received_by_faust(event)
                    # Until it is acknowledged Faust keeps the event, but needs its value no more.
                    event.value = event.message.value = None
                    await pumps.put(received, event.ack)
        except ExceptionGroup:
            app.deadline.start()
            await commit_last(app)
            raise

    async def compare(_app: Any, *assigned: Any, **_: Any) -> None:
        await unread.assigned(place for places in assigned for place in places)

    app.on_partitions_assigned.connect(compare)  # type: ignore[arg-type] # Faust names no arguments

    @app.task  # type: ignore[untyped-decorator] # Faust's is
    async def serve_health() -> None:
        runner = await health.serve(settings.health_host, settings.health_port)
        log.info("health served", addresses=[list(address) for address in runner.addresses])

    return app


class BoundedWorker(faust.Worker):
    """Stops in bounded time, whatever hangs."""

    app: App

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        self.app.deadline.start()
        super()._schedule_shutdown(signal)

    def on_worker_shutdown(self) -> None:
        """Stop, after a signal or a fault."""
        self.app.deadline.start()
        super().on_worker_shutdown()


def run(app: App) -> None:
    """Run a worker until a signal stops it.

    Raises:
        SystemExit: 0 after SIGTERM or SIGINT, once all events under way are done; 1 on what only a
            restart can repair. Where that takes too long, the process ends with 1.
    """
    app.contact.start()
    BoundedWorker(
        app, override_logging=False, redirect_stdouts=False, quiet=True
    ).execute_from_commandline()
