"""Curves of what is left as parts are taken away."""

from models.evaluation.curves import Curves


def test_curves_distinguish_a_good_order_from_a_bad_one():
    """Two of four parts carry the value."""

    def value(kept):
        return 0.5 * (0 in kept) + 0.5 * (1 in kept)

    curves = Curves.of(value, [0, 1, 2, 3], [[3, 2, 1, 0]])
    assert (curves.deletion, curves.deletion_random) == (0.25, 0.75)
    assert (curves.insertion, curves.insertion_random) == (0.75, 0.25)
