"""Ranked codes against the right ones → accuracy, calibration and coverage."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation.calibration import bins, calibration_error
from models.vectors import Array

TOPS: Final = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class RankingResult:
    """What the model said of goods, by one modality or both."""

    right: NDArray[np.int64]  # (N,): places of the right codes
    ranks: NDArray[np.int64]  # (N,): codes thought more probable than the right one
    best: NDArray[np.int64]  # (N,): places of the most probable codes
    confidence: Array  # (N,): their probabilities
    covered: NDArray[np.bool_]  # (N,): whether the set holds the right code
    sizes: NDArray[np.int64]  # (N,): codes in the set

    def figures(self) -> dict[str, float]:
        """Return the figures of the contract, fractions; `set_size` in codes."""
        tops = {f"top{k}": float(np.mean(self.ranks < k)) for k in TOPS}
        return tops | {
            "macro_f1": self.macro_f1(),
            "ece": self.calibration_error(),
            "coverage": float(self.covered.mean()),
            "set_size": float(self.sizes.mean()),
        }

    def macro_f1(self) -> float:
        """Return the mean F1 over the codes that occur."""
        scores = []
        for code in np.unique(self.right):
            hit = int(((self.best == code) & (self.right == code)).sum())
            scores.append(2 * hit / int((self.best == code).sum() + (self.right == code).sum()))
        return float(np.mean(scores))

    def calibration_error(self) -> float:
        """Return the expected calibration error of the most probable code."""
        return calibration_error(self.confidence, self.best == self.right)

    def bins(self) -> list[tuple[float, float, float]]:
        """Return each bin's share of the goods, mean confidence and share that was right."""
        return bins(self.confidence, self.best == self.right)
