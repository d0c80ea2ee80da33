"""Scores of codes → how wrong they are, a code of the right heading or chapter less than others."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SMOOTHING: Final = 0.05
LEVELS: Final = ((4, 0.3), (2, 0.2))
"""Digits of heading and chapter, and the weight of each beside the code's."""


class CodeLoss:
    """Cross-entropy of the code, and of its heading and chapter by the sums of their codes."""

    def __init__(self, codes: Sequence[str], device: torch.device) -> None:
        """Take the codes (C,) that are scored."""
        self._levels = [
            (weight, torch.from_numpy(_numbers([code[:digits] for code in codes])).to(device))
            for digits, weight in LEVELS
        ]

    def __call__(self, scores: Tensor, right: Tensor) -> Tensor:
        """Return the mean loss of logits (B, C) for the numbers of the right codes (B,)."""
        scores = scores.float()
        loss = functional.cross_entropy(scores, right, label_smoothing=SMOOTHING)
        log_probabilities = functional.log_softmax(scores, dim=1)
        for weight, groups in self._levels:
            others = groups[None, :] != groups[right][:, None]  # (B, C)
            of_group = log_probabilities.masked_fill(others, -torch.inf).logsumexp(dim=1)
            loss = loss - weight * of_group.mean()
        return loss


def _numbers(names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    _, numbers = np.unique(np.array(names), return_inverse=True)
    return numbers
