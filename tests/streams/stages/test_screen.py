"""One declaration in, exactly one fate out."""

import io
import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import obstore
import pytest
from fakeredis import FakeAsyncRedis
from PIL import Image

from models.risk.tariff import Tariff
from models.selection.policy import Budget
from models.selection.profiles import Matcher
from schemas import codec
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.records import Alert, Assessment, Condition, ImageReference, Party, RiskProfile
from schemas.topics import ALERTS, ASSESSMENTS
from streams.evidence.embedding import Embedder
from streams.evidence.embedding_cache import EmbeddingCache
from streams.evidence.gatherer import Gatherer
from streams.evidence.photos import Photos
from streams.evidence.signals import Signals
from streams.kafka.events import fate_of
from streams.redis.keys import SignalKeys
from streams.reference.state import Snapshot
from streams.selection.capacity import Capacity
from streams.selection.lanes import Lanes
from streams.stages.screen import Screen
from streams.synthetic.irregularities import bomb
from tests.fakes import NOW, FakeScorer, MemoryBucket, inbound

LOW = dict(examples("declaration"))["declaration/low-value"]
IDS = {ASSESSMENTS: 1, ALERTS: 2}


def jpeg(colour="red"):
    out = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def store():
    store = MemoryBucket()
    obstore.put(store, "0f/running-shoes.jpg", jpeg())
    obstore.put(store, "large", bytes(10_001))
    obstore.put(store, "truncated", jpeg()[:400])
    obstore.put(store, "page", b"<html></html>")
    obstore.put(store, "bomb", bomb())
    return store


@pytest.fixture
def scorer():
    return FakeScorer()


def made(store, scorer, *, redis=None, capacity=None, reference=None):
    """Wire a stage on fakes."""
    executor = ThreadPoolExecutor(1)
    redis = redis or FakeAsyncRedis()
    cache = EmbeddingCache(redis, ttl=timedelta(days=1), pause_s=1)
    snapshot = reference or Snapshot((), Matcher(()), Tariff(()))
    budget = capacity and Capacity(
        redis,
        budget=capacity,
        fallback=scorer.thresholds,
        window=timedelta(seconds=20),
        pause_s=1,
    )
    signals = Signals(redis, keys=SignalKeys(b"key"), ttl=timedelta(days=1), pause_s=1)
    return Screen(
        writers={7: codec.schema("declaration")},
        schema_ids=IDS,
        scorer=scorer,
        gatherer=Gatherer(
            photos=Photos({"goods-photos": store}, concurrency=4, deadline_s=5, max_bytes=10_000),
            embedder=Embedder(scorer, cache, executor),
            signals=signals,
            photos_per_item=2,
            now=lambda: NOW,
        ),
        signals=signals,
        lanes=Lanes(scorer.thresholds, budget, key=b"key"),
        reference=lambda: snapshot,
        executor=executor,
        now=lambda: NOW,
    )


@pytest.fixture
def screen(store, scorer):
    return made(store, scorer)


def risky(risk, number=1, **fields):
    """The low-value example; the goods text gives its risk."""
    fields = {"description": f"SHOES RISK {risk}"} | fields
    item = replace(LOW.goods_items[0], **fields)
    return replace(LOW, declaration_id=f"D{number}", goods_items=(item,))


def assessment(outcome):
    return codec.decode(outcome[0].value, Assessment, {1: codec.schema("assessment")})


async def test_each_event_gets_its_fate_in_order(screen):
    """Green: an assessment. Yellow and red: an alert too. What is no declaration: a dead letter."""
    batch = [
        inbound(risky(0.1, 1), offset=1),
        inbound(value=b"nonsense", offset=2),
        inbound(risky(0.6, 3), offset=3),
        inbound(risky(0.9, 4), offset=4),
    ]
    outcomes = await screen(batch)
    assert [[(e.topic.name, e.key) for e in outcome] for outcome in outcomes] == [
        [("assessments", b"D1")],
        [("dead-letters", b"key")],
        [("assessments", b"D3"), ("alerts", b"D3")],
        [("assessments", b"D4"), ("alerts", b"D4")],
    ]
    assert [assessment(outcomes[n]).lane for n in (0, 2, 3)] == ["green", "yellow", "red"]


async def test_a_redelivered_event_gives_equal_ids_and_bytes(screen):
    """Alone or among others, cached or fresh: the same verdict, whatever the clock says."""
    event = inbound(risky(0.9, 1), offset=1)
    (first,) = await screen([event])
    _, second = await screen([inbound(risky(0.2, 2), offset=0), event])
    assert [e.value for e in second] == [e.value for e in first]
    assert [dict(e.headers)["ce_id"] for e in second] == [dict(e.headers)["ce_id"] for e in first]


async def test_two_declarations_under_one_ce_id_both_survive(screen):
    """A sender's mistake costs no declaration."""
    first, second = inbound(risky(0.1, 1), offset=5), inbound(risky(0.1, 2), offset=5)
    outcomes = await screen([first, second])
    ids = {dict(outcome[0].headers)["ce_id"] for outcome in outcomes}
    assert len(ids) == 2


async def test_headers_are_cloud_events_and_carry_the_trace(screen):
    """Customs IT reads the envelope without decoding."""
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = inbound(risky(0.1), headers=(("ce_id", b"e1"), ("traceparent", trace)))
    ((out,),) = await screen([event])
    headers = dict(out.headers)
    assert headers.keys() == {
        "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type", "traceparent", "redlane_timings",
        "redlane_fate",
    }  # fmt: skip
    assert headers["ce_type"] == b"redlane.assessment"
    assert headers["ce_time"] == b"2026-11-02T09:30:00.000+00:00"
    assert headers["traceparent"] == trace
    assert json.loads(headers["redlane_timings"]).keys() == {"fetch", "embed", "signals", "score"}


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ({"uri": "s3://goods-photos/gone"}, Reason.PHOTO_NOT_FOUND),
        ({"uri": "s3://other-bucket/key"}, Reason.PHOTO_LOCATION_REFUSED),
        ({"uri": "http://example.org/a.jpg"}, Reason.PHOTO_LOCATION_REFUSED),
        ({"uri": "s3://goods-photos/../etc/passwd"}, Reason.PHOTO_LOCATION_REFUSED),
        ({"uri": "file:///etc/passwd"}, Reason.PHOTO_LOCATION_REFUSED),
        ({"uri": "s3://goods-photos/large"}, Reason.PHOTO_TOO_LARGE),
        ({"uri": "s3://goods-photos/truncated"}, Reason.PHOTO_UNREADABLE),
        ({"uri": "s3://goods-photos/page"}, Reason.PHOTO_FORMAT_REFUSED),
        ({"uri": "s3://goods-photos/bomb"}, Reason.PHOTO_TOO_MANY_PIXELS),
        (
            {"uri": "s3://goods-photos/0f/running-shoes.jpg", "sha256": "0" * 64},
            Reason.PHOTO_CHANGED,
        ),
    ],
)
async def test_a_photo_that_cannot_be_had_degrades_with_its_reason(screen, reference, reason):
    """The verdict rests on the other evidence, and names what is missing."""
    images = (ImageReference(**reference, media_type="image/jpeg"),)
    (outcome,) = await screen([inbound(risky(0.1, images=images))])
    verdict = assessment(outcome)
    assert [(d.sequence_number, d.evidence, d.code) for d in verdict.degraded] == [
        (1, "image", reason)
    ]
    assert verdict.items[0].modalities == ("text",)


async def test_absent_text_and_photos_degrade(screen):
    """The verdict names what is missing."""
    item = replace(LOW.goods_items[0], description="  ", product_title="", images=())
    (outcome,) = await screen([inbound(replace(LOW, goods_items=(item,)))])
    codes = [degradation.code for degradation in assessment(outcome).degraded]
    assert codes == [Reason.PHOTO_ABSENT, Reason.TEXT_ABSENT]


@pytest.mark.parametrize(
    ("written", "published"), [("6404.11", "640411"), ("6404 11 00", "64041100"), ("", "")]
)
async def test_a_code_is_published_without_dots_and_blanks(screen, written, published):
    """None is as good as any."""
    (outcome,) = await screen([inbound(risky(0.9, commodity_code=written))])
    assert [event.topic for event in outcome] == [ASSESSMENTS, ALERTS]
    alert = codec.decode(outcome[1].value, Alert, {2: codec.schema("alert")})
    codes = {assessment(outcome).items[0].commodity_code, alert.items[0].commodity_code}
    assert codes == {published}


@pytest.mark.parametrize(
    ("currency", "missing"),
    [
        ("EUR", []),
        ("eur", []),
        ("usd", ["exchange_rate_outdated"]),
        ("VND", ["price_unknown"]),
        ("Jane Doe", ["price_unknown"]),
    ],
)
async def test_an_amount_is_published_as_declared(screen, currency, missing):
    """Whatever it is compared as; where it cannot be, the assessment says so, but repeats no name."""
    (outcome,) = await screen([inbound(risky(0.9, item_currency=currency))])
    assert [gap.code for gap in assessment(outcome).degraded] == missing
    assert "Jane" not in str(assessment(outcome))
    (item,) = codec.decode(outcome[1].value, Alert, {2: codec.schema("alert")}).items
    assert (item.item_amount, item.item_currency) == (LOW.goods_items[0].item_amount, currency)


async def test_a_hostile_code_is_a_dead_letter_that_names_the_goods_item(screen):
    """But not what stands there: it may be a name."""
    (outcome,) = await screen([inbound(risky(0.9, commodity_code="Jane Doe"))])
    headers = dict(outcome[0].headers)
    assert headers["x_dlq.reason"] == b"declaration_invalid"
    message = headers["__streams.errors.message"]
    assert message == b"goods item 1: its commodity_code is not 6, 8 or 10 digits"


async def test_equal_content_is_embedded_once(screen, scorer):
    """Within a micro-batch and across: the cache holds under the content's hash."""
    await screen([inbound(risky(0.1, n), offset=n) for n in range(3)])
    await screen([inbound(risky(0.1, 9), offset=9)])
    assert (scorer.texts, scorer.photos) == (["SHOES RISK 0.1", "Running shoe"], 1)


async def test_a_declaration_that_breaks_the_scorer_dies_alone(screen, scorer):
    """The others are judged; its dead letter tells the fault but no personal data."""
    crash = replace(LOW.goods_items[0], description="CRASH Jane Doe")
    batch = [
        inbound(risky(0.1, 1), offset=1),
        inbound(replace(LOW, declaration_id="D2", goods_items=(crash,)), offset=2),
        inbound(risky(0.1, 3), offset=3),
    ]
    outcomes = await screen(batch)
    assert [[e.topic.name for e in o] for o in outcomes] == [
        ["assessments"],
        ["dead-letters"],
        ["assessments"],
    ]
    headers = dict(outcomes[1][0].headers)
    assert headers["x_dlq.reason"] == b"screening_failed"
    assert headers["__streams.errors.exception"] == b"builtins.RuntimeError"
    assert b"Jane" not in b"".join(headers.values())


@pytest.mark.parametrize("risk", ["nan", "inf", "-inf"])
async def test_a_risk_that_is_not_finite_is_never_published(screen, risk):
    """A dead letter instead; the neighbours are judged."""
    outcomes = await screen([inbound(risky(risk, 1), offset=1), inbound(risky(0.1, 2), offset=2)])
    assert [[e.topic.name for e in o] for o in outcomes] == [["dead-letters"], ["assessments"]]
    headers = dict(outcomes[0][0].headers)
    assert headers["__streams.errors.exception"] == b"schemas.codec.NotFinite"


async def test_assessment_alert_and_dead_letter_of_one_event_share_its_fate_id(screen, scorer):
    """Whichever came first before a crash, readers see that the other is about the same event."""
    event = inbound(risky(0.9, 1), offset=1)
    ((assessed, alert),) = await screen([event])
    scorer.score = None  # a bug
    ((letter,),) = await screen([event])
    fates = [dict(answer.headers)["redlane_fate"] for answer in (assessed, alert, letter)]
    assert fates == [fate_of(event)[1].encode()] * 3


async def test_a_dead_letter_keeps_the_event_and_tells_its_origin(screen):
    """Key, value and headers stay; KIP-1034's headers and the event's timestamp are added."""
    event = inbound(value=b"nonsense", offset=41, partition=3)
    ((letter,),) = await screen([event])
    assert (letter.key, letter.value) == (event.key, event.value)
    assert letter.headers[:1] == event.headers
    added = dict(letter.headers[1:])
    assert {
        name: added[f"__streams.errors.{name}"]
        for name in ("topic", "partition", "offset", "message")
    } == {
        "topic": b"declarations",
        "partition": b"3",
        "offset": b"41",
        "message": b"it does not begin with a zero byte and schema id",
    }
    assert added["x_dlq.reason"] == b"value_not_avro"
    assert added["x_dlq.retryable"] == b"false"
    assert added["x_dlq.timestamp"] == str(round(event.timestamp * 1000)).encode()


async def test_the_alert_shows_the_riskiest_goods_first(screen):
    """An inspector sees at a glance what it is about."""
    items = tuple(
        replace(LOW.goods_items[0], sequence_number=n, description=f"GOODS RISK {risk}")
        for n, risk in ((1, 0.2), (2, 0.9))
    )
    (outcome,) = await screen([inbound(replace(LOW, goods_items=items))])
    alert = codec.decode(outcome[1].value, Alert, {2: codec.schema("alert")})
    assert [(item.sequence_number, item.risk) for item in alert.items] == [(2, 0.9), (1, 0.2)]
    assert alert.assessment_id == dict(outcome[0].headers)["ce_id"].decode()


def day(count=80, seed=7):
    """Declarations of few traders within a few minutes, of all risks."""
    dice = random.Random(seed)
    for number in range(count):
        declaration = risky(
            round(dice.random(), 3), number, item_amount=Decimal(dice.choice([40, 90, 300]))
        )
        yield inbound(
            replace(
                declaration,
                importer=Party(identification=f"I{dice.randrange(5)}"),
            ),
            offset=number,
            timestamp=NOW.timestamp() + 2 * number,
        )


async def test_any_suffix_that_is_redelivered_gets_identical_scores_and_lanes(store, scorer):
    """Signals, thresholds and random selections too: equal bytes, whatever came in between."""
    budget = Budget(yellow=0.15, red=0.05, random=0.02)
    redis = FakeAsyncRedis()
    stage = made(store, scorer, redis=redis, capacity=budget)
    events = list(day())
    first = [
        outcome for start in range(0, 80, 16) for outcome in await stage(events[start : start + 16])
    ]
    lanes = [assessment(outcome).lane for outcome in first]
    assert len(set(lanes)) == 3
    another = made(store, scorer, redis=redis, capacity=budget)  # restarted: it knows nothing
    for start in (0, 37, 79):
        again = [outcome for event in events[start:] for outcome in await another([event])]
        expected = [[event.value for event in outcome] for outcome in first[start:]]
        assert [[event.value for event in outcome] for outcome in again] == expected


async def test_every_lane_tells_why_and_with_what_probability(store, scorer):
    """So that hit rates can be estimated from the inspected alone."""
    stage = made(store, scorer, capacity=Budget(yellow=0.15, red=0.05, random=0.02))
    for start in range(3):
        for outcome in await stage(list(day(40, seed=start))):
            selection = assessment(outcome).selection
            assert selection.basis in {"risk", "random"}
            assert 0.02 <= selection.probability <= 1


async def test_a_profile_selects_whatever_the_risk_and_one_persons_profile_does_not(store, scorer):
    """Four eyes: it tells which profile it was."""
    both = RiskProfile(
        profile_id="shoes",
        conditions=(Condition(field="commodity_code", operator="starts_with", values=("64",)),),
        lane="red",
        valid_until=LOW.acceptance_time + timedelta(days=1),
        author="a",
        approver="b",
    )
    for approver, lane in (("b", "red"), ("a", "green"), ("", "green")):
        profile = replace(both, approver=approver)
        reference = Snapshot((profile,), Matcher((profile,)), Tariff(()))
        (outcome,) = await made(store, scorer, reference=reference)([inbound(risky(0.1))])
        verdict = assessment(outcome)
        assert verdict.lane == lane
        assert (verdict.selection.basis == "profile") == (lane == "red")
        assert verdict.selection.profile_id == ("shoes" if lane == "red" else "")


async def test_a_declaration_that_is_to_be_inspected_can_be_learned_from(store, scorer):
    """Green ones are not remembered: nobody inspects them."""
    redis = FakeAsyncRedis()
    await made(store, scorer, redis=redis)(
        [inbound(risky(0.9, 1)), inbound(risky(0.1, 2), offset=1)]
    )
    keys = SignalKeys(b"key")
    assert await redis.get(keys.inspected("D1")) is not None
    assert await redis.get(keys.inspected("D2")) is None
