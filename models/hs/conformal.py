"""Sets of codes that hold the right one with a promised probability (split conformal prediction).

The score is the probability of the right code (Sadinle, Lei and Wasserman, 2019): the threshold is
the quantile over held-out goods, so the promise holds for goods like those, whatever the model.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.vectors import Array, best

COVERAGE: Final = 0.95
LONGEST: Final = 8
"""More codes are replaced by their headings, more headings by their chapters."""


def threshold(right: NDArray[np.float32], coverage: float = COVERAGE) -> float:
    """Return the least probability of a code in the set.

    Args:
        right: probabilities that the model gave the right codes of held-out goods (N,).
        coverage: share of goods whose set shall hold the right code.
    """
    place = math.floor((1 - coverage) * (len(right) + 1))
    return float(np.sort(right)[max(place - 1, 0)])


def members(probabilities: Array, least: float) -> NDArray[np.int64]:
    """Return the places of the set's codes, most probable first; at least one."""
    count = int((probabilities >= least).sum())
    return best(probabilities, max(count, 1))


def shortened(codes: list[str]) -> tuple[str, ...]:
    """Return a set as codes of six digits, or as headings or chapters where those are too many.

    A heading stands for all of its codes, so the set only grows and the promise holds.
    """
    for digits in (6, 4, 2):
        groups = tuple(dict.fromkeys(code[:digits] for code in codes))
        if len(groups) <= LONGEST:
            break
    return groups
