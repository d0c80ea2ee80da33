"""Figures by scipy and scikit-learn: on untied data those that closed formulas give."""

import numpy as np
import pytest
from scipy.stats import rankdata

from models.evaluation.explanation_trial import rank_correlation
from models.evaluation.hs_classifier import PAIRS, SEED, agreement_auc
from models.evaluation.ranking import RankingResult
from models.training.embeddings import Embedded

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
    result = RankingResult(right, nothing, best, np.ones(80, np.float32), right == best, nothing)
    assert result.macro_f1() == pytest.approx(np.mean(scores))


class Consistency:
    """A model to which text and photo are as consistent as their product is great."""

    def posterior(self, text, photo):
        return text if photo is None else photo

    def consistency(self, text, photo):
        return float(text * photo)


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    """Of a matched and a random pair each, the matched one agrees more."""
    texts, photos = DICE.normal(size=(2, 40))
    codes = np.array([f"{heading}0110" for heading in DICE.integers(10, 99, 40)])
    goods = Embedded(codes, texts, photos)
    dice = np.random.default_rng(SEED)
    headings = np.array([code[:4] for code in codes])
    random = []
    for number in range(len(codes)):
        others = dice.choice(np.flatnonzero(headings != headings[number]), PAIRS)
        random += [texts[number] * photos[other] for other in others]
    matched = texts * photos
    expected = np.mean(matched[:, np.newaxis] > np.array(random))
    assert agreement_auc(Consistency(), goods) == pytest.approx(expected)
