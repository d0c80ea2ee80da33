"""N-grams of texts: which there are, and which texts share them."""

import zlib

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from models.encoding.ngrams import BUCKETS, FILE, MOST, NgramTable, hashed
from models.networks.ngrams import PADDING, NgramNetwork


def shared(one, other):
    return len(np.intersect1d(hashed(one), hashed(other))) / len(hashed(one))


def test_words_pairs_and_runs_of_characters_are_counted():
    """` tea `, its pair with the start, and <te, tea, ea>, <tea, tea>, <tea>."""
    assert len(hashed("tea")) == 2 + 3 + 2 + 1
    assert len(hashed("")) == 0


def test_they_are_distinct_sorted_and_few():
    grams = hashed(" ".join(f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz" * 9))
    assert grams.dtype == np.int32
    assert len(grams) == MOST
    assert (np.diff(grams) > 0).all()
    assert 0 <= grams[0] <= grams[-1] < BUCKETS


def test_a_misspelt_word_shares_most_and_another_none():
    assert shared("thermoplastic", "thermplastic") > 0.5
    assert shared("thermoplastic", "fish") == 0


def test_numbers_differ_only_in_how_they_are_written():
    assert hashed("bolt m12 x 40").tolist() == hashed("bolt m16 x 25").tolist()
    assert hashed("bolt m12").tolist() != hashed("bolt m6").tolist()


def test_the_order_of_words_matters_in_pairs_alone():
    assert 0.5 < shared("shirt cotton", "cotton shirt") < 1


def test_numbers_are_the_same_in_every_release():
    """Learned vectors depend on them: a checksum of each n-gram."""
    grams = (" a ", " a", "<a>", " b ", "a b", "<b>")
    assert hashed("a b").tolist() == sorted(zlib.crc32(gram.encode()) % BUCKETS for gram in grams)


# Their vectors


def test_a_text_is_the_sum_of_its_ngrams_over_the_root_of_their_number(tmp_path):
    """Rows of 8 bits, each times its scale; numbers that no text has do not count."""
    dice = np.random.default_rng(0)
    table = dice.integers(-127, 128, (BUCKETS, 4)).astype(np.int8)
    scale = dice.uniform(0.01, 0.02, (BUCKETS, 1)).astype(np.float16)
    save_file({"table": table, "scale": scale}, tmp_path / FILE)
    rows = (table.astype(np.float32) * scale.astype(np.float32))[hashed("tea bags")]
    found = NgramTable(tmp_path / FILE).embed("tea bags")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, rows.sum(axis=0) / len(rows) ** 0.5, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text", ["", "--- !"])
def test_a_text_without_words_is_zero(text, tmp_path):
    arrays = {"table": np.ones((BUCKETS, 4), np.int8), "scale": np.ones((BUCKETS, 1), np.float16)}
    save_file(arrays, tmp_path / FILE)
    assert NgramTable(tmp_path / FILE).embed(text).tolist() == [0, 0, 0, 0]


def test_a_text_is_embedded_as_the_network_embedded_it(tmp_path):
    """Within the rounding to 8 bits."""
    torch.manual_seed(0)
    network = NgramNetwork(2).eval()
    network.save(tmp_path / FILE)
    table, text = NgramTable(tmp_path / FILE), "cotton t-shirt, size 42"
    numbers = hashed(text).tolist()
    with torch.no_grad():
        expected = network.embed(torch.tensor([[*numbers, PADDING, PADDING]]))[0].numpy()
    np.testing.assert_allclose(table.embed(text), expected, atol=0.01)
