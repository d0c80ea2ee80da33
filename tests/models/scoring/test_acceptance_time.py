"""What a declared acceptance time does to a verdict: it is told, and chooses nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from models.risk.tariff import Tariff
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from models.scoring.scorer import Scorer
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.records import EPOCH, TariffMeasure

LOW = dict(examples("declaration"))["declaration/low-value"]
NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def scorer(bundle):
    return Scorer.load(bundle, threads=1)


def accepted(scorer, at, **fields):
    """The example, accepted then, that arrived at NOW."""
    (text,) = scorer.embed_texts([LOW.goods_items[0].description])
    items = (ItemEvidence(LOW.goods_items[0], text, ()),)
    return DeclarationEvidence(replace(LOW, acceptance_time=at), items, arrived=NOW, **fields)


@pytest.mark.parametrize("at", [EPOCH, NOW - timedelta(days=400), NOW.replace(year=2099)])
def test_an_implausible_time_is_named_and_lowers_no_risk(scorer, at):
    """It says when the declaration was said to be accepted, and when it came."""
    usual, dated = scorer.score([accepted(scorer, NOW), accepted(scorer, at)])
    (signal,) = (
        signal
        for signal in dated.items[0].signals
        if signal.code == Reason.ACCEPTANCE_TIME_IMPLAUSIBLE
    )
    assert signal.detail.endswith("arrived 2026-11-02T09:30Z")
    assert (signal.weight > 0) == (at != EPOCH)
    assert usual.risk <= dated.risk <= usual.risk + 0.02
    assert "acceptance_time" in dated.items[0].modalities


def test_a_plausible_time_changes_no_byte(scorer):
    """As where the arrival is unknown."""
    known = accepted(scorer, NOW - timedelta(days=2))
    assert scorer.score([known]) == scorer.score([replace(known, arrived=None)])


@pytest.mark.parametrize(("days", "duty"), [(1, 12.0), (20, 0.0), (400, 12.0), (-400, 12.0)])
def test_duties_are_those_of_the_declared_time_where_it_is_plausible(scorer, days, duty):
    """A date of long ago chooses no duty of then."""
    code, change = LOW.goods_items[0].commodity_code[:6], NOW - timedelta(days=10)
    old = TariffMeasure(measure_id="old", commodity_code=code, valid_until=change)
    new = TariffMeasure(measure_id="new", commodity_code=code, duty_rate=12.0, valid_from=change)
    dated = accepted(scorer, NOW - timedelta(days=days), tariff=Tariff([old, new]))
    assert scorer.attributes(dated, 0).duty_rate == duty
