"""A declaration of as many goods items as the law allows: in slices, and its results fit."""

import asyncio
import time
from dataclasses import replace

import pytest

from models.scoring.evidence import Verdict
from models.scoring.slices import WEIGHT
from schemas import codec
from schemas.codec import MAX_VALUE_BYTES
from schemas.reasons import TEXTS, Reason
from schemas.records import Alert, Assessment, HsCandidate, ImageReference, Signal
from schemas.rules import MAX_GOODS_ITEMS
from schemas.topics import ALERTS, ASSESSMENTS
from streams.kafka.heartbeat import Heartbeat
from streams.stages.explain import EXPLAINED
from tests.fakes import FakeScorer, inbound
from tests.streams.stages.test_explain import Place, codes
from tests.streams.stages.test_screen import IDS, LOW, assessment, made, risky, scorer, store

__all__ = ["scorer", "store"]


def of_items(count, *, text="goods {}", risk=lambda _: 0.0, **fields):
    """The low-value example with so many goods items, each with its own text."""
    items = tuple(
        replace(
            LOW.goods_items[0],
            sequence_number=n,
            description=f"{text.format(n)} RISK {risk(n)}",
            **fields,
        )
        for n in range(1, count + 1)
    )
    return replace(LOW, declaration_id="LARGE", goods_items=items)


class SlowScorer(FakeScorer):
    """Takes a while for each goods item."""

    def score(self, evidence):
        time.sleep(0.002 * sum(len(each.items) for each in evidence))
        return super().score(evidence)


async def test_a_small_declaration_gets_its_verdict_while_a_large_one_is_worked(store):
    """They share the model, slice by slice; the large one gets one assessment of all its items."""
    screen = made(store, SlowScorer())
    large = asyncio.create_task(screen([inbound(of_items(MAX_GOODS_ITEMS), offset=1)]))
    for number in range(5):
        await asyncio.sleep(0.1)
        (outcome,) = await screen([inbound(risky(0.1, number), offset=2)])
        assert outcome[0].topic is ASSESSMENTS
        assert not large.done()
    (outcome,) = await large
    items = assessment(outcome).items
    assert [item.sequence_number for item in items] == [*range(1, MAX_GOODS_ITEMS + 1)]


async def test_each_slice_is_a_sign_of_life_and_the_weight_is_what_it_takes(
    store, scorer, monkeypatch
):
    """So that the watchdog waits, and the pumps let small declarations overtake."""
    screen = made(store, scorer)
    event = inbound(of_items(100, images=()))
    heartbeat = Heartbeat(iter(range(10_000)).__next__)
    with heartbeat.current():
        await screen([event])
    assert len(scorer.batches) >= 100 / WEIGHT
    assert heartbeat.at >= 2 * 100 / WEIGHT
    assert screen.weigh(event) == 100
    assert screen.weigh(inbound(risky(0.1))) == 1 + len(LOW.goods_items[0].images)
    assert screen.weigh(inbound(value=b"nonsense")) == 0
    monkeypatch.setattr(codec, "decode", None)
    assert screen.weigh(event) == 0  # a bug is told in the dead letter of the stage


class WordyScorer(FakeScorer):
    """Says all that can be said of every goods item, at its longest."""

    def score(self, evidence):
        longest = max(TEXTS.values(), key=len)
        return [
            Verdict.of(
                [
                    replace(
                        item,
                        risk=1.0,
                        candidates=(HsCandidate(hs6="640411", probability=0.123456),) * 5,
                        hs_set=("640411",) * 8,
                        hs_set_coverage=0.95,
                        signals=tuple(
                            Signal(code=code, weight=1.0, detail=2 * longest) for code in Reason
                        )[:12],
                    )
                    for item in verdict.items
                ],
                verdict.revenue_of_items,
            )
            for verdict in super().score(evidence)
        ]


async def test_what_is_said_of_the_largest_declaration_fits_its_topics(store):
    """All evidence of all goods items is missing, and all that can be a reason is one."""
    images = tuple(ImageReference(uri=f"s3://elsewhere/{n}") for n in range(5))
    text = "LONG {} " + "x" * 850
    declaration = of_items(MAX_GOODS_ITEMS, text=text, images=images, commodity_code="6404110090")
    event = inbound(declaration)
    assert 0.9 * MAX_VALUE_BYTES < len(event.value) <= MAX_VALUE_BYTES
    ((first, second),) = await made(store, WordyScorer())([event])
    for outcome, topic, kind in ((first, ASSESSMENTS, Assessment), (second, ALERTS, Alert)):
        assert outcome.topic is topic
        most = topic.max_value_mb << 20
        writers = {IDS[topic]: codec.schema(topic.schema)}
        record = codec.decode(outcome.value, kind, writers, most)
        assert len(record.items) == MAX_GOODS_ITEMS
        assert len(record.degraded) == 3 * MAX_GOODS_ITEMS


@pytest.fixture
def place():
    return Place()


async def test_of_a_large_declaration_the_riskiest_goods_items_are_explained(place):
    """Of the others the explanation repeats what the alert says, and tells that it is brief."""
    count, risky_ones = 60, {3, 17, 40, 41, 60}
    declaration = of_items(count, risk=lambda n: 0.9 if n in risky_ones else n / 1000)
    alert = await place.alert(declaration)
    explanation = await place.explained(alert)
    ((evidence, pixels),) = place.explainer.given
    expected = sorted(risky_ones | set(range(49, 60)))
    assert [each.item.sequence_number for each in evidence.items] == expected
    assert len(evidence.items) == len(evidence.live.items) == len(pixels) == EXPLAINED
    assert evidence.declaration == declaration
    assert [item.sequence_number for item in explanation.items] == [*range(1, count + 1)]
    for item in explanation.items:
        if item.sequence_number in expected:
            assert item.words
            assert Reason.EXPLAINED_BRIEFLY not in codes(item)
        else:
            assert codes(item)[-1] == Reason.EXPLAINED_BRIEFLY
            assert not item.words
    again = await place.stage([alert])
    assert again == await place.stage([alert])
