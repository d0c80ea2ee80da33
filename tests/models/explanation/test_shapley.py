"""Shares of the parts in a value."""

import pytest

from models.explanation.shapley import owen


def test_shares_are_exact_and_those_of_a_group_add_up():
    """Against a value of three players whose shares can be reckoned by hand."""
    worth = {"": 0, "a": 1, "b": 2, "c": 0, "ab": 6, "ac": 1, "bc": 2, "abc": 12}

    def value(coalition):
        return worth["".join(sorted(coalition))]

    alone = owen({"a": ["a"], "b": ["b"], "c": ["c"]}, value)
    assert alone == pytest.approx({"a": 4.5, "b": 5.5, "c": 2.0})
    grouped = owen({"a": ["a"], "bc": ["b", "c"]}, value)
    assert sum(grouped.values()) == pytest.approx(12)
    assert grouped["b"] + grouped["c"] == pytest.approx(((12 - 1) + 2) / 2)
