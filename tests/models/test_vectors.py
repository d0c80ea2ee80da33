"""Small steps of arithmetic."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.vectors import best


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(1, 8))
def test_the_best_are_those_that_sort_first(values, count):
    """Ties in order, as if all were sorted."""
    array = np.array(values, np.float32)
    expected = np.argsort(-array, kind="stable")[:count]
    assert best(array, count).tolist() == expected.tolist()
