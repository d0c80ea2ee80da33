"""What was screened is screened again, byte for byte, from what was recorded of it."""

import asyncio
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from models.datasets.goods import read
from models.scoring.scorer import Scorer
from schemas import codec
from schemas.records import (
    Assessment,
    Condition,
    ExchangeRate,
    MatchedProfile,
    RiskProfile,
    TariffMeasure,
)
from schemas.topics import (
    ALERTS,
    ASSESSMENTS,
    DECLARATIONS,
    EXCHANGE_RATES,
    RISK_PROFILES,
    SCREENING_RECORDS,
    TARIFF_MEASURES,
)
from streams.cli import app
from streams.evidence.photos import Photos
from streams.kafka.events import event_id
from streams.kafka.publisher import Publisher
from streams.kafka.registry import Decoder, Registry
from streams.object_storage import ObjectStorage
from streams.operations.replay import Replay
from streams.operations.span import Span, place_of, read_span
from streams.synthetic.irregularities import DEFAULT_SHARES, Irregularities
from streams.synthetic.send import new_run, send
from tests.chaos.verifier import committed
from tests.conftest import ready

GROUP = "redlane-screen"
CAPACITY = '{"yellow": 0.3, "red": 0.1, "random": 0.1}'
"""So that lanes follow the stream, and chance selects some."""
FOREVER = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(stack, bundle):
    return stack.settings().model_copy(update={"bundle": bundle})


@pytest.fixture(scope="module")
def published(settings):
    """Reference data that verdicts depend on."""
    publisher = Publisher(settings, source="test")
    profile = RiskProfile(
        profile_id="replayed", lane="red", author="a" * 32, approver="b" * 32, valid_until=FOREVER,
        conditions=(Condition(field="country_of_origin", operator="equals", values=("CN",)),),
    )  # fmt: skip
    publisher.put(RISK_PROFILES, [profile])
    chapters = (f"{chapter:02}" for chapter in range(1, 98))
    publisher.put(
        TARIFF_MEASURES,
        [TariffMeasure(measure_id=c, commodity_code=c, duty_rate=1 + int(c) / 7) for c in chapters],
    )
    publisher.put(EXCHANGE_RATES, [ExchangeRate(rate_id="u", currency="USD", rate=1.09)])
    yield
    publisher.put(RISK_PROFILES, [replace(profile, version=2, valid_until=datetime(2020, 1, 1, tzinfo=UTC))])  # fmt: skip
    publisher.remove(EXCHANGE_RATES, ["u"])
    publisher.remove(TARIFF_MEASURES, [f"{chapter:02}" for chapter in range(1, 98)])


@pytest.fixture(scope="module")
def scorer(bundle):
    return Scorer.load(bundle)


def screened(settings, count, start_worker, goods_folder, *, kill):
    """Send declarations, many irregular, and screen them; returns when that began and ended."""
    begin = datetime.now(UTC) - timedelta(seconds=1)
    before = sum(committed(settings, GROUP).values())
    # Others count the dead letters on these services: the short proof makes none.
    shares = DEFAULT_SHARES if kill else {**DEFAULT_SHARES, "malformed": 0.0}
    source = Irregularities(
        read(goods_folder), bucket="goods-photos", run=new_run(), seed=5, shares=shares
    )
    capacity = {"capacity": CAPACITY, "capacity_window_s": "5", "dead_letter_share": "1.0"}
    worker = start_worker(**capacity)
    worker.wait_until(lambda: ready(worker), within_s=90)
    sent = send(settings, source.consignments(count), rate=0, truth=None)
    deadline = time.monotonic() + 300
    if kill:
        while sum(committed(settings, GROUP).values()) < before + sent // 4:
            time.sleep(0.1)
        worker.kill()
        worker = start_worker(**capacity)
    while sum(committed(settings, GROUP).values()) < before + sent:
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.3)
    assert worker.stop() == 0
    return begin, datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.slow)])
async def test_every_verdict_is_given_again_byte_for_byte(
    settings, stack, published, scorer, *, count, start_worker, goods_folder, monkeypatch
):
    """By the command, from the topics alone; and what was altered since is named, with the field."""
    begin, end = await asyncio.to_thread(
        screened, settings, count, start_worker, goods_folder, kill=count > 100
    )
    for name, value in (stack.environment() | {"REDLANE_BUNDLE": str(settings.bundle)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("streams.app.load_scorer", lambda _: scorer)
    words = ["replay", "--from", begin.isoformat(), "--to", end.isoformat(), "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, app, words)
    report = json.loads(done.stdout)
    assert done.exit_code == 0, report
    assert report["declarations"] == count
    # What was delivered twice may have two records, of two arrivals.
    assert report["counts"]["equal"] + report["counts"]["refused"] >= count
    print(f"\n{report['counts']}")
    assert report["counts"]["equal"] > 0.9 * count
    registry = Registry(settings.registry_url)
    span = read_span(settings, Decoder(registry.writers, [SCREENING_RECORDS]), begin, end)
    await assert_differences_are_named(settings, registry, scorer, span)


async def assert_differences_are_named(settings, registry, scorer, span):
    """Alter the record or the result of one declaration, screen it again, and read the report."""
    storage = ObjectStorage(settings)
    photos = Photos({"goods-photos": storage.bucket("goods-photos")}, concurrency=2, deadline_s=5, max_bytes=10**7)  # fmt: skip
    results = (ASSESSMENTS, ALERTS)
    writers = {topic: registry.writers(topic) for topic in (DECLARATIONS, *results)}
    ids = {topic: registry.schema_id(topic) for topic in results}
    with ThreadPoolExecutor(2) as executor:
        replay = Replay(
            scorer, photos, writers=writers, schema_ids=ids,
            selection_key=settings.secret_keys()["selection"], executor=executor,
        )  # fmt: skip

        async def told(event, record, values=None):
            some = Span([event], {place_of(event): [record]}, span.results | (values or {}))
            (outcome,) = await replay.span(some)
            return outcome.kind, outcome.detail

        def of(holds):
            for event in span.declarations:
                for record in span.records.get(place_of(event), ()):
                    id_ = event_id(event, record.bundle_id, "assessment")
                    (value,) = span.results[ASSESSMENTS, id_]
                    verdict = codec.decode(value, Assessment, writers[ASSESSMENTS])
                    if holds(record, verdict):
                        return event, record, (ASSESSMENTS, id_), verdict
            raise AssertionError(holds)

        async def tells(what, *arguments):
            kind, detail = await told(*arguments)
            assert re.match(what, f"{kind}: {detail}"), (kind, detail)

        event, record, key, verdict = of(lambda r, v: v.lane == "green" and not r.profiles)
        await tells("equal: $", event, record)
        low = replace(record.thresholds, yellow=0.0, red=0.0)
        lane = "different: assessments: lane: 'green' then, '%s' now; is REDLANE_SELECTION_KEY"
        await tells(lane % "red", event, replace(record, thresholds=low))
        selects = MatchedProfile(profile_id="other", version=1, lane="yellow")
        await tells(lane % "yellow", event, replace(record, profiles=(selects,)))
        missing = "different: assessments: (risk|items|degraded)"
        await tells(missing, event, replace(record, signals=""))
        forged = codec.encode(replace(verdict, expected_revenue_at_risk=1.5), ids[ASSESSMENTS])
        revenue = "different: assessments: expected_revenue_at_risk: "
        await tells(f"{revenue}1.5 then", event, record, {key: [forged]})
        gone = "different: assessments: there is none under its id any more"
        await tells(gone, event, record, {key: []})
        other = "not replayable: it was screened with bundle bbb"
        await tells(other, event, replace(record, bundle_id="b" * 64))
        version = "not replayable: its signals were recorded by another version"
        await tells(version, event, replace(record, signals="{}"))
        event, record, _, _ = of(lambda r, v: r.duties and v.expected_revenue_at_risk)
        doubled = tuple(replace(duty, duty_rate=2 * duty.duty_rate + 9) for duty in record.duties)
        await tells("different: assessments: ", event, replace(record, duties=doubled))
        event, record, _, _ = of(lambda r, _: any(not photo.code for photo in r.photos))
        fates = tuple(replace(photo, sha256="0" * 64) for photo in record.photos)
        another = "not replayable: a photo is another one now"
        await tells(another, event, replace(record, photos=fates))
        number = "not replayable: its record has another number of photos"
        await tells(number, event, replace(record, photos=()))
        sizes = [len(codec.encode(one, 0)) for some in span.records.values() for one in some]
        print(
            f"\nscreening records: {sum(sizes) / len(sizes):.0f} bytes each, {max(sizes)} at most"
        )
    await storage.close()
