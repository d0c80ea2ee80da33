"""Posteriors against the right codes → accuracy, calibration and coverage."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from models.evaluation.calibration import bins, calibration_error, error_by_chance
from models.hs.classifier import HsModel, Posterior
from models.hs.conformal import DIGITS
from models.vectors import Array

TOPS: Final = (1, 3, 5)


class Ranked(NamedTuple):
    """What the model says of one kind of goods, against the right code."""

    right: int
    """Place of the right code."""
    rank: int
    """How many codes the model names before the right one."""
    best: int
    """Place of the most probable code."""
    confidence: float
    """Its probability."""
    common: int
    """Digits that it has in common with the right code: 6, 4, 2 or 0."""
    covered: bool
    """Whether the published set holds the right code. An empty one says nothing, so it does."""
    size: int
    """Members of the set: codes, headings or chapters."""

    @classmethod
    def of(cls, hs: HsModel, modality: str, posterior: Posterior, code: str) -> Self:
        """Compare a posterior with the right code.

        Args:
            hs: the model that it is of; its nomenclature has the code.
            modality: one of MODALITIES.
            posterior: of the codes.
            code: HS6.
        """
        probabilities = posterior.probabilities
        right, best = bisect_left(hs.codes, code), int(probabilities.argmax())
        # Equal ones in the order in which candidates are published: without evidence many codes
        # have the least probability, and the right one among them is no hit.
        before = (probabilities > probabilities[right]).sum()
        before += (probabilities[:right] == probabilities[right]).sum()
        members = hs.hs_set(modality, posterior)
        return cls(
            right,
            int(before),
            best,
            float(probabilities[best]),
            next((n for n in DIGITS if hs.codes[best][:n] == code[:n]), 0),
            not members or code.startswith(members),
            len(members),
        )


@dataclass(frozen=True, slots=True)
class RankingResult:
    """The model's ranking of the codes for each of N goods, by one modality or both."""

    right: NDArray[np.int64]  # (N,); this and the others: see `Ranked`
    ranks: NDArray[np.int64]  # (N,)
    best: NDArray[np.int64]  # (N,)
    confidence: Array  # (N,)
    common: NDArray[np.int64]  # (N,)
    covered: NDArray[np.bool_]  # (N,)
    sizes: NDArray[np.int64]  # (N,)

    @classmethod
    def of(cls, rows: Sequence[Ranked]) -> Self:
        """Take what the model says of each of the goods."""
        return cls(*(np.array(column) for column in zip(*rows, strict=True)))

    def figures(self) -> dict[str, Any]:
        """Return the figures of the contract: fractions, but for `n` and `set_size`.

        The heading and the chapter are those of the most probable code: what a user is shown. They
        are not those of the greatest summed probability, which would favour headings of many codes.
        """
        answered = self.sizes > 0
        return {
            "n": len(self.right),
            **{f"top{k}": float(np.mean(self.ranks < k)) for k in TOPS},
            "heading_top1": float(np.mean(self.common >= 4)),  # noqa: PLR2004 - digits
            "chapter_top1": float(np.mean(self.common >= 2)),  # noqa: PLR2004 - digits
            "macro_f1": self.macro_f1(),
            "ece": self.calibration_error(),
            "ece_by_chance": error_by_chance(self.confidence),
            "coverage": float(self.covered.mean()),
            "told": float(answered.mean()),
            # Of the sets that say something: an empty one is not the most precise.
            "set_size": float(self.sizes[answered].mean()) if answered.any() else 0.0,
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
