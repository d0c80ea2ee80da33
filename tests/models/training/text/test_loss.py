"""The loss of scores, and how far a wrong code is from the right one."""

import math

import pytest
import torch

from models.training.text.loss import CodeLoss

CODES = ["610910", "610990", "620520", "847130"]
LOSS = CodeLoss(CODES, torch.device("cpu"))


def surely(place):
    return LOSS(torch.nn.functional.one_hot(torch.tensor([place]), 4) * 10.0, torch.tensor([0]))


def test_a_code_of_the_right_heading_is_less_wrong_than_others():
    """The other chapters are all alike."""
    assert surely(0) < surely(1) < surely(2)
    assert surely(2) == pytest.approx(surely(3))


def test_of_equal_scores_it_is_known():
    """Cross-entropy of one in four, and of two in four for heading and chapter."""
    expected = math.log(4) + (0.3 + 0.2) * math.log(2)
    assert LOSS(torch.zeros(3, 4), torch.tensor([0, 1, 0])).item() == pytest.approx(expected)


def test_it_is_finite_where_the_right_code_is_all_but_excluded():
    scores = torch.tensor([[-1e4, -1e4, 0.0, 0.0]], requires_grad=True)
    LOSS(scores, torch.tensor([0])).backward()
    assert torch.isfinite(scores.grad).all()
