"""Figures by scipy and scikit-learn: on untied data those that closed formulas give."""

import numpy as np
import pytest
from scipy.stats import rankdata

from models.evaluation.calibration import calibration_error, error_by_chance
from models.evaluation.explanation_trial import rank_correlation
from models.evaluation.hs_classifier import PAIRS, SEED, EmbeddedGoods, agreement_auc, paired
from models.evaluation.ranking import Ranked, RankingResult
from models.hs.classifier import Posterior

DICE = np.random.default_rng(0)


def test_the_rank_correlation_without_ties_is_that_of_the_ranks():
    """By Spearman's formula, 1 - 6 Σd² / n (n² - 1)."""
    for count in (3, 7, 49):
        first, second = DICE.normal(size=(2, count))
        squares = ((rankdata(first) - rankdata(second)) ** 2).sum()
        expected = 1 - 6 * squares / (count * (count**2 - 1))
        assert rank_correlation(first, second) == pytest.approx(expected)


def test_ties_share_the_mean_of_their_ranks():
    first, second = np.array([0.0, 0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])
    expected = np.corrcoef([1.5, 1.5, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])[0, 1]
    assert rank_correlation(first, second) == pytest.approx(expected)


def test_a_flat_explanation_resembles_none():
    assert rank_correlation(np.zeros(5), np.arange(5.0)) == 0.0
    assert rank_correlation(np.arange(5.0), np.zeros(5)) == 0.0


def test_macro_f1_is_the_mean_over_the_codes_that_occur():
    """Counted by hand; codes that are only named by mistake have no F1 of their own."""
    right, best = DICE.integers(0, 6, 80), DICE.integers(0, 9, 80)
    scores = []
    for code in np.unique(right):
        hits = ((best == code) & (right == code)).sum()
        scores.append(2 * hits / ((best == code).sum() + (right == code).sum()))
    nothing = np.zeros(80, np.int64)
    certain = np.ones(80, np.float32)
    result = RankingResult(right, nothing, best, certain, nothing, right == best, nothing)
    assert result.macro_f1() == pytest.approx(np.mean(scores))


def test_figures_of_a_case_counted_by_hand():
    """Four goods: three right, one of them by luck; one set misses, and one says nothing."""
    result = RankingResult(
        right=np.array([0, 0, 1, 2]),
        ranks=np.array([0, 0, 0, 3]),
        best=np.array([0, 0, 1, 1]),
        confidence=np.array([0.9, 0.9, 0.9, 0.1], np.float32),
        common=np.array([6, 6, 6, 2]),
        covered=np.array([True, True, True, False]),
        sizes=np.array([1, 1, 0, 4]),
    )
    expected = {"n": 4, "top1": 0.75, "top3": 0.75, "top5": 1.0}
    expected |= {"heading_top1": 0.75, "chapter_top1": 1.0, "told": 0.75, "coverage": 0.75}
    expected |= {"macro_f1": (1 + 2 / 3 + 0) / 3, "ece": 0.75 * 0.1 + 0.25 * 0.1, "set_size": 2.0}
    figures = result.figures()
    assert figures.pop("ece_by_chance") == error_by_chance(result.confidence) > 0
    assert figures == pytest.approx(expected, abs=1e-6)


def test_few_goods_show_an_error_however_well_calibrated():
    """As outcomes drawn by the stated probabilities do, less so of more goods; certain ones none."""
    stated = DICE.random(20_000)
    shown = [error_by_chance(stated[:count]) for count in (100, 1000, 20_000)]
    assert shown[0] > 2 * shown[1] > 4 * shown[2] > 0
    happened = DICE.random(1000) < stated[:1000]
    assert calibration_error(stated[:1000], happened) == pytest.approx(shown[1], rel=0.6)
    assert error_by_chance(np.ones(50)) == 0.0


class Nomenclature:
    """A model of three codes whose published set is given."""

    codes = ("610910", "610990", "620520")

    def __init__(self, *members):
        self.members = members

    def hs_set(self, modality, posterior):
        return self.members


def ranked(code, *members, shares=(0.2, 0.5, 0.3)):
    posterior = Posterior(np.array(shares, np.float32), 1.0)
    return Ranked.of(Nomenclature(*members), "text", posterior, code)


def test_a_posterior_against_the_right_code():
    """Place, rank, best code, its probability, and how many digits the two have in common."""
    assert ranked("610910", "610990") == (0, 2, 1, 0.5, 4, False, 1)
    assert ranked("610990", "610990") == (1, 0, 1, 0.5, 6, True, 1)
    assert ranked("620520", "610990", "620520") == (2, 1, 1, 0.5, 0, True, 2)


@pytest.mark.parametrize(
    ("members", "covers"),
    [(("6109",), True), (("62", "61"), True), ((), True), (("6205",), False)],
)
def test_a_published_set_covers_by_code_heading_or_chapter(members, covers):
    """One that says nothing rules nothing out."""
    assert ranked("610910", *members).covered is covers


def test_codes_without_evidence_are_no_hits():
    """Equal ones rank in the order in which candidates are published."""
    assert [ranked(code, shares=(0.5, 0.25, 0.25)).rank for code in Nomenclature.codes] == [0, 1, 2]


class Consistency:
    """A model to which text and photo are as consistent as their product is great."""

    def posterior(self, text, photo):
        return text if photo is None else photo

    def consistency(self, text, photo):
        return float(text * photo)


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    """Of a matched and a random pair each, the matched one agrees more."""
    texts, photos = DICE.normal(size=(2, 40))
    headings = DICE.integers(10, 99, 40)
    goods = [
        EmbeddedGoods(f"{heading}0110", text, photo)
        for heading, text, photo in zip(headings, texts, photos, strict=True)
    ]
    dice = np.random.default_rng(SEED)
    of_heading = np.array([item.code[:4] for item in goods])
    random = []
    for number in range(len(goods)):
        others = dice.choice(np.flatnonzero(of_heading != of_heading[number]), PAIRS)
        random += [texts[number] * photos[other] for other in others]
    matched = texts * photos
    expected = np.mean(matched[:, np.newaxis] > np.array(random))
    photo_only = EmbeddedGoods("610910", None, np.float64(0))
    assert agreement_auc(Consistency(), [*goods, photo_only]) == pytest.approx(expected)
    assert agreement_auc(Consistency(), [goods[0], photo_only]) is None


def test_modalities_are_compared_on_the_same_goods():
    """Photo-only goods count for the photo, and not where the three are compared."""
    goods = [EmbeddedGoods("610910", text, 1.0) for text in (None, 1.0, None, 1.0)]

    def result(*ranks):
        nothing = np.zeros(len(ranks))
        return RankingResult(nothing, np.array(ranks), *[nothing] * 5)

    results = {"text": result(0, 3), "image": result(5, 0, 0, 0), "both": result(1, 1)}
    assert paired(goods, results) == {"n": 2, "text": 0.5, "image": 1.0, "both": 0.0}
    results = {"text": None, "image": result(0, 0), "both": None}
    nothing = {"n": 0, "text": None, "image": None, "both": None}
    assert paired(goods[::2], results) == nothing
