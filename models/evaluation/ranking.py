"""Ranked codes against the right ones → accuracy, calibration and coverage."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from models.evaluation.calibration import bins, calibration_error
from models.vectors import Array

TOPS: Final = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class RankingResult:
    """The model's ranking of the codes for each of N goods, by one modality or both."""

    right: NDArray[np.int64]  # (N,): places of the right codes
    ranks: NDArray[np.int64]  # (N,): how many codes are more probable than the right one
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
        occurring = np.unique(self.right)
        return float(f1_score(self.right, self.best, labels=occurring, average="macro"))

    def calibration_error(self) -> float:
        """Return the expected calibration error of the most probable code."""
        return calibration_error(self.confidence, self.best == self.right)

    def bins(self) -> list[tuple[float, float, float]]:
        """Return each bin's share of the goods, mean confidence and share that was right."""
        return bins(self.confidence, self.best == self.right)
