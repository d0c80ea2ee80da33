"""Sets of codes: what they hold, at which level, and how often they are right."""

import numpy as np
import pytest

from models.hs import conformal
from models.hs.conformal import LONGEST, NEVER, fitted, prediction_set

CODES = tuple(
    f"{chapter}{heading}{subheading}"
    for chapter in (10, 20, 30, 40)
    for heading in ("01", "02", "03")
    for subheading in range(10, 22)
)
"""Four chapters of three headings, each of twelve subheadings."""


def shares(**of_codes):
    """Return the codes' probabilities: those given as c610910=0.5, and 0 for the rest."""
    row = np.zeros(len(CODES), np.float32)
    for code, share in of_codes.items():
        row[CODES.index(code.removeprefix("c"))] = share
    return row


def goods(dice, count, sureness):
    """Draw goods whose code is as probable as the model says, the surer the greater `sureness`."""
    logits = dice.normal(size=(count, len(CODES))) * np.asarray(sureness)[..., np.newaxis]
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = [CODES[dice.choice(len(CODES), p=row)] for row in rows]
    return rows.astype(np.float32), right


# Sets


def test_members_are_the_codes_above_the_least_probability_most_probable_first():
    row = shares(c100110=0.3, c200110=0.6, c300110=0.1)
    assert prediction_set(CODES, row, (0.25, NEVER, NEVER)) == ("200110", "100110")


def test_a_set_holds_the_best_code_where_none_reaches_the_least_probability():
    row = shares(c100110=0.45, c200110=0.55)
    assert prediction_set(CODES, row, (0.9, NEVER, NEVER)) == ("200110",)


def test_a_set_too_long_is_told_by_the_summed_probability_of_headings():
    """Twelve codes of one heading are too many; the heading is one."""
    row = np.full(len(CODES), 0.2 / len(CODES), np.float32)
    row[:12] += 0.8 / 12
    assert prediction_set(CODES, row, (0.01, 0.5, NEVER)) == ("1001",)


def test_headings_too_many_are_told_as_chapters():
    row = np.full(len(CODES), 1 / len(CODES), np.float32)
    assert prediction_set(CODES, row, (1e-3, 1e-3, 0.2)) == ("10", "20", "30", "40")


def test_a_level_at_which_nothing_can_be_promised_is_passed_over():
    row = shares(c100110=1.0)
    assert prediction_set(CODES, row, (NEVER, 0.5, 0.5)) == ("1001",)
    assert prediction_set(CODES, row, (NEVER, NEVER, 0.5)) == ("10",)


def test_what_cannot_be_told_has_an_empty_set():
    """Where no level promises anything, and where every level has too many members."""
    assert prediction_set(CODES, shares(c100110=1.0), (NEVER, NEVER, NEVER)) == ()
    codes = tuple(f"{chapter}0110" for chapter in range(10, 30))
    row = np.full(len(codes), 1 / len(codes), np.float32)
    assert len(codes) > LONGEST
    assert prediction_set(codes, row, (0.01, 0.01, 0.01)) == ()


# Least probabilities


@pytest.mark.parametrize("sureness", [2.0, 3.5, 6.0])
def test_sets_cover_as_promised_on_goods_like_those_held_out(sureness):
    """Over draws, the right code is in 95 of 100 sets that say something."""
    dice, held = np.random.default_rng(1), []
    for _ in range(12):
        rows, right = goods(dice, 1600, np.full(1600, sureness))
        least = fitted(CODES, rows[:800], right[:800])
        sets = [prediction_set(CODES, row, least) for row in rows[800:]]
        held += [code.startswith(s) for s, code in zip(sets, right[800:], strict=True) if s]
    assert len(held) > 1000
    assert np.mean(held) > 0.945


def test_the_promise_holds_at_each_level():
    """Goods with a coarse set are covered as often as those with a fine one."""
    dice = np.random.default_rng(2)
    rows, right = goods(dice, 6000, np.tile([1.0, 2.5, 7.0], 2000))
    least = fitted(CODES, rows[:3000], right[:3000])
    held = {2: [], 4: [], 6: []}
    for row, code in zip(rows[3000:], right[3000:], strict=True):
        if members := prediction_set(CODES, row, least):
            held[len(members[0])].append(code.startswith(members))
    assert all(len(level) > 100 for level in (held[6], held[2]))
    for level in held.values():
        assert len(level) < 100 or np.mean(level) > 0.93


def test_the_least_probability_is_the_highest_that_keeps_the_promise():
    """A model that is always right and sure needs no second member."""
    rows = np.stack([shares(**{f"c{code}": 0.95, "c400321": 0.05}) for code in CODES[:60]])
    least = fitted(CODES, np.tile(rows, (4, 1)), list(CODES[:60]) * 4)
    assert least[0] == round(float(conformal.GRID[0]), 8)
    assert prediction_set(CODES, rows[7], least) == (CODES[7],)


def test_a_model_that_knows_nothing_promises_nothing():
    """Probable codes that are mostly wrong, at every level."""
    dice = np.random.default_rng(3)
    chapters = tuple(f"{chapter}0110" for chapter in range(10, 70))
    rows, wrong = np.full((400, 60), 0.001, np.float32), dice.integers(60, size=400)
    rows[np.arange(400), wrong] = 0.941
    right = [chapters[place] for place in dice.integers(60, size=400)]
    least = fitted(chapters, rows, right)
    assert least == (NEVER, NEVER, NEVER)
    assert prediction_set(chapters, rows[0], least) == ()


def test_too_few_goods_promise_nothing():
    """Twenty right answers leave room for one miss in twenty-one: more than 5 of 100 at nineteen."""
    row = shares(c100110=0.99, c200110=0.01)
    few = fitted(CODES, np.tile(row, (18, 1)), ["100110"] * 18)
    enough = fitted(CODES, np.tile(row, (19, 1)), ["100110"] * 19)
    assert few[0] == NEVER
    assert enough[0] < NEVER


def test_weights_of_any_sum_count_as_goods_do():
    """Goods of weight 3 are three goods; equal weights are none; scaling changes nothing."""
    dice = np.random.default_rng(4)
    rows, right = goods(dice, 500, np.full(500, 4.0))
    assert fitted(CODES, rows, right, np.full(500, 0.01)) == fitted(CODES, rows, right)
    weights = np.where(np.arange(500) < 100, 3.0, 1.0)
    assert fitted(CODES, rows, right, weights) == fitted(CODES, rows, right, 7 * weights)


def test_goods_of_more_weight_decide():
    """Half of the goods are named wrongly: they do not count where their weight is nothing."""
    row = shares(c100110=0.9, c200110=0.1)
    rows, right = np.tile(row, (200, 1)), ["100110"] * 100 + ["400321"] * 100
    first = np.where(np.arange(200) < 100, 1.0, 1e-9)
    assert fitted(CODES, rows, right)[0] == NEVER
    assert fitted(CODES, rows, right, first)[0] < NEVER
