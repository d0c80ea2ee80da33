"""The composition root: settings → a worker with every part wired.

How Faust must be used so that nothing is lost is decided here and in acker.py and pump.py; see
docs/decisions/0003-faust-without-its-acks.md before changing any of the three.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import faust
import structlog
from aiokafka.helpers import create_ssl_context
from faust.transport.drivers import aiokafka as driver
from mode import CrashingSupervisor
from redis.asyncio import Redis

from models.bundle import default_bundle
from models.scorer import Scorer
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS
from streams.acker import Acker
from streams.budget import Capacity
from streams.dead_letter import Limit
from streams.embed import Embedder
from streams.embedding_cache import EmbeddingCache
from streams.events import Inbound, Outbound
from streams.health import Health
from streams.images import Photos, stores
from streams.lanes import Lanes
from streams.pump import Pumps
from streams.reference import Reference
from streams.registry import Registry
from streams.screen import Screen
from streams.settings import Settings
from streams.signals import Signals

MEGABYTE = 1 << 20
log = structlog.get_logger(__name__)


class IdempotentProducer(driver.Producer):
    """Faust enables idempotence only with exactly_once, which does not work."""

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class Transport(driver.Transport):
    """Kafka transport whose producer is idempotent."""

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


def faust_app(settings: Settings) -> faust.App:
    """Return a Faust app with the settings under which it loses nothing."""
    urls = [f"kafka://{server}" for server in settings.kafka_bootstrap_servers.split(",")]
    app = faust.App(
        settings.consumer_group,
        broker=urls,
        broker_credentials=_credentials(settings),
        autodiscover=False,
        broker_commit_interval=0.5,
        broker_commit_every=1000,
        broker_max_poll_records=500,
        broker_session_timeout=30.0,
        broker_heartbeat_interval=3.0,
        broker_rebalance_timeout=60.0,
        # A member that does not fetch for this long leaves and cannot rejoin; Health watches.
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


def _inbound(event: Any) -> Inbound:
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


def load_scorer(settings: Settings) -> Scorer:
    """Load and warm up the model bundle: the first declaration should not wait for it."""
    scorer = Scorer.load(settings.bundle or default_bundle(), threads=settings.threads)
    scorer.embed_texts(["warm up"])
    log.info("model warm", bundle_id=scorer.bundle_id)
    return scorer


def build(settings: Settings) -> faust.App:
    """Wire a screening worker.

    Raises:
        NotDeployed: the registry lacks a schema.
    """
    scorer = load_scorer(settings)
    registry = Registry(settings.registry_url)
    app = faust_app(settings)
    # Two threads: one pump's photos are decoded while the other's are embedded.
    executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="inference")
    reference = Reference(settings)
    reference.start()
    redis = Redis.from_url(
        settings.redis_url.get_secret_value(),
        protocol=3,
        socket_timeout=settings.cache_timeout_s,
        socket_connect_timeout=settings.cache_timeout_s,
    )
    cache = EmbeddingCache(
        redis, ttl=timedelta(days=settings.cache_ttl_days), pause_s=settings.cache_pause_s
    )
    photos = Photos(
        stores(settings),
        concurrency=settings.photo_concurrency,
        deadline_s=settings.photo_deadline_s,
        max_bytes=settings.photo_max_bytes,
    )
    stage = Screen(
        writers=registry.writers(DECLARATIONS),
        schema_ids={topic: registry.schema_id(topic) for topic in (ASSESSMENTS, ALERTS)},
        scorer=scorer,
        photos=photos,
        embedder=Embedder(scorer, cache, executor),
        signals=Signals(
            redis,
            key=settings.pseudonym_key.get_secret_value().encode(),
            pause_s=settings.cache_pause_s,
            ttl=timedelta(days=settings.signals_ttl_days),
        ),
        lanes=lanes(settings, scorer, redis),
        known=lambda: reference.snapshot,
        executor=executor,
        photos_per_item=settings.photos_per_item,
        now=lambda: datetime.now(UTC),
    )

    async def publish(events: Sequence[Outbound]) -> None:
        """Send in order, then wait until the broker has taken every event."""
        deliveries = [
            await app.producer.send(
                event.topic.name, event.key, event.value, None, event.timestamp, list(event.headers)
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
        Limit(in_a_row=settings.dead_letters_in_a_row, share=settings.dead_letter_share),
        pumps=settings.pumps,
        batch_size=settings.batch_size,
        batch_wait_s=settings.batch_wait_ms / 1000,
    )
    declarations = app.topic(
        DECLARATIONS.name,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )

    async def watch() -> None:
        while True:
            health.check_progress()
            reference.check()
            await asyncio.sleep(1)

    @app.agent(declarations, concurrency=1, supervisor_strategy=CrashingSupervisor)
    async def screen(stream: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pumps.run())
            tasks.create_task(watch())
            async for event in stream.noack().events():
                await pumps.put(_inbound(event), event.ack)

    @app.task  # type: ignore[untyped-decorator] # Faust's is
    async def serve_health() -> None:
        runner = await health.serve(settings.health_host, settings.health_port)
        log.info("health served", addresses=[list(address) for address in runner.addresses])

    return app


def lanes(settings: Settings, scorer: Scorer, redis: Redis) -> Lanes:
    """Return what decides on lanes: the inspectors' capacity where one is set."""
    budget = settings.capacity
    capacity = budget and Capacity(
        redis,
        budget=budget,
        fallback=scorer.thresholds,
        window=timedelta(seconds=settings.capacity_window_s),
        pause_s=settings.cache_pause_s,
    )
    key = settings.selection_key.get_secret_value().encode()
    return Lanes(scorer.thresholds, capacity, key=key)


def run(settings: Settings) -> None:
    """Run a screening worker until it is told to stop.

    Raises:
        SystemExit: 0 after SIGTERM or SIGINT, when all that was taken is done; 1 on what only a
            restart can repair.
    """
    worker = faust.Worker(
        build(settings), override_logging=False, redirect_stdouts=False, quiet=True
    )
    worker.execute_from_commandline()
