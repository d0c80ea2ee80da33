"""Matrices in 8 bits."""

import torch

from models.networks.quantisation import LEVELS, quantised


def test_the_greatest_of_a_row_takes_the_last_level_and_zeros_stay():
    whole, scale = quantised(torch.tensor([[0.5, -2.0, 0.0], [0.0, 0.0, 0.0], [1e-9, 0, 0]]))
    assert whole.tolist() == [[32, -LEVELS, 0], [0, 0, 0], [0, 0, 0]]
    assert scale.shape == (3, 1)
    assert (scale > 0).all()


def test_values_are_within_half_a_step():
    matrix = torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    whole, scale = quantised(matrix)
    assert ((whole.float() * scale.float() - matrix).abs() <= 0.56 * scale.float()).all()
