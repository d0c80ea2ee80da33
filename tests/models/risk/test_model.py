"""The odds of each kind of irregularity add up; what is missing falls back to the base rate."""

import math
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from models.hs.classifier import Posterior
from models.hs.modalities import ModalityPosteriors
from models.risk.kinds import KINDS, LEARNED, UNDERVALUATION, prior_odds
from models.risk.likelihoods import UNKNOWN_CODE, LikelihoodRatio
from models.risk.model import FIRES, WRONG, Groups, KindRegression, RiskModel, features
from models.training.goods_risk import REGULAR, TrainingExample, fit_risk
from schemas.reasons import Reason

USUAL = {
    "text_heading": -1.0,
    "photo_heading": -1.0,
    "both_heading": -1.0,
    "text_subheading": -0.5,
    "photo_subheading": -0.5,
    "both_subheading": -0.5,
    "text_missing": 0.0,
    "photo_missing": 0.0,
    "agreement": 0.0,
    "overlap": -0.5,
    "unfamiliar": 0.5,
    "text_certainty": -1.0,
}


def same_weights():
    """Make a model whose weights are all the same."""
    regressions = {
        kind.name: KindRegression(
            math.log(prior_odds(kind)) - 1, dict.fromkeys(kind.features, -1.0)
        )
        for kind in LEARNED
    }
    return RiskModel(regressions, USUAL, peers={})


@pytest.fixture
def model():
    return same_weights()


def test_without_evidence_the_risk_is_the_share_of_irregular_goods(model):
    """Neither text nor photo nor price."""
    found = {"text_missing": 1.0, "photo_missing": 1.0}
    assert model.risk(found) == pytest.approx(sum(kind.share for kind in KINDS))


def test_each_kind_of_evidence_raises_the_risk_by_itself(model):
    """A wrong code is no less suspicious for a photo that fits the text."""
    usual = model.risk(USUAL)
    for name, value in (
        ("both_heading", WRONG),
        ("both_subheading", WRONG),
        ("agreement", -9.0),
        ("text_certainty", -9.0),
    ):
        odd = USUAL | {name: value}
        assert model.risk(odd) > usual + 0.2
        better = {other: 0.0 for other in ("overlap", "agreement") if other != name}
        assert model.risk(odd | better) > usual + 0.2


def test_a_reason_weighs_what_the_log_odds_would_fall_by(model):
    """The only odd evidence weighs all that the risk exceeds the usual one by."""
    odds, weights = model._odds(USUAL | {"agreement": -5.0}, {})
    usual, level = model._odds(USUAL, {})
    assert weights[Reason.TEXT_PHOTO_DISAGREE] == pytest.approx(math.log(odds / usual))
    assert weights[Reason.CODE_UNLIKELY] == pytest.approx(0)
    assert all(weight == pytest.approx(0) for weight in level.values())


def test_a_low_price_adds_its_own_odds(model):
    """Whatever the code and the photo say."""
    odds, weights = model._odds(USUAL, {"undervaluation": 5.0})
    added = prior_odds(UNDERVALUATION) * (math.exp(5) - 1)
    assert odds - model._odds(USUAL, {})[0] == pytest.approx(added)
    assert weights[Reason.UNIT_PRICE_LOW] > 1


def test_a_photo_known_under_this_heading_speaks_for_the_code(model):
    """By half of what it says against reuse; under another heading it speaks against the code."""
    odd = USUAL | {"both_heading": -6.0}  # wrong, but not so plainly that nothing else counts
    level = model.risk(odd)
    assert model.risk(odd, {"photo_reuse": -4.0}) < level - 0.1
    assert model.risk(USUAL, {"photo_reuse": 4.0}) > model.risk(USUAL) + 0.2
    _, weights = model._odds(USUAL, {"photo_reuse": 4.0})
    assert max(weights, key=weights.get) == Reason.PHOTO_REUSED


CODES = ("640411", "640419", "940161", "994500")
GROUPS = Groups.of(CODES)
CERTAIN = Posterior(np.array([0.9, 0.05, 0.04, 0.01], np.float32), 0.5)
"""Goods that look like 6404.11."""


@pytest.mark.parametrize("declared", ["", "000000", "9945000000", "990500"])
def test_there_is_no_evidence_against_a_code_that_is_none(declared):
    """Not declared, not in the nomenclature, or for national use; the other kinds are judged."""
    posteriors = ModalityPosteriors(CERTAIN, CERTAIN, CERTAIN, 0.0)
    found = features(GROUPS, declared, posteriors)
    assert found.keys() == {
        "text_missing", "photo_missing", "text_certainty", "overlap", "agreement", "unfamiliar"
    }  # fmt: skip
    (wrong_code,) = (kind for kind in LEARNED if kind.name == "wrong_code")
    assert not wrong_code.has_evidence(found)


@pytest.mark.parametrize("declared", ["640411", "64041190", "640499", "6404110010C123"])
def test_the_heading_of_a_code_is_judged_however_long_it_is(declared):
    """Also where the nomenclature lacks its subheading."""
    found = features(GROUPS, declared, ModalityPosteriors(CERTAIN, None, None, None))
    assert found["text_heading"] == 0.0


def test_a_subheading_is_judged_within_its_heading():
    """Against the best of its heading, whatever other headings say; where there is one to choose."""
    certain = ModalityPosteriors(CERTAIN, None, None, None)
    assert features(GROUPS, "640411", certain)["text_subheading"] == 0.0
    wrong = features(GROUPS, "6404199000", certain)["text_subheading"]
    assert wrong == pytest.approx(math.log(0.05 / 0.9), rel=1e-5)
    for alone_or_unknown in ("940161", "640499", ""):
        assert "text_subheading" not in features(GROUPS, alone_or_unknown, certain)


def test_a_subheading_that_nothing_tells_apart_is_not_held_against_the_goods():
    """Its heading's codes are equally probable, so its log-ratio is 0."""
    vague = ModalityPosteriors(
        Posterior(np.array([0.4, 0.4, 0.1, 0.1], np.float32), 0.5), None, None, None
    )
    assert features(GROUPS, "640419", vague) == features(GROUPS, "640411", vague)


def test_an_unknown_code_is_always_named(model):
    """Whatever it weighs: one of another edition weighs nothing."""
    usual, _ = model._odds(USUAL, {})
    odds, weights = model._odds(USUAL, {"unknown_code": UNKNOWN_CODE})
    assert odds > usual + 0.9
    assert max(weights, key=weights.get) == Reason.CODE_UNKNOWN
    for ratio in (0.0, UNKNOWN_CODE):
        judged = model.judge(
            SimpleNamespace(hs_set=lambda *_: ()),
            GROUPS,
            "000000",
            ModalityPosteriors(CERTAIN, None, None, None),
            {"unknown_code": LikelihoodRatio(ratio, "words")},
        )
        (signal,) = (one for one in judged.signals if one.code == Reason.CODE_UNKNOWN)
        assert (signal.weight >= FIRES, signal.detail) == (ratio > 0, "words")
        assert "code" in judged.modalities


def test_another_process_says_the_same_to_the_last_bit():
    """Sums are taken in one order, whatever seed a process hashes by."""
    code = (
        "from tests.models.risk.test_model import USUAL, same_weights;"
        "print(same_weights()._odds({n: v - 0.1 * len(n) for n, v in USUAL.items()}, dict(history=0.3)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in range(4)
    }
    assert len(said) == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_alone_has_the_odds_that_are_assumed(kind):
    """Against regular goods, which are what is left of all."""
    regular = 1 - sum(other.share for other in KINDS)
    assert prior_odds(kind) == pytest.approx(kind.share / regular)


def test_the_fit_finds_the_evidence_of_each_kind_and_no_other_sign():
    """One feature shows each kind; more consistency never raises the risk."""
    features = {
        "wrong_code": "both_heading",
        "wrong_subheading": "both_subheading",
        "wrong_photo": "agreement",
        "vague_text": "text_heading",
    }
    examples = []
    for goods in range(200):
        noise = {name: value + 0.1 * math.sin(goods * len(name)) for name, value in USUAL.items()}
        noise |= {"text_missing": 0.0, "photo_missing": 0.0}
        examples.append(TrainingExample(noise, REGULAR, goods, 1.0))
        examples += [
            TrainingExample(noise | {feature: WRONG}, kind, goods, 1.0)
            for kind, feature in features.items()
        ]
    fitted = fit_risk(examples)
    for kind, feature in features.items():
        weights = fitted["risk"]["kinds"][kind]["weights"]
        assert min(weights, key=weights.get) == feature
        assert all(
            w <= 0 for name, w in weights.items() if name[-7:] != "missing" and name != "unfamiliar"
        )
    regressions = {name: KindRegression(**kind) for name, kind in fitted["risk"]["kinds"].items()}
    model = RiskModel(regressions, fitted["risk"]["usual"], peers={})
    for feature in features.values():
        assert model.risk(USUAL | {feature: WRONG}) > fitted["policy"]["yellow"]
