"""What was recorded of a verdict gives it again; what cannot be given again is told, never equal."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import obstore
import pytest
from fakeredis import FakeAsyncRedis, FakeServer

from models.risk.exchange import ExchangeRates
from models.risk.tariff import Goods, Tariff
from models.selection.policy import Budget
from models.selection.profiles import Matcher
from schemas import codec
from schemas.records import (
    Condition,
    ExchangeRate,
    ImageReference,
    PhotoFate,
    RiskProfile,
    ScreeningRecord,
    TariffMeasure,
)
from schemas.topics import ALERTS, ASSESSMENTS, DECLARATIONS, SCREENING_RECORDS
from streams.evidence.photos import Photos
from streams.evidence.recording import AskedRates, AskedTariff, _duties
from streams.operations.recorded import RecordedTariff
from streams.operations.replay import Replay, first_difference
from streams.operations.span import Span, place_of
from streams.reference.state import Snapshot
from tests.fakes import NOW, FakeScorer, MemoryBucket, inbound
from tests.streams.stages.test_screen import jpeg, made, risky

IDS = {ASSESSMENTS: 1, ALERTS: 2, SCREENING_RECORDS: 3}
WRITERS = {topic: {id_: codec.schema(topic.schema)} for topic, id_ in (*IDS.items(), (DECLARATIONS, 7))}  # fmt: skip
PHOTO = ImageReference(uri="s3://goods-photos/photo")
MISSING = ImageReference(uri="s3://goods-photos/missing")
PROFILE = RiskProfile(
    profile_id="P", version=3, lane="red", author="a", approver="b",
    valid_until=datetime(2099, 1, 1, tzinfo=UTC),
    conditions=(Condition(field="description", operator="equals", values=("SHOES RISK 0.1",)),),
)  # fmt: skip
REFERENCE = Snapshot(
    (PROFILE,),
    Matcher([PROFILE]),
    Tariff([TariffMeasure(measure_id="64", commodity_code="64", duty_rate=8.0)]),
    ExchangeRates([ExchangeRate(rate_id="u", currency="USD", rate=1.1)]),
)


@pytest.fixture
def store():
    store = MemoryBucket()
    obstore.put(store, "photo", jpeg())
    return store


@pytest.fixture
def screen(store):
    """The stage with everything that a verdict may depend on."""
    stage = made(store, FakeScorer(), capacity=Budget(yellow=0.3, red=0.2, random=0.3), reference=REFERENCE)  # fmt: skip
    stage._schema_ids = IDS
    return stage


def span_of(events, outcomes):
    """What lies on the topics after events led to these."""
    records, results = {}, {}
    for event, outcome in zip(events, outcomes, strict=True):
        for result in outcome:
            if result.topic is SCREENING_RECORDS:
                record = codec.decode(result.value, ScreeningRecord, WRITERS[SCREENING_RECORDS])
                records.setdefault(place_of(event), []).append(record)
            else:
                key = result.topic, dict(result.headers).get("ce_id", b"").decode()
                results.setdefault(key, []).append(result.value)
    return Span(events, records, results)


async def replayed(span, store, *, key=b"key", bundle_id=None):
    scorer = FakeScorer()
    scorer.bundle_id = bundle_id or scorer.bundle_id
    photos = Photos({"goods-photos": store}, concurrency=2, deadline_s=5, max_bytes=10_000)
    with ThreadPoolExecutor(1) as executor:
        replay = Replay(
            scorer, photos, writers=WRITERS, schema_ids=IDS, selection_key=key, executor=executor
        )  # fmt: skip
        return [(each.kind, each.detail) for each in await replay.span(span)]


def declarations(count=20):
    """Of many risks, with photos that are there or not, in two currencies; dated by anybody."""
    return [
        inbound(
            risky(
                number / count,
                number,
                images=((), (PHOTO,), (MISSING, PHOTO), (PHOTO,) * 3)[number % 4],
                item_currency=("EUR", "USD", "XXX")[number % 3],
                item_amount=Decimal(10),
            ),
            offset=number,
            timestamp_by_broker=number % 2 == 0,
        )
        for number in range(count)
    ]


async def test_every_verdict_is_given_again(screen, store):
    """In whichever lane, by profile, capacity or chance, with what was missing missing again."""
    events = [*declarations(), inbound(value=b"nonsense", offset=99)]
    span = span_of(events, await screen(events))
    assert {lane for _, lane in await replayed(span, store)} == {"", "value_not_avro"}
    kinds = [kind for kind, _ in await replayed(span, store)]
    assert kinds == ["equal"] * 20 + ["refused"]
    record = span.records[place_of(events[1])][0]
    assert [(rate.currency, rate.rate) for rate in record.rates] == [("USD", "1.1")]
    assert [photo.sha256 for photo in record.photos] == [hashlib.sha256(jpeg()).hexdigest()]
    (record,) = span.records[place_of(events[2])]
    assert [photo.code for photo in record.photos] == ["photo_not_found", ""]
    assert [(p.profile_id, p.version) for p in record.profiles] == [("P", 3)]


async def test_a_photo_that_came_later_changes_nothing(screen, store):
    """It was not there then."""
    events = declarations()
    span = span_of(events, await screen(events))
    obstore.put(store, "missing", jpeg("blue"))
    assert {kind for kind, _ in await replayed(span, store)} == {"equal"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda store: obstore.delete(store, "photo"), "a photo is not there any more: photo_not_found"),
        (lambda store: obstore.put(store, "photo", jpeg("blue")), "a photo is another one now"),
    ],
    ids=["gone", "other"],
)  # fmt: skip
async def test_a_photo_that_changed_is_told(screen, store, change, why):
    """Nothing can be said of the verdict then."""
    events = declarations(2)
    span = span_of(events, await screen(events))
    change(store)
    assert await replayed(span, store) == [("equal", ""), ("not replayable", why)]


async def test_what_was_given_without_redis_is_given_again_without(store):
    """Degraded then, degraded now."""
    redis = FakeAsyncRedis(server=FakeServer())
    redis.connection_pool.connection_kwargs["server"].connected = False
    stage = made(store, FakeScorer(), redis=redis, capacity=Budget(yellow=0.3, red=0.2), reference=REFERENCE)  # fmt: skip
    stage._schema_ids = IDS
    events = declarations(4)
    span = span_of(events, await stage(events))
    (record,) = span.records[place_of(events[0])]
    assert (record.signals, record.capacity_unknown) == ("", True)
    assert {kind for kind, _ in await replayed(span, store)} == {"equal"}


async def test_two_verdicts_under_one_id_are_each_given_again(screen, store):
    """Redis was lost between two deliveries: each has its record, and a third one has none."""
    events = declarations(1)
    span = span_of(events, await screen(events))
    other = made(store, FakeScorer(), reference=Snapshot((), Matcher(()), Tariff(())))
    other._schema_ids = IDS
    again = span_of(events, await other(events))
    place = place_of(events[0])
    both = Span(
        events,
        {place: [*span.records[place], *again.records[place]]},
        {key: [*span.results.get(key, ()), *again.results.get(key, ())] for key in span.results | again.results},
    )  # fmt: skip
    assert await replayed(both, store) == [("equal", ""), ("equal", "")]
    kinds = [kind for kind, _ in await replayed(replace(both, records=span.records), store)]
    assert kinds == ["equal", "not replayable"]


async def test_another_selection_key_is_told(screen, store):
    """Nobody else could have thrown these dice."""
    events = declarations(40)
    span = span_of(events, await screen(events))
    told = [
        detail for kind, detail in await replayed(span, store, key=b"other") if kind == "different"
    ]
    assert told
    assert all("REDLANE_SELECTION_KEY" in detail for detail in told)


async def test_another_bundle_is_told(screen, store):
    """It must be the one of then."""
    events = declarations(1)
    span = span_of(events, await screen(events))
    other = await replayed(span, store, bundle_id="c" * 64)
    assert other == [("not replayable", f"it was screened with bundle {'b' * 64}")]


async def test_what_lacks_a_record_is_told(screen, store):
    """A dead letter by a bug, or not screened yet."""
    events = [inbound(risky(0.1, description="CRASH"), offset=1)]
    ((kind, detail),) = await replayed(span_of(events, await screen(events)), store)
    assert (kind, detail) == ("not replayable", "it has no screening record: not screened yet, or a dead letter")  # fmt: skip


async def test_a_declaration_that_is_no_longer_kept_is_told(screen, store):
    """Its record is kept for longer."""
    span = Span([], {}, {}, {"declarations/0/3": "D3"})
    assert await replayed(span, store) == [("not replayable", "its declaration is no longer kept")]


async def test_forged_results_are_told(screen, store):
    """Altered, removed, or added: the record has the hashes."""
    events = [inbound(risky(0.9, 1), offset=1)]
    span = span_of(events, await screen(events))
    for key in span.results:
        name = key[0].name
        forged = replace(span, results=span.results | {key: [b"forged"]})
        ((kind, detail),) = await replayed(forged, store)
        assert (kind, detail) == ("different", f"{name}: it cannot be read: value_not_avro")
        ((kind, detail),) = await replayed(replace(span, results=span.results | {key: []}), store)
        assert (kind, detail) == ("different", f"{name}: there is none under its id any more")
    (record,) = span.records[place_of(events[0])]
    for field, topic in (("assessment_sha256", ASSESSMENTS), ("alert_sha256", ALERTS)):
        wrong = {place_of(events[0]): [replace(record, **{field: "0" * 64})]}
        ((kind, detail),) = await replayed(replace(span, records=wrong), store)
        assert (kind, detail) == ("different", f"{topic.name}: it is not the one that was recorded")
    none = {place_of(events[0]): [replace(record, alert_sha256="")]}
    ((_, detail),) = await replayed(replace(span, records=none), store)
    assert detail == "alerts: there was none, and there is one now"


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("thresholds", None, "its record has no thresholds"),
        ("signals", "{}", "its signals were recorded by another version"),
        ("photos", (), "its record has another number of photos"),
        ("photos", (PhotoFate(code="new"),), "its photos were recorded by another version"),
    ],
)
async def test_a_record_that_does_not_fit_is_told(screen, store, field, value, why):
    """Of another version, or altered."""
    events = [inbound(risky(0.1, 1, images=(PHOTO,)), offset=1)]
    span = span_of(events, await screen(events))
    (record,) = span.records[place_of(events[0])]
    broken = {place_of(events[0]): [replace(record, **{field: value})]}
    ((kind, detail),) = await replayed(replace(span, records=broken), store)
    assert kind == "not replayable"
    assert detail.startswith(why)


def test_the_first_difference_is_named():
    """In the order of the fields, as a person would look for it."""
    then = {"a": 1, "items": [{"risk": 0.1}, {"risk": 0.2}], "z": None}
    now = {"a": 1, "items": [{"risk": 0.1}, {"risk": 0.3}], "z": {}}
    assert first_difference(then, now) == ("items[1].risk", 0.2, 0.3)
    assert first_difference(then, now | {"items": []})[0] == "items"
    assert first_difference(then, then)[0] == ""


def test_a_duty_that_depends_on_the_goods_is_told_for_them_alone():
    """By weight, and the rate of VAT; a replay tells the same, and nothing of other goods."""
    measures = (
        TariffMeasure(measure_id="d", commodity_code="0405", duty_expression="93.1 EUR/DTN"),
        TariffMeasure(
            measure_id="v", commodity_code="0405", duty_expression="6 %", measure_type="vat"
        ),
    )
    butter = Goods(value=Fraction(1000), net_mass=Fraction(100))
    tariff = AskedTariff(Tariff(measures))
    duty, vat = tariff.duty("04051011", "NZ", NOW, butter), tariff.vat("04051011", NOW)
    assert (duty, vat) == (pytest.approx(9.31), 6.0)
    recorded = RecordedTariff(ScreeningRecord(duties=tuple(_duties(tariff))))
    assert recorded.duty("04051011", "NZ", NOW, butter) == duty
    assert recorded.duty("04051011", "NZ", NOW, Goods(value=Fraction(1))) is None
    assert recorded.vat("04051011", NOW) == 6.0
    assert recorded.vat("640411", NOW) == 21.0


def test_what_was_asked_is_remembered():
    """Only what is known: nothing else can be told again."""
    tariff = AskedTariff(REFERENCE.tariff)
    assert (tariff.duty("640411", "CN", NOW), tariff.duty("0101", "", NOW)) == (8.0, None)
    assert tariff.duties == {("640411", "CN", ""): 8.0}
    rates = AskedRates(REFERENCE.rates)
    assert rates.quote("XXX", NOW) is None
    assert rates.quotes == {}
    assert rates.quote("USD", NOW) == rates.quotes["USD"]
