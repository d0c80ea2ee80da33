"""Small steps of arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vectors import BLOCK, best, products


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(1, 8))
def test_the_best_are_those_that_sort_first(values, count):
    """Ties in order, as if all were sorted."""
    array = np.array(values, np.float32)
    expected = np.argsort(-array, kind="stable")[:count]
    assert best(array, count).tolist() == expected.tolist()


@pytest.mark.parametrize("shape", [(5616, 512), (9759, 64), (1000, 1280), (7, 3)])
def test_products_of_a_row_have_the_same_bits_wherever_it_stands(shape):
    """Alone, in a batch of any size, and in any place."""
    dice = np.random.default_rng(1)
    weights = dice.standard_normal(shape).astype(np.float32)
    rows = dice.standard_normal((3 * BLOCK + 1, shape[1])).astype(np.float32)
    together = products(rows, weights)
    np.testing.assert_allclose(together, rows @ weights.T, atol=1e-3)
    for order in (dice.permutation(len(rows)) for _ in range(5)):
        assert products(rows[order], weights).tobytes() == together[order].tobytes()
    for place, row in enumerate(rows):
        assert products(row, weights).tobytes() == together[place].tobytes()
    assert products(rows[:0], weights).shape == (0, shape[0])
    assert products(rows[:4].reshape(2, 2, -1), weights).tobytes() == together[:4].tobytes()
