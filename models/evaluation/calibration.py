"""How far stated probabilities are from what happens."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 15
"""Of equal width (Guo et al., 2017)."""
DRAWS: Final = 100
"""Of outcomes, for `error_by_chance`."""


def bins(stated: NDArray[Any], happened: NDArray[Any]) -> list[tuple[float, float, float]]:
    """Return each bin's share of the cases, mean stated probability and share that happened."""
    bin_of = np.minimum((stated * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(bin_of):
        inside = bin_of == number
        rows.append((inside.mean(), stated[inside].mean(), happened[inside].mean()))
    return [(float(share), float(mean), float(rate)) for share, mean, rate in rows]


def calibration_error(stated: NDArray[Any], happened: NDArray[Any]) -> float:
    """Return the expected calibration error. Fraction."""
    return float(sum(share * abs(mean - rate) for share, mean, rate in bins(stated, happened)))


def error_by_chance(stated: NDArray[Any]) -> float:
    """Return the error that these probabilities show if all are right. Fraction.

    A few cases never happen in just the stated shares: below this, an error says nothing. It is the
    mean over outcomes that are drawn by the stated probabilities, seeded.
    """
    dice = np.random.default_rng(0)
    drawn = (dice.random(len(stated)) < stated for _ in range(DRAWS))
    return float(np.mean([calibration_error(stated, happened) for happened in drawn]))
