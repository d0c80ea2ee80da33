"""A matrix → whole numbers of 8 bits with a scale for each row, as learned matrices are stored."""

from typing import Final

import torch
from torch import Tensor

LEVELS: Final = 127
"""The whole numbers are from -127 to 127."""
LEAST: Final = 1e-6
"""Least scale: that of a row of zeros."""


def quantised(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the whole numbers, int8 of the same shape (N, D), and the scales, float16 (N, 1)."""
    matrix = matrix.detach().cpu()
    scale = (matrix.abs().amax(dim=1, keepdim=True) / LEVELS).clamp(min=LEAST).half()
    whole = torch.round(matrix / scale.float()).clamp(-LEVELS, LEVELS).to(torch.int8)
    return whole, scale
