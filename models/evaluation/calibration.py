"""How far stated probabilities are from what happens."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 15
"""Of equal width (Guo et al., 2017)."""


def bins(stated: NDArray[Any], happened: NDArray[Any]) -> list[tuple[float, float, float]]:
    """Return each bin's share of the cases, mean stated probability and share that happened."""
    place = np.minimum((stated * BINS).astype(int), BINS - 1)
    found = []
    for one in np.unique(place):
        here = place == one
        found.append((here.mean(), stated[here].mean(), happened[here].mean()))
    return [(float(share), float(said), float(was)) for share, said, was in found]


def calibration_error(stated: NDArray[Any], happened: NDArray[Any]) -> float:
    """Return the expected calibration error. Fraction."""
    return float(sum(share * abs(said - was) for share, said, was in bins(stated, happened)))
