"""The composition root: settings → workers with every part wired."""

from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import structlog
from redis.asyncio import Redis

from models.encoding.backends import InferenceFailed, observe_faults
from models.encoding.image import PHOTO_SIZE
from models.explanation.explainer import Explainer
from models.scoring.bundle import BadBundle, check_released, verify
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from models.scoring.scorer import Scorer
from schemas.records import Declaration, GoodsItem
from schemas.topics import (
    ALERTS,
    ASSESSMENTS,
    CUSTOMS_MESSAGES,
    DECLARATIONS,
    EXCHANGE_RATES,
    EXPLANATIONS,
    INSPECTION_OUTCOMES,
    SCREENING_RECORDS,
    TARIFF_MEASURES,
    TOPICS,
    Topic,
)
from streams import metrics
from streams.evidence.embedding import Embedder
from streams.evidence.embedding_cache import EmbeddingCache
from streams.evidence.gatherer import Gatherer
from streams.evidence.past_inspections import PastInspections
from streams.evidence.photos import Photos
from streams.evidence.signals import Signals
from streams.intake.store import S3Ledgers
from streams.intake.xml_document import XmlSchema
from streams.kafka.origin import Origins
from streams.kafka.registry import AllowList, Decoder, Registry
from streams.kafka.unread import Unread, UnreadOfAll
from streams.kafka.worker import App, worker
from streams.object_storage import ObjectStorage
from streams.operations.access import admit
from streams.redis.client import check_redis, redis_client
from streams.redis.keys import SignalKeys
from streams.reference.follower import Reference
from streams.selection.capacity import Capacity
from streams.selection.lanes import Lanes
from streams.settings import NotConfigured, Settings
from streams.stages.deliver import Deliver
from streams.stages.explain import Explain
from streams.stages.intake import Intake
from streams.stages.learn import Learn
from streams.stages.screen import Screen
from streams.webhook.receiver import Receiver

GREY = np.full((PHOTO_SIZE, PHOTO_SIZE, 3), 128, np.uint8)
log = structlog.get_logger(__name__)


def load_scorer(settings: Settings) -> Scorer:
    """Load and warm up the model bundle: the first declaration should not wait for it.

    Raises:
        NotConfigured: no bundle is named.
        BadBundle: it is incomplete or was changed, or does not run here.
        NotReleased: it may not be used.
    """
    bundle = settings.required_bundle()
    verify(bundle)
    check_released(bundle)  # one that is only for evaluation may lack what scoring needs
    observe_faults(tell_fault)
    scorer = Scorer.load(bundle, threads=settings.threads)
    try:
        scorer.score([_warm_up_evidence(scorer)])
        log.info("model warm", bundle_id=scorer.bundle_id, arithmetic=scorer.arithmetic)
    except InferenceFailed as error:
        raise BadBundle(f"The networks of {bundle} do not run on this machine: {error}.") from error
    return scorer


def tell_fault(remedy: str, error: Exception) -> None:
    """Count and log a network's run that failed."""
    metrics.INFERENCE_FAULTS.labels(remedy).inc()
    log.warning("inference failed", remedy=remedy, error=type(error).__name__)


def load_explainer(settings: Settings, scorer: Scorer) -> Explainer:
    """Load and warm up the explainer: the first alert should not wait for it."""
    explainer = Explainer(scorer, settings.required_bundle(), threads=settings.threads)
    explainer.explain(_warm_up_evidence(scorer), [[GREY]])
    return explainer


def _warm_up_evidence(scorer: Scorer) -> DeclarationEvidence:
    """Return evidence that every part of the model runs on."""
    item = GoodsItem(sequence_number=1, commodity_code=scorer.hs.codes[0], description="goods")
    (text,), (photo,) = scorer.embed_texts([item.description]), scorer.embed_photos([GREY])
    return DeclarationEvidence(
        Declaration(goods_items=(item,)), (ItemEvidence(item, text, (photo,)),)
    )


def taking_in(settings: Settings) -> App:
    """Wire a worker that turns customs messages into declarations.

    Raises:
        NotConfigured: an XML schema cannot be read.
        NotDeployed: the registry lacks a schema, or Kafka a topic.
        RegistryFailed, NoAnswer: the registry or Kafka does not answer for a while.
    """
    try:
        schema = XmlSchema(settings.intake_schemas) if settings.intake_schemas else None
    except ValueError as error:
        raise NotConfigured(f"Correct REDLANE_INTAKE_SCHEMAS: {error}") from error
    admit(settings, "intake")
    registry = Registry(settings.registry_url)
    registry.wait(DECLARATIONS)
    unread = begun(settings, settings.intake_consumer_group, CUSTOMS_MESSAGES)
    stage = Intake(
        schema_id=registry.schema_id(DECLARATIONS),
        ledgers=S3Ledgers(settings),
        now=lambda: datetime.now(UTC),
        wait=timedelta(hours=settings.intake_wait_hours),
        schema=schema,
        executor=ThreadPoolExecutor(1, thread_name_prefix="intake"),
    )
    return worker(
        settings,
        name="intake",
        group=settings.intake_consumer_group,
        stage=stage,
        unread=unread,
    )


def screening(settings: Settings) -> App:
    """Wire a worker that screens declarations.

    Raises:
        NotConfigured: no bundle is named, or a key that workers share is missing.
        BadBundle, NotReleased: see `load_scorer`.
        NotDeployed: the registry lacks a schema, or Kafka a topic.
        RegistryFailed: the registry does not answer for a while.
        ReferenceLost: the reference topics cannot be read.
        NoAnswer: Kafka does not answer for a while, or refuses this user.
    """
    settings.secret_keys()  # before a service is asked, or a model loaded
    scorer = load_scorer(settings)
    registry = Registry(settings.registry_url)
    registry.wait(DECLARATIONS)
    admit(settings, "screen")
    allowed = AllowList(registry.writers, DECLARATIONS)
    reference = Reference(settings)
    reference.start()
    unread = begun(settings, settings.consumer_group, DECLARATIONS)
    redis = redis_client(settings)
    signals = live_signals(settings, redis)
    storage = ObjectStorage(settings)
    executor = inference_threads()
    stage = Screen(
        writers=allowed.writers,
        schema_ids={
            topic: registry.schema_id(topic) for topic in (ASSESSMENTS, ALERTS, SCREENING_RECORDS)
        },
        scorer=scorer,
        gatherer=evidence_gatherer(
            settings, scorer, redis=redis, signals=signals, storage=storage, executor=executor
        ),
        signals=signals,
        lanes=lanes(settings, scorer, redis),
        reference=lambda: reference.snapshot,
        executor=executor,
        now=lambda: datetime.now(UTC),
    )
    app = worker(
        settings,
        name="screen",
        group=settings.consumer_group,
        stage=allowed.before(stage),
        weigh=stage.weigh,
        checks=[reference.check],
        unread=unread,
    )
    app.async_exit_stack.push_async_callback(storage.close)
    return app


def explaining(settings: Settings) -> App:
    """Wire a worker that explains alerts.

    Raises:
        NotConfigured: no bundle is named, or a key that workers share is missing.
        BadBundle, NotReleased: see `load_scorer`.
        NotDeployed: the registry lacks a schema, or Kafka a topic.
        RegistryFailed: the registry does not answer for a while.
        ReferenceLost: the reference topics cannot be read.
        NoAnswer: Kafka does not answer for a while, or refuses this user.
    """
    settings.secret_keys()  # before a service is asked, or a model loaded
    scorer = load_scorer(settings)
    registry = Registry(settings.registry_url)
    registry.wait(ALERTS)
    admit(settings, "explain")
    reference = Reference(settings, topics=[TARIFF_MEASURES, EXCHANGE_RATES])
    reference.start()
    unread = begun(settings, settings.explain_consumer_group, ALERTS)
    redis = redis_client(settings)
    signals = live_signals(settings, redis)
    storage = ObjectStorage(settings)
    executor = inference_threads()
    bucket = settings.s3_explanations_bucket
    stage = Explain(
        decoder=Decoder(registry.writers, (ALERTS, DECLARATIONS)),
        schema_id=registry.schema_id(EXPLANATIONS),
        explainer=load_explainer(settings, scorer),
        origin=Origins(settings),
        gatherer=evidence_gatherer(
            settings, scorer, redis=redis, signals=signals, storage=storage, executor=executor
        ),
        signals=signals,
        tariff=lambda: reference.snapshot.tariff,
        rates=lambda: reference.snapshot.rates,
        heat_maps=storage.bucket(bucket),
        bucket=bucket,
        executor=executor,
        now=lambda: datetime.now(UTC),
    )
    app = worker(
        # One at a time: an explanation takes longer than its delivery, and none waits for others.
        settings.model_copy(update={"batch_size": 1}),
        name="explain",
        group=settings.explain_consumer_group,
        stage=stage,
        checks=[reference.check],
        unread=unread,
    )
    app.async_exit_stack.push_async_callback(storage.close)
    return app


def learning(settings: Settings) -> App:
    """Wire a worker that learns from inspection outcomes.

    Raises:
        NotConfigured: a key that workers share is missing, or Redis refuses this user.
        NotDeployed: the registry lacks a schema, or Kafka a topic.
        RegistryFailed: the registry does not answer for a while.
        NoAnswer: Kafka does not answer for a while, or refuses this user.
    """
    keys = signal_keys(settings)
    check_redis(settings)
    registry = Registry(settings.registry_url)
    registry.wait(INSPECTION_OUTCOMES)
    admit(settings, "learn")
    allowed = AllowList(registry.writers, INSPECTION_OUTCOMES)
    unread = begun(settings, settings.learn_consumer_group, INSPECTION_OUTCOMES)
    stage = Learn(
        writers=allowed.writers,
        inspections=PastInspections(redis_client(settings), keys=keys),
        now=lambda: datetime.now(UTC),
    )
    return worker(
        settings,
        name="learn",
        group=settings.learn_consumer_group,
        stage=allowed.before(stage),
        unread=unread,
    )


def delivering(settings: Settings) -> App:
    """Wire a worker that posts alerts, and explanations where asked to, to case management.

    Raises:
        NotConfigured: there is no receiver or no secret, or one that may not be used.
        NotDeployed: the registry lacks a schema, or Kafka a topic.
        RegistryFailed: the registry does not answer for a while.
        NoAnswer: Kafka does not answer for a while, or refuses this user.
    """
    receiver = Receiver(settings)
    topics = [TOPICS[name] for name in dict.fromkeys(settings.deliver_topics)]
    registry = Registry(settings.registry_url)
    registry.wait(topics[0])
    admit(settings, "deliver")
    unread = begun(settings, settings.deliver_consumer_group, *topics)
    app = worker(
        settings,
        name="deliver",
        group=settings.deliver_consumer_group,
        stage=Deliver(decode=Decoder(registry.writers, topics), receiver=receiver),
        unread=unread,
    )
    app.async_exit_stack.push_async_callback(receiver.close)
    return app


def begun(settings: Settings, group: str, *topics: Topic) -> UnreadOfAll:
    """Wait for Kafka; return what tells of events that are removed before they are read.

    Raises:
        NotDeployed: a topic is missing.
        NoAnswer: Kafka does not answer for a while, or refuses this user.
    """
    each = [Unread(settings, group=group, topic=topic) for topic in topics]
    for unread in each:
        unread.begin()
    return UnreadOfAll(each)


def inference_threads() -> Executor:
    """Return two threads: one decodes a pump's photos while the other embeds another pump's."""
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="inference")


def signal_keys(settings: Settings) -> SignalKeys:
    """Return the names of the signals' keys in Redis."""
    return SignalKeys(settings.secret_keys()["pseudonym"])


def live_signals(settings: Settings, redis: Redis) -> Signals:
    """Return the store of live signals."""
    return Signals(
        redis,
        keys=signal_keys(settings),
        pause_s=settings.cache_pause_s,
        ttl=timedelta(days=settings.signals_ttl_days),
    )


def evidence_gatherer(
    settings: Settings,
    scorer: Scorer,
    *,
    redis: Redis,
    signals: Signals,
    storage: ObjectStorage,
    executor: Executor,
) -> Gatherer:
    """Wire what gathers the evidence of declarations."""
    cache = EmbeddingCache(
        redis, ttl=timedelta(days=settings.cache_ttl_days), pause_s=settings.cache_pause_s
    )
    photos = Photos(
        {name: storage.bucket(name) for name in settings.s3_buckets},
        concurrency=settings.photo_concurrency,
        deadline_s=settings.photo_deadline_s,
        max_bytes=settings.photo_max_bytes,
    )
    return Gatherer(
        photos=photos,
        embedder=Embedder(scorer, cache, executor),
        signals=signals,
        photos_per_item=settings.photos_per_item,
        now=lambda: datetime.now(UTC),
    )


def lanes(settings: Settings, scorer: Scorer, redis: Redis) -> Lanes:
    """Wire what decides on lanes: the inspectors' capacity where one is set."""
    capacity = None
    if settings.capacity is not None:
        for lane in ("yellow", "red", "random"):
            metrics.BUDGET.labels(lane).set(getattr(settings.capacity, lane))
        capacity = Capacity(
            redis,
            budget=settings.capacity,
            fallback=scorer.thresholds,
            window=timedelta(seconds=settings.capacity_window_s),
            pause_s=settings.cache_pause_s,
        )
    return Lanes(scorer.thresholds, capacity, key=settings.secret_keys()["selection"])
