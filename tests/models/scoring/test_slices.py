"""Whatever the slices, the same verdicts; and equal goods items are looked at once."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from models.datasets.goods import read
from models.encoding.image import decode
from models.risk.signals import ItemSignals, LiveSignals, Rate
from models.scoring import scorer as scorer_module
from models.scoring import slices as slices_module
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from models.scoring.scorer import Scorer
from models.scoring.slices import ITEMS, WEIGHT, Slices
from tests.fakes import FakeScorer
from tests.streams.stages.test_screen import LOW


def item(number, text=b"t", *photos, **fields):
    return ItemEvidence(
        replace(LOW.goods_items[0], sequence_number=number, **fields),
        np.frombuffer(text.ljust(4), np.float32) if text else None,
        tuple(np.frombuffer(photo.ljust(4), np.float32) for photo in photos),
    )


def declared(*items, live=None):
    declaration = replace(LOW, goods_items=tuple(each.item for each in items))
    return DeclarationEvidence(declaration, items, live)


def in_slices(scorer, evidence):
    slices = Slices(evidence)
    for some in slices:
        slices.add(some, scorer.score(some.evidence))
    return slices.verdicts()


def test_every_goods_item_is_in_one_slice_and_none_is_too_large():
    """Of one declaration, or of many; a goods item of more photos than a slice has, alone."""
    many = declared(*(item(n, str(n).encode(), b"p") for n in range(1, 51)))
    odd = declared(item(1, b"x", *(str(n).encode() for n in range(20))), item(2, None))
    evidence = [many, odd, many]
    seen = []
    for some in Slices(evidence):
        weights = []
        for part, (number, places) in zip(some.evidence, some.places, strict=True):
            assert part.items == tuple(evidence[number].items[place] for place in places)
            assert part.declaration is evidence[number].declaration
            seen += [(number, place) for place in places]
            weights += [(each.content, 1 + len(each.photos)) for each in part.items]
        assert sum(dict(weights).values()) <= WEIGHT or len(weights) == 1
    assert sorted(seen) == [
        (n, p) for n, each in enumerate(evidence) for p in range(len(each.items))
    ]


def test_equal_goods_items_are_in_the_same_slice():
    """As many as a slice takes."""
    equal = declared(*(item(n) for n in range(1, 1000)))
    sizes = [len(part.items) for some in Slices([equal]) for part in some.evidence]
    assert sizes == [ITEMS] * (999 // ITEMS) + [999 % ITEMS]


def test_verdicts_are_joined_in_the_order_declared():
    """Risk and goods items of each, whatever slice they were in."""
    risks = [0.1, 0.9, 0.1, 0.3]
    items = [
        item(n, str(risk).encode()[:4], description=f"RISK {risk}")
        for n, risk in enumerate(risks, 1)
    ]
    first, second = in_slices(FakeScorer(), [declared(*items), declared(*items[2:])])
    assert [each.risk for each in first.items] == risks
    assert [each.sequence_number for each in first.items] == [1, 2, 3, 4]
    assert (first.risk, second.risk) == (0.9, 0.3)


@pytest.fixture(scope="module")
def scorer(bundle):
    return Scorer.load(bundle, threads=1)


@pytest.fixture(scope="module")
def goods(scorer, goods_folder):
    """Two declarations of 20 goods items: some are equal, some have two photos or no text."""
    some = read(goods_folder)[:6]
    photos = scorer.embed_photos([decode(one.image.read_bytes()) for one in some])
    texts = scorer.embed_texts([one.description for one in some])
    items = tuple(
        ItemEvidence(
            replace(
                LOW.goods_items[0],
                sequence_number=n,
                commodity_code=some[n % 5].hs6,
                item_amount=Decimal(7 * n) / 3,
                net_mass=Decimal(n),
            ),
            None if n % 7 == 0 else texts[n % 6],
            (photos[n % 6], photos[n % 4])[: n % 3],
        )
        for n in range(1, 21)
    )
    rates = {"all": Rate(100, 9), "code": Rate(9, 4)}
    live = LiveSignals(tuple(ItemSignals(rates=rates) for _ in items), small_count=2)
    return [declared(*items, live=live), declared(*items[::-1])]


def test_the_same_verdict_whatever_the_slices(scorer, goods, monkeypatch):
    """To the last bit."""
    expected = [scorer.score([declaration])[0] for declaration in goods]
    for weight, items in ((1, 1), (3, 2), (WEIGHT, ITEMS), (999, 999)):
        monkeypatch.setattr(slices_module, "WEIGHT", weight)
        monkeypatch.setattr(slices_module, "ITEMS", items)
        assert in_slices(scorer.with_hs(scorer.hs), goods) == expected  # keeps no answers


def test_the_model_is_asked_once_about_equal_evidence(scorer, goods, monkeypatch):
    """Of one declaration, of a micro-batch, and of one that comes later."""
    asked = []
    real = scorer_module.modality_posteriors

    def counting(hs, embedded):
        asked.extend(embedded)
        return real(hs, embedded)

    monkeypatch.setattr(scorer_module, "modality_posteriors", counting)
    distinct = {each.content for declaration in goods for each in declaration.items}
    unasked = scorer.with_hs(scorer.hs)
    in_slices(unasked, goods)
    in_slices(unasked, goods)
    assert len(asked) == len(distinct) < 20
