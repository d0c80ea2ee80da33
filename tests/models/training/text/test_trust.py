"""Whom to trust is learned on texts that the experts did not learn from."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from models.datasets.texts import BadTexts, GoodsText
from models.hs.text_experts import Answers
from models.training.text import trust
from models.training.text.trust import FEWEST, LEFT_OUT, MOST, Examples, fitted
from models.vectors import log_softmax

CODES = tuple(f"{n:06}" for n in range(12))


def answers(right, *skills, seed=0):
    """Make answers of experts, each knowing the right codes as well as its skill says."""
    dice = np.random.default_rng(seed)
    logits = dice.normal(size=(3, len(right), len(CODES))).astype(np.float32)
    for expert, skill in zip(logits, skills, strict=True):
        expert[np.arange(len(right)), right] += skill
    meaning, ngrams, past_texts = logits
    return Answers(log_softmax(meaning), log_softmax(ngrams), np.tanh(past_texts))


def quiet(*_):
    """Say nothing."""


@pytest.mark.parametrize("best", range(3))
def test_the_expert_that_knows_most_is_trusted_most(best):
    """What is fitted is what serving computes: the right codes are more probable than before."""
    right = np.arange(600) % len(CODES)
    given = answers(right, *(3.0 if expert == best else 0.0 for expert in range(3)))
    found = fitted(Examples(given, right, np.ones(len(right))))
    weights = np.abs([found.meaning, found.ngrams, found.past_texts / 3])
    assert weights.argmax() == best

    def loss(of):
        return -of.joined(given)[np.arange(len(right)), right].mean()

    assert loss(found) < loss(trust.UNSURE)


def test_a_source_of_many_texts_weighs_no_more_than_one_of_few():
    """The many trust meaning, the few n-grams; equal weights of texts would follow the many."""
    many, few = np.arange(900) % len(CODES), np.arange(100) % len(CODES)
    parts = [
        Examples(answers(many, 2.0, 0.0, 0.0), many, np.full(900, 1 / 900)),
        Examples(answers(few, 0.0, 2.0, 0.0, seed=1), few, np.full(100, 1 / 100)),
    ]
    even = fitted(Examples.of(parts))
    assert even.meaning == pytest.approx(even.ngrams, rel=0.3)
    alike = Examples.of(parts)
    by_text = fitted(Examples(alike.answers, alike.right, np.ones(1000)))
    assert by_text.meaning > 2 * by_text.ngrams


def texts(source, count):
    return [
        GoodsText(f"{source}-{n}", source, "en", f"{source} {n}", CODES[n % len(CODES)])
        for n in range(count)
    ]


def test_sources_are_left_out_in_turn(tmp_path, monkeypatch):
    """Each training lacks the sources that it is asked for; others' held-back texts stand beside."""
    learned, asked = [], []

    def learn_without(rows, codes, folder, **_):
        learned.append({row.source for row in rows})
        return SimpleNamespace(folder=folder)

    def ask(folder, embedder, codes, rows):
        asked.append((folder.name, {row.source for row in rows}, len(rows)))
        right = np.array([codes.index(row.hs6) for row in rows])
        return Examples(answers(right, 2.0, 2.0, 2.0), right, np.full(len(rows), 1 / len(rows)))

    monkeypatch.setattr(trust, "_experts_of", learn_without)
    monkeypatch.setattr(trust, "_asked", ask)
    monkeypatch.setattr(trust.experts, "every_code", lambda: CODES)
    rows = [*texts("uk_fpo", 1000), *texts("uk_index", 100), *texts("mine", 90), *texts("ikea", 9)]
    held = [*texts("mine", FEWEST), *texts("oscar", FEWEST - 1), *texts("cn2023", 500)]
    trust.learn(rows, held, None, tmp_path, tmp_path / "work", seed=1, say=quiet)
    every = {"uk_fpo", "uk_index", "mine", "ikea"}
    assert learned == [every - fold for fold in LEFT_OUT if every & fold]
    assert asked == [
        (tmp_path.name, {"mine"}, FEWEST),
        ("without-1", {"uk_fpo"}, MOST),
        ("without-2", {"uk_index"}, 100),
    ]
    written = json.loads((tmp_path / trust.FILE).read_text())
    assert written.keys() == {"meaning", "ngrams", "past_texts", "certainty", "least"}
    assert len(written["least"]) == 3


def test_too_few_texts_are_told(tmp_path, monkeypatch):
    with pytest.raises(BadTexts, match=f"No source has {FEWEST} texts"):
        trust.learn(texts("mine", 9), [], None, tmp_path, tmp_path, seed=1, say=quiet)
