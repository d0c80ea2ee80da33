"""The experts of text, each with a say that can be counted by hand, and all together."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.encoding.text import NGRAMS
from models.hs.exemplars import Projection
from models.hs.text_experts import (
    DUPLICATE,
    HEADS,
    MEANING_FACTOR,
    TEXTS,
    Answers,
    Head,
    TextExperts,
    Trust,
    past_texts,
)
from models.vectors import log_softmax, unit

CODES, MEANING = 5, 16
ALIKE = Trust(1.0, 1.0, 1.0, (0.0,) * 7)
"""Each expert counts as it is, and no text is surer than another."""


def vectors(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def head(dimensions, seed):
    return Head(vectors(CODES, dimensions, seed=seed), vectors(CODES, seed=seed + 1))


@pytest.fixture
def known():
    """Past texts of the codes 0, 1 and 3."""
    return np.array([3, 1, 1, 0, 3]), vectors(5, MEANING, seed=9)


@pytest.fixture
def experts(known):
    codes, meanings = known
    arrays = past_texts(codes, meanings, Projection.fitted(meanings, 4))
    return TextExperts(
        head(MEANING, 1),
        head(NGRAMS, 3),
        arrays["codes"].astype(np.int64),
        arrays["texts"].astype(np.float32) / 127,
        Projection(arrays["centre"], arrays["axes"].astype(np.float32)),
        ALIKE,
    )


def trusting(experts, **changes):
    return replace(experts, trust=replace(ALIKE, **changes))


def test_a_head_gives_log_probabilities():
    one = head(MEANING, 1)
    by = one.log_probabilities(vectors(3, MEANING))
    assert by.shape == (3, CODES)
    np.testing.assert_allclose(np.exp(by).sum(axis=-1), 1, rtol=1e-5)


def test_what_they_say_is_the_weighted_sum(experts):
    """Of log-probabilities and cosines; n-grams and meaning each by their own part of the text."""
    text = vectors(NGRAMS + MEANING)
    trust = {"meaning": 0.4, "ngrams": 0.7, "past_texts": 9.0}
    joined = (
        0.4 * experts.meaning.log_probabilities(MEANING_FACTOR * text[NGRAMS:])
        + 0.7 * experts.ngrams.log_probabilities(text[:NGRAMS])
        + 9.0 * experts.cosines(text)
    )
    found = trusting(experts, **trust).log_probabilities(text)
    np.testing.assert_allclose(found, log_softmax(joined), atol=1e-4)
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("expert", "part"), [("meaning", slice(NGRAMS, None)), ("ngrams", slice(NGRAMS))]
)
def test_an_expert_that_is_not_trusted_says_nothing(experts, expert, part):
    """Another text's n-grams, or meaning, then change nothing."""
    untrusted = trusting(experts, **{expert: 0.0}, past_texts=0.0)
    one, two = vectors(NGRAMS + MEANING), vectors(NGRAMS + MEANING)
    two[part] = vectors(*two[part].shape, seed=8)
    np.testing.assert_array_equal(
        untrusted.log_probabilities(one), untrusted.log_probabilities(two)
    )
    assert not np.allclose(experts.log_probabilities(one), experts.log_probabilities(two))


def test_a_past_text_is_nearest_to_itself(experts, known):
    """Its code has the greatest cosine; codes without past texts have the least there is."""
    for code, meaning in zip(*known, strict=True):
        cosines = experts.cosines(np.concatenate([vectors(NGRAMS), meaning]))
        assert cosines.argmax() == code
        assert cosines[code] == pytest.approx(1, abs=0.02)
        assert cosines[[2, 4]].tolist() == [-1, -1]


def test_several_texts_are_read_as_each_alone(experts):
    texts = vectors(6, NGRAMS + MEANING).reshape(2, 3, -1)
    certain = trusting(experts, certainty=(0.1, 0.2, -0.3, 0.2, 0.1, 0.3, 0.1))
    together = certain.log_probabilities(texts)
    assert together.shape == (2, 3, CODES)
    alone = [[certain.log_probabilities(text) for text in row] for row in texts]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_the_factor_counts_how_sure_the_experts_are_and_which_agree():
    """Maxima of the three, then their agreements two by two, then one."""
    meaning = np.log(np.array([0.7, 0.1, 0.1, 0.05, 0.05], np.float32))
    ngrams = np.log(np.array([0.2, 0.5, 0.1, 0.1, 0.1], np.float32))
    cosines = np.array([0.9, 0.1, -1, 0.2, -1], np.float32)
    features = [np.log(0.7), np.log(0.5), 0.9, 0, 1, 0, 1]
    answers = Answers(meaning, ngrams, cosines)
    np.testing.assert_allclose(answers.features(), features, rtol=1e-5)
    for place, feature in enumerate(features):
        certainty = tuple(0.5 * (place == other) for other in range(7))
        trust = Trust(1.0, 0.0, 0.0, certainty)
        expected = log_softmax(meaning * np.float32(np.exp(0.5 * feature)))
        np.testing.assert_allclose(trust.joined(answers), expected, rtol=1e-4)


def test_a_lower_factor_flattens_and_changes_no_order(experts):
    text = vectors(NGRAMS + MEANING)
    sure, unsure = (
        trusting(experts, certainty=(0.0,) * 6 + (by,)).log_probabilities(text) for by in (0, -1)
    )
    assert unsure.max() < sure.max()
    assert np.argsort(unsure).tolist() == np.argsort(sure).tolist()


# What is stored


def test_past_texts_are_stored_by_code_without_near_duplicates(known):
    """The first of those alike stays; texts of other codes may be alike."""
    codes, meanings = known
    projection = Projection.fitted(meanings, 4)
    more = np.concatenate([meanings, meanings + 1e-4 * vectors(5, MEANING), meanings[:1]])
    arrays = past_texts(np.concatenate([codes, codes, [4]]), more, projection)
    once = past_texts(np.append(codes, 4), np.concatenate([meanings, meanings[:1]]), projection)
    assert arrays["codes"].tolist() == once["codes"].tolist() == [0, 1, 1, 3, 3, 4]
    assert arrays["texts"].tobytes() == once["texts"].tobytes()
    of_one = unit(arrays["texts"][1:3].astype(np.float32))
    assert of_one[0] @ of_one[1] < DUPLICATE


def test_they_say_the_same_after_they_are_stored(experts, known, tmp_path):
    """Heads in 8 bits with a scale for each row; past texts as they are searched."""
    codes, meanings = known
    heads = {}
    for name in ("meaning", "ngrams"):
        of = getattr(experts, name)
        scale = (np.abs(of.weights).max(axis=1, keepdims=True) / 127).astype(np.float16)
        heads[f"{name}.weight"] = np.round(of.weights / scale).astype(np.int8)
        heads[f"{name}.scale"] = scale
        heads[f"{name}.bias"] = of.bias.astype(np.float16)
    save_file(heads, tmp_path / HEADS)
    save_file(past_texts(codes, meanings, Projection.fitted(meanings, 4)), tmp_path / TEXTS)
    loaded = TextExperts.load(tmp_path, ALIKE)
    texts = np.concatenate([vectors(4, NGRAMS), unit(vectors(4, MEANING))], axis=1)
    np.testing.assert_array_equal(loaded.cosines(texts), experts.cosines(texts))
    np.testing.assert_allclose(
        loaded.log_probabilities(texts), experts.log_probabilities(texts), atol=0.3
    )
    np.testing.assert_allclose(loaded.ngrams.weights, experts.ngrams.weights, atol=0.02)
    np.testing.assert_allclose(loaded.meaning.bias, experts.meaning.bias, atol=2e-3)
