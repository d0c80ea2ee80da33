"""What a declaration brings can degrade its verdict, and a bug costs one declaration."""

import pkgutil
from collections.abc import Iterator
from dataclasses import replace

import obstore
import pytest
from redis.asyncio import Redis

from models.selection.policy import Budget
from schemas.reasons import Reason
from schemas.records import ImageReference, Party
from streams.local.process import LOOPBACK, free_port
from streams.object_storage import ObjectStorage
from tests.fakes import FakeScorer, MemoryBucket, inbound
from tests.streams.evidence.test_photos import POISON
from tests.streams.stages.test_screen import assessment, jpeg, made, risky


async def test_a_photo_without_its_end_counts_and_is_marked():
    """Fresh and from the cache."""
    store = MemoryBucket()
    screen = made(store, FakeScorer())
    obstore.put(store, "cut", jpeg()[:-2])
    images = (ImageReference(uri="s3://goods-photos/cut"),)
    for offset in range(2):
        (outcome,) = await screen([inbound(risky(0.1, images=images), offset=offset)])
        verdict = assessment(outcome)
        codes = [degradation.code for degradation in verdict.degraded]
        assert codes == [Reason.PHOTO_TRUNCATED]
        assert verdict.items[0].modalities == ("text", "image")


@pytest.mark.heavy
async def test_no_reference_stops_the_stage_on_a_real_storage(stack):
    """Each declaration gets its assessment, in one micro-batch; a legal key gets its photo."""
    storage = ObjectStorage(stack.settings())
    bucket = storage.bucket("goods-photos")
    await bucket.write("a//b.jpg", jpeg(), media_type="image/jpeg")
    uris = ["s3://goods-photos/a//b.jpg", *(uri for uri in POISON if "\ud800" not in uri)]
    batch = [
        inbound(risky(0.1, number, images=(ImageReference(uri=uri),)), offset=number)
        for number, uri in enumerate(uris)
    ]
    verdicts = [assessment(outcome) for outcome in await made(bucket, FakeScorer())(batch)]
    await storage.close()
    assert verdicts[0].degraded == ()
    assert {verdict.degraded[0].code for verdict in verdicts[1:]} == {
        Reason.PHOTO_LOCATION_REFUSED,
        Reason.PHOTO_NOT_FOUND,
    }


def raises_for(method, culprit):
    """The method, which raises as a bug would where a declaration is in its arguments."""

    def raising(*args, **options):
        args = [list(each) if isinstance(each, Iterator) else each for each in args]
        if culprit in repr(args):
            raise RuntimeError(args)
        return method(*args, **options)

    return raising


@pytest.mark.parametrize(
    ("part", "method"),
    [
        ("streams.stages.screen.rules", "check"),
        ("streams.evidence.photos.Photos", "fetch"),
        ("streams.evidence.embedding.Embedder", "texts"),
        ("streams.evidence.gatherer", "_observation"),
        ("streams.evidence.signals.Signals", "gather"),
        ("streams.selection.lanes.Lanes", "decide"),
        ("models.selection.profiles.Matcher", "matching"),
        ("streams.evidence.signals.Signals", "remember"),
    ],
)
async def test_a_bug_on_one_declaration_costs_that_one_alone(monkeypatch, part, method):
    """In whatever step: the others get what they get without it, and nothing stops the worker."""
    screen = made(MemoryBucket(), FakeScorer())
    sound = [inbound(risky(0.9, number), offset=number) for number in (1, 3)]
    expected = [[event.value for event in outcome] for outcome in await screen(sound)]
    images = (ImageReference(uri="s3://goods-photos/CULPRIT"),)
    culprit = replace(
        risky(0.9, 2, images=images, description="CULPRIT RISK 0.9"),
        importer=Party(identification="CULPRIT"),
    )
    owner = pkgutil.resolve_name(part)
    monkeypatch.setattr(owner, method, raises_for(getattr(owner, method), "CULPRIT"))
    first, letter, last = await screen([sound[0], inbound(culprit, offset=2), sound[1]])
    assert [[event.value for event in outcome] for outcome in (first, last)] == expected
    assert [event.topic.name for event in letter] == ["dead-letters"]
    headers = dict(letter[0].headers)
    assert headers["x_dlq.reason"] == b"screening_failed"
    assert b"CULPRIT" not in b"".join(headers.values())


async def test_without_redis_the_verdict_is_degraded_and_not_late():
    """It says which evidence was missing, and that the lane is by fixed thresholds."""
    gone = Redis.from_url(f"redis://{LOOPBACK}:{free_port()}/0", socket_connect_timeout=0.2)
    stage = made(MemoryBucket(), FakeScorer(), redis=gone, capacity=Budget(yellow=0.15, red=0.05))
    (outcome,) = await stage([inbound(risky(0.9))])
    verdict = assessment(outcome)
    assert verdict.lane == "red"
    missing = {degradation.code for degradation in verdict.degraded}
    assert {Reason.SIGNALS_UNAVAILABLE, Reason.CAPACITY_UNKNOWN} <= missing
