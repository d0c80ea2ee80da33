"""Declarations, their headers and references, alerts and outcomes, through the stages on fakes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import cache

import obstore
from fakeredis import FakeAsyncRedis

from models.explanation.explainer import ItemExplained
from models.scoring.evidence import Verdict
from models.selection.policy import Budget
from schemas import codec
from schemas.reasons import Reason
from schemas.records import (
    Alert,
    Assessment,
    Declaration,
    Explanation,
    GoodsItem,
    ImageReference,
    InspectionOutcome,
    ItemAssessment,
    ItemExplanation,
)
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS
from streams.evidence.embedding import Embedder
from streams.evidence.embedding_cache import EmbeddingCache
from streams.evidence.gatherer import Gatherer
from streams.evidence.past_inspections import PastInspections
from streams.evidence.photos import Photos
from streams.evidence.signals import Signals
from streams.kafka.events import Inbound
from streams.kafka.registry import Decoder
from streams.redis.keys import SignalKeys
from streams.selection.capacity import Capacity
from streams.selection.lanes import Lanes
from streams.stages.explain import Explain
from streams.stages.learn import Learn
from streams.stages.screen import Screen
from tests.fakes import NOW, FakeScorer, MemoryBucket
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import run, target
from tests.fuzz.targets import photos, reference

KEYS = SignalKeys(b"key")
BUDGET = Budget(yellow=0.15, red=0.05, random=0.02, offices={"640411": Budget(0.5, 0.1)})
SCHEMA_IDS = {ASSESSMENTS: 1, ALERTS: 2}
WRITERS = {7: codec.schema("declaration")}
OUTCOMES = {9: codec.schema("inspection-outcome")}
CODES = ("64041100", "", "6404.11 00", "999999", "010121", "8471300010C123", "6404", "x" * 50)
URIS = (
    "s3://goods-photos/photo",
    "s3://goods-photos/none",
    "s3://other/photo",
    "http://169.254.169.254/latest",
    "file:///etc/passwd",
    "s3://goods-photos/../photo",
    "s3://goods-photos//photo",
    "s3://goods-photos/" + "k" * 1024,
    "s3://goods-photos@evil.example/photo",
)


class Scorer(FakeScorer):
    """Judges by how much is declared; never fails by itself."""

    def _verdict(self, evidence):
        items = [
            ItemAssessment(
                sequence_number=gathered.item.sequence_number,
                commodity_code=gathered.item.commodity_code,
                risk=len(gathered.item.description) % 11 / 10,
            )
            for gathered in evidence.items
        ]
        return Verdict.of(items, [0.0] * len(items))


class Explainer:
    """Explains with what it was given."""

    bundle_id = FakeScorer.bundle_id

    def explain(self, evidence, pixels):
        return tuple(
            ItemExplained(
                ItemExplanation(sequence_number=gathered.item.sequence_number),
                tuple(None if photo is None else b"png" for photo in of_item),
            )
            for gathered, of_item in zip(evidence.items, pixels, strict=True)
        )


@cache
def executor():
    """The model's thread."""
    return ThreadPoolExecutor(1)


class Stages:
    """The three stages on one store."""

    def __init__(self, scorer=None, explainer=None, snapshot=None):
        self.redis = FakeAsyncRedis()
        self.bucket = MemoryBucket()
        self.signals = Signals(self.redis, keys=KEYS, ttl=timedelta(days=1), pause_s=1)
        self.kept: dict[str, Inbound] = {}
        scorer = scorer or Scorer()
        now = lambda: NOW  # noqa: E731 - the clock
        gatherer = Gatherer(
            photos=Photos(
                {"goods-photos": self.bucket}, concurrency=4, deadline_s=1, max_bytes=1 << 20
            ),
            embedder=Embedder(
                scorer, EmbeddingCache(self.redis, ttl=timedelta(days=1), pause_s=1), executor()
            ),
            signals=self.signals,
            photos_per_item=2,
            now=now,
        )
        capacity = Capacity(
            self.redis,
            budget=BUDGET,
            fallback=scorer.thresholds,
            window=timedelta(hours=1),
            pause_s=1,
        )
        self.screen = Screen(
            writers=WRITERS,
            schema_ids=SCHEMA_IDS,
            scorer=scorer,
            gatherer=gatherer,
            signals=self.signals,
            lanes=Lanes(scorer.thresholds, capacity, key=b"key"),
            reference=lambda: snapshot or reference.nothing(),
            executor=executor(),
            now=now,
        )
        self.learn = Learn(
            writers=OUTCOMES,
            inspections=PastInspections(self.redis, keys=KEYS, now=NOW.timestamp),
            now=now,
            attempts=1,
        )
        self.explain = Explain(
            decoder=Decoder(
                lambda topic: {2: codec.schema("alert")} if topic is ALERTS else WRITERS,
                (ALERTS, DECLARATIONS),
            ),
            schema_id=3,
            explainer=explainer or Explainer(),
            origin=self.kept.get,
            gatherer=gatherer,
            signals=self.signals,
            tariff=lambda: (snapshot or reference.nothing()).tariff,
            heat_maps=MemoryBucket(),
            bucket="explanations",
            executor=executor(),
            now=now,
            attempts=1,
            delay_s=0,
        )

    async def through(self, batch):
        """Screen a micro-batch, explain its alerts; returns how each ended, and the alerts."""
        ends, alerts = [], []
        for cause in batch:
            self.kept[f"{cause.topic}/{cause.partition}/{cause.offset}"] = cause
        for outcome in await self.screen(batch):
            ends.append(fate(outcome))
            alerts += [event for event in outcome if event.topic is ALERTS]
        for alert in alerts:
            event = delivered(alert)
            (explained,) = await self.explain([event])
            ends.append(fate(explained))
        return ends, alerts


def delivered(event):
    """What a stage published, as Kafka delivers it."""
    return Inbound.bounded(
        topic=event.topic.name, partition=0, offset=9, key=event.key, value=event.value,
        timestamp=NOW.timestamp(), timestamp_by_broker=True, headers=event.headers,
    )  # fmt: skip


def fate(outcome):
    """How an event ended; a dead letter by our fault is a defect."""
    first = outcome[0]
    assert first.fits
    if first.topic is DEAD_LETTERS:
        headers = dict(first.headers)
        reason = headers["x_dlq.reason"].decode()
        assert reason != Reason.SCREENING_FAILED, (
            headers["__streams.errors.exception"].decode()
            + headers["__streams.errors.stacktrace"].decode()
        )
        return reason
    if first.topic is ASSESSMENTS:
        return codec.decode(first.value, Assessment, {1: codec.schema("assessment")}, 4 << 20).lane
    codec.decode(first.value, Explanation, {3: codec.schema("explanation")}, 4 << 20)
    return "explained"


def declaration(choices: Choices) -> Declaration:
    """A declaration whose fields are at their extremes; mostly one that keeps the rules."""
    declared = mutations.record(choices, Declaration, long_lists=40)
    id_ = declared.declaration_id[:200] or "D"
    items = declared.goods_items or (GoodsItem(),)
    items = tuple(
        replace(
            item,
            sequence_number=number,
            commodity_code=choices.pick(CODES[:5]) if not choices.one_in(20) else choices.pick(CODES),
            images=tuple(
                replace(image, uri=choices.pick(URIS), sha256="") if not choices.one_in(4) else image
                for image in item.images
            ) or ((ImageReference(uri=URIS[0]),) if choices.one_in(2) else ()),
        )
        for number, item in enumerate(items, 1)
    )  # fmt: skip
    return replace(
        declared, declaration_id=id_, version=max(1, declared.version), goods_items=items
    )


def event(choices: Choices, value: Declaration, offset: int) -> Inbound:
    """The event of a declaration, with any headers and times."""
    return Inbound.bounded(
        topic="declarations",
        partition=0,
        offset=offset,
        key=value.declaration_id.encode(),
        value=codec.encode(value, 7)
        if not choices.one_in(10)
        else mutations.wire(choices, Declaration, value, 7),
        timestamp=choices.pick((NOW.timestamp(), 0.0, None, -1.0, 4e9, 1e15)),
        timestamp_by_broker=choices.one_in(2),
        headers=headers(choices),
    )


def headers(choices: Choices):
    """Headers of any name and value."""
    names = (
        "ce_id",
        "traceparent",
        "redlane_origin",
        "x_dlq.attempt",
        "x_dlq.replays",
        "__streams.errors.topic",
        "redlane_fate",
    )
    made = []
    for _ in range(choices.below(6)):
        name = choices.pick(names) if choices.one_in(2) else mutations.text(choices, most=2000)
        value = choices.pick(
            (
                None,
                b"",
                b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                b"99999999",
                b"declarations/0/1",
            )
        )
        if choices.one_in(2):
            value = choices.pick(
                (choices.bytes(20), mutations.text(choices, most=300_000).encode(), b"\xff" * 300)
            )
        made.append((name, value))
    return made * choices.pick((1, 1, 1, 400))


@target("declaration", "green", "yellow", "red", "explained", weight=1.5)
def declarations(choices: Choices) -> list[str]:
    """A micro-batch of declarations through screen and explain, under any reference data."""
    snapshot = reference.state(choices)[0].snapshot() if choices.one_in(2) else None
    stages = Stages(snapshot=snapshot)
    obstore.put(stages.bucket, "photo", photos.photo(choices))
    batch = [event(choices, declaration(choices), offset) for offset in range(1 + choices.below(3))]
    ends, alerts = run(stages.through(batch))
    if alerts and choices.one_in(2):
        alert = replace(
            delivered(alerts[0]),
            headers=tuple((name, value or b"") for name, value in headers(choices)),
        )
        damaged = replace(alert, value=mutations.damaged(choices, alert.value))
        lied = replace(alert, value=codec.encode(finite(mutations.record(choices, Alert)), 2))
        for hostile in (alert, damaged, lied):
            (explained,) = run(stages.explain([hostile]))
            ends.append(fate(explained))
    return ends


def finite(record):
    """A record without numbers that cannot be published."""
    datum = record.to_avro()
    return type(record).from_avro(_finite(datum))


def _finite(value):
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return 0.5 if isinstance(value, float) and not -1e308 <= value <= 1e308 else value


@target("outcome", "learned", "green", "yellow", "red", "explained", weight=1)
def outcomes(choices: Choices) -> list[str]:
    """Inspection outcomes of a declaration that was selected, then the same goods again."""
    stages = Stages()
    first = declaration(choices)
    ends, _ = run(stages.through([event(choices, first, 0)]))
    for _ in range(1 + choices.below(3)):
        made = replace(
            mutations.record(choices, InspectionOutcome), declaration_id=first.declaration_id
        )
        if not choices.one_in(4):
            made = replace(made, result=choices.pick(("irregular", "conforming")))
        value = (
            codec.encode(made, 9)
            if not choices.one_in(4)
            else mutations.wire(choices, InspectionOutcome, made, 9)
        )
        cause = Inbound.bounded(
            topic="inspection-outcomes", partition=0, offset=1, key=first.declaration_id.encode(), value=value,
            timestamp=choices.pick((NOW.timestamp(), None, 1e15)), headers=headers(choices),
        )  # fmt: skip
        (outcome,) = run(stages.learn([cause]))
        ends.append(fate(outcome) if outcome else "learned")
    again = replace(first, declaration_id=f"{first.declaration_id}2")
    more, _ = run(stages.through([event(choices, again, 2)]))
    return ends + more
