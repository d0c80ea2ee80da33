"""Alerts → explanations: of the evidence that the alert was scored with, or of what is left."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import numpy as np
import obstore
import pytest
from confluent_kafka import KafkaException, Producer
from fakeredis import FakeAsyncRedis
from redis.exceptions import RedisError

from models.explanation.explainer import ItemExplained
from models.risk.tariff import Tariff
from schemas import codec
from schemas.codec import encode
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.records import (
    Alert,
    Contribution,
    Explanation,
    ImageReference,
    ItemExplanation,
    Selection,
    Signal,
)
from schemas.topics import ALERTS, DECLARATIONS
from streams.evidence.embedding import Embedder
from streams.evidence.embedding_cache import EmbeddingCache
from streams.evidence.gatherer import Gatherer
from streams.evidence.photos import Photos
from streams.evidence.signals import Signals
from streams.kafka.events import ORIGIN, Inbound
from streams.kafka.origin import Origins
from streams.kafka.registry import Decoder
from streams.object_storage import StorageFailed
from streams.redis.keys import SignalKeys
from streams.stages.explain import Explain
from tests.fakes import NOW, FakeScorer, MemoryBucket, inbound
from tests.streams.stages.test_screen import LOW, jpeg, made, risky

ALERT, EXPLANATION = 2, 3


class FakeExplainer:
    """Tells of each item what it was given; "BUG" raises as a bug would."""

    bundle_id = FakeScorer.bundle_id

    def __init__(self):
        self.given = []

    def explain(self, evidence, photos):
        self.given.append((evidence, photos))
        if "BUG" in evidence.declaration.goods_items[0].description:
            raise RuntimeError(f"personal data of {evidence.declaration}")
        return tuple(
            ItemExplained(
                ItemExplanation(
                    sequence_number=gathered.item.sequence_number,
                    words=(Contribution(part=gathered.item.description),),
                    changes=(Signal(code=Reason.GREEN_WITH_FITTING_TEXT),),
                ),
                tuple(None if photo is None else b"png" for photo in pixels),
            )
            for gathered, pixels in zip(evidence.items, photos, strict=True)
        )


class Place:
    """A stage and what it stands on, on fakes."""

    def __init__(self):
        self.photos, self.heat_maps = MemoryBucket(), MemoryBucket()
        obstore.put(self.photos, "0f/running-shoes.jpg", jpeg())
        self.redis = FakeAsyncRedis()
        self.explainer = FakeExplainer()
        self.kept: dict[str, Inbound] = {}
        self.schemas = {
            ALERTS: {ALERT: codec.schema("alert")},
            DECLARATIONS: {7: codec.schema("declaration")},
        }
        scorer, executor = FakeScorer(), ThreadPoolExecutor(1)
        self.screen = made(self.photos, scorer, redis=self.redis)
        cache = EmbeddingCache(self.redis, ttl=timedelta(days=1), pause_s=1)
        signals = Signals(self.redis, keys=SignalKeys(b"key"), ttl=timedelta(days=1), pause_s=1)
        self.stage = Explain(
            decoder=Decoder(lambda topic: dict(self.schemas[topic]), (ALERTS, DECLARATIONS)),
            schema_id=EXPLANATION,
            explainer=self.explainer,
            origin=self.kept.get,
            gatherer=Gatherer(
                photos=Photos(
                    {"goods-photos": self.photos}, concurrency=4, deadline_s=5, max_bytes=10_000
                ),
                embedder=Embedder(scorer, cache, executor),
                signals=signals,
                photos_per_item=2,
                now=lambda: NOW,
            ),
            signals=signals,
            tariff=Tariff,
            heat_maps=self.heat_maps,
            bucket="explanations",
            executor=executor,
            now=lambda: NOW,
            attempts=2,
            delay_s=0.01,
        )

    async def alert(self, declaration, **fields):
        """Screen a declaration; returns its alert as Kafka delivers it."""
        cause = inbound(declaration, offset=5, **fields)
        self.kept["declarations/0/5"] = cause
        ((_, alert),) = await self.screen([cause])
        return Inbound(
            topic="alerts",
            partition=1,
            offset=9,
            key=alert.key,
            value=alert.value,
            timestamp=NOW.timestamp(),
            timestamp_by_broker=True,
            headers=alert.headers,
        )

    async def explained(self, alert):
        ((event,),) = await self.stage([alert])
        assert event.topic.name == "explanations"
        return codec.decode(event.value, Explanation, {EXPLANATION: codec.schema("explanation")})


@pytest.fixture
def place():
    return Place()


def codes(item):
    return [reason.code for reason in item.reasons]


async def test_an_alert_is_explained_with_the_evidence_it_was_scored_with(place):
    """The same declaration, signals, text, photo; the heat map lies where the event says."""
    alert = await place.alert(risky(0.9))
    explanation = await place.explained(alert)
    ((evidence, pixels),) = place.explainer.given
    assert dict(alert.headers)[ORIGIN] == b"declarations/0/5"
    assert evidence.declaration == risky(0.9)
    assert evidence.live is not None
    assert evidence.items[0].text is not None
    assert len(evidence.items[0].photos) == 1
    assert pixels[0][0].dtype == np.uint8
    (item,) = explanation.items
    (reference,) = item.heat_maps
    assert re.fullmatch(r"s3://explanations/[0-9a-f]{64}\.png", reference)
    key = reference.removeprefix("s3://explanations/")
    assert bytes(obstore.get(place.heat_maps, key).bytes()) == b"png"
    assert codes(item) == []
    assert explanation.declaration_id == "D1"
    assert (
        explanation.assessment_id
        == codec.decode(alert.value, Alert, place.schemas[ALERTS]).assessment_id
    )


async def test_a_redelivered_alert_gives_equal_bytes_and_id(place):
    """Whatever the clock says."""
    alert = await place.alert(risky(0.9))
    (first,), (second,) = await place.stage([alert, alert])
    assert first.value == second.value
    headers = dict(first.headers)
    assert headers["ce_id"] == dict(second.headers)["ce_id"] != dict(alert.headers)["ce_id"]
    assert headers["ce_type"] == b"redlane.explanation"
    assert headers["ce_source"] == b"redlane/explain"


async def test_goods_text_with_markup_is_left_as_it_is(place):
    """It is for the reader to show it inert."""
    text = "<script>alert(1)</script> RISK 0.9"
    item = replace(LOW.goods_items[0], description=text)
    explanation = await place.explained(await place.alert(replace(LOW, goods_items=(item,))))
    assert explanation.items[0].words[0].part == text


async def test_a_declaration_that_is_gone_leaves_what_the_alert_says(place):
    """Marked; nothing is guessed."""
    alert = await place.alert(risky(0.9))
    place.kept.clear()
    explanation = await place.explained(alert)
    assert place.explainer.given == []
    assert [item.sequence_number for item in explanation.items] == [1]
    assert codes(explanation.items[0]) == [Reason.DECLARATION_GONE]


async def test_another_declaration_at_the_same_place_is_not_explained(place):
    """The topic was made anew since."""
    alert = await place.alert(risky(0.9))
    place.kept["declarations/0/5"] = inbound(risky(0.8), offset=5)
    assert codes((await place.explained(alert)).items[0]) == [Reason.DECLARATION_GONE]


async def test_an_alert_without_origin_is_explained_by_itself(place):
    """As those of earlier versions are."""
    alert = await place.alert(risky(0.9))
    old = replace(alert, headers=tuple(header for header in alert.headers if header[0] != ORIGIN))
    assert codes((await place.explained(old)).items[0]) == [Reason.DECLARATION_GONE]


async def test_signals_and_photos_that_are_gone_are_told(place):
    """The rest is explained."""
    images = (*LOW.goods_items[0].images, ImageReference(uri="s3://goods-photos/gone"))
    alert = await place.alert(risky(0.9, images=images))
    await place.redis.flushall()
    obstore.delete(place.photos, "0f/running-shoes.jpg")
    (item,) = (await place.explained(alert)).items
    assert codes(item) == [
        Reason.PHOTO_NOT_FOUND,
        Reason.PHOTO_NOT_FOUND,
        Reason.SIGNALS_UNAVAILABLE,
    ]
    assert item.heat_maps == ("", "")


def fails(act, error, failures, when=lambda *_args: True):
    """`act`, which raises an error for as many calls as `failures` holds."""

    async def failing(*args, **options):
        if failures[0] and when(*args):
            failures[0] -= 1
            raise error("no answer")
        return await act(*args, **options)

    return failing


async def test_photos_of_a_failing_storage_are_waited_for_a_while(place, monkeypatch):
    """Then the rest is explained, and the explanation names what is missing."""
    alert = await place.alert(risky(0.9))
    failures = [1]
    monkeypatch.setattr(MemoryBucket, "read", fails(MemoryBucket.read, StorageFailed, failures))
    item = (await place.explained(alert)).items[0]
    assert codes(item) == []
    assert item.heat_maps[0]
    failures[0] = 2
    assert codes((await place.explained(alert)).items[0]) == [Reason.PHOTO_UNAVAILABLE]


async def test_a_failing_redis_is_tried_again_then_stops_the_worker(place, monkeypatch):
    """An explanation without the signals that caused the alert would be a wrong one."""
    alert = await place.alert(risky(0.9))
    failures = [1]
    recorded = fails(place.stage._signals.recorded, RedisError, failures, lambda _ids: True)
    monkeypatch.setattr(place.stage._signals, "recorded", recorded)
    assert codes((await place.explained(alert)).items[0]) == []
    assert failures == [0]
    failures[0] = 2
    with pytest.raises(RedisError):
        await place.stage([alert])


async def test_schemas_that_are_registered_after_the_start_are_read(place):
    """An upgrade goes on while workers run."""
    alert = await place.alert(risky(0.9))
    later = replace(alert, value=alert.value[:1] + (77).to_bytes(4, "big") + alert.value[5:])
    place.schemas[ALERTS][77] = codec.schema("alert")
    assert codes((await place.explained(later)).items[0]) == []


@pytest.mark.parametrize(("basis", "changes"), [("risk", 1), ("profile", 0), ("random", 0)])
async def test_what_was_not_selected_by_risk_would_not_be_green_without_it(place, basis, changes):
    alert = await place.alert(risky(0.9))
    decoded = codec.decode(alert.value, Alert, place.schemas[ALERTS])
    selected = replace(decoded, selection=replace(decoded.selection or Selection(), basis=basis))
    (item,) = (await place.explained(replace(alert, value=codec.encode(selected, ALERT)))).items
    assert len(item.changes) == changes


async def test_an_alert_of_another_bundle_is_marked(place):
    """Its risk is not quite the one that is explained."""
    alert = await place.alert(risky(0.9))
    place.explainer.bundle_id = "c" * 64
    assert codes((await place.explained(alert)).items[0]) == [Reason.EXPLAINED_BY_ANOTHER_BUNDLE]


async def test_what_is_no_alert_and_what_breaks_the_model_are_dead_letters(place):
    """Each alone, without personal data."""
    item = replace(LOW.goods_items[0], description="BUG Jane Doe RISK 0.9")
    bug = await place.alert(replace(LOW, goods_items=(item,)))
    nonsense = replace(bug, value=b"nonsense")
    (first,), (second,) = await place.stage([nonsense, bug])
    assert [event.topic.name for event in (first, second)] == ["dead-letters"] * 2
    assert dict(first.headers)["x_dlq.stage"] == b"explain"
    assert b"Jane" not in b"".join(value for _, value in second.headers)


async def test_a_bug_in_gathering_costs_one_alert(place, monkeypatch):
    """The worker goes on, and its dead letter tells no personal data."""
    alert = await place.alert(risky(0.9))

    async def bug(*args):
        raise TypeError(args)

    monkeypatch.setattr(place.stage._gatherer, "embed", bug)
    ((letter,),) = await place.stage([alert])
    assert letter.topic.name == "dead-letters"
    assert b"SHOES" not in b"".join(value for _, value in letter.headers)


async def test_a_failing_storage_is_tried_again_then_stops_the_worker(place, monkeypatch):
    """No explanation refers to a heat map that is not there."""
    alert = await place.alert(risky(0.9))
    failures = [1]
    monkeypatch.setattr(MemoryBucket, "write", fails(MemoryBucket.write, StorageFailed, failures))
    assert (await place.explained(alert)).items[0].heat_maps[0]
    failures[0] = 2
    with pytest.raises(StorageFailed):
        await place.stage([alert])


async def test_a_failing_kafka_is_tried_again_then_stops_the_worker(place):
    alert = await place.alert(risky(0.9))
    kept, failures = dict(place.kept), [1]

    def origin(place_):
        if failures[0]:
            failures[0] -= 1
            raise KafkaException("no answer")
        return kept.get(place_)

    place.stage._origin = origin
    assert codes((await place.explained(alert)).items[0]) == []
    failures[0] = 2
    with pytest.raises(KafkaException):
        await place.stage([alert])


def test_a_declaration_is_fetched_from_where_it_lies(stack):
    """By its offset; one that is not there is gone, and nothing else is read."""
    declaration = next(record for _, record in examples("declaration"))
    value, places = encode(declaration, 7), []
    producer = Producer(stack.settings().confluent())
    for number in range(3):
        producer.produce(
            DECLARATIONS.name,
            value,
            str(number).encode(),
            partition=5,
            headers=[("ce_id", f"e{number}".encode())],
            on_delivery=lambda _, message: places.append(message.offset()),
        )
    assert producer.flush(10) == 0
    origins = Origins(stack.settings(), within_s=5)
    for number in (1, 2, 0):
        event = origins(f"declarations/5/{places[number]}")
        assert (event.key, event.value) == (str(number).encode(), value)
        assert event.headers == (("ce_id", f"e{number}".encode()),)
    for gone in (
        f"declarations/5/{places[-1] + 1}",
        "declarations/99/0",
        "alerts/0/0",
        "declarations/5/-1",
        "nonsense",
    ):
        assert origins(gone) is None, gone
