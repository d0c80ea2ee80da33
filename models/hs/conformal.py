"""Sets that hold the right code with a promised probability (split conformal prediction).

A set is given at the finest level that can be promised: subheadings, else headings, else chapters;
where even those would be too many, the code is left open, and the set is empty. Members are the
groups of codes above a least probability (Sadinle, Lei and Wasserman, 2019). The least probability
of a level is chosen on those held-out goods whose set is given at this level, so the promise holds
for them too, not only on average.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.vectors import Array, best

COVERAGE: Final = 0.95
LONGEST: Final = 8
"""Most members of a set; where there were more, the next coarser level is asked."""
DIGITS: Final = (6, 4, 2)
"""Of the levels: subheading, heading, chapter."""
NEVER: Final = 1.0
"""Least probability of a level at which nothing can be promised."""
GRID: Final = np.geomspace(0.9, 1e-4, 120)
"""Least probabilities to choose from."""


def prediction_set(
    codes: tuple[str, ...], probabilities: Array, least: Sequence[float]
) -> tuple[str, ...]:
    """Return the set of some goods, most probable member first; empty if the code is left open.

    Args:
        codes: of the nomenclature (C,), sorted.
        probabilities: of each (C,).
        least: probability of a member at each of DIGITS.
    """
    for digits, at_least in zip(DIGITS, least, strict=True):
        names, starts = _groups(codes, digits)
        shares = np.add.reduceat(probabilities, starts)
        count = int((shares >= at_least).sum())
        if at_least < NEVER and count <= LONGEST:
            return tuple(names[place] for place in best(shares, max(count, 1)))
    return ()


def fitted(
    codes: tuple[str, ...],
    probabilities: Array,
    right: Sequence[str],
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, ...]:
    """Choose the least probability of each level, the highest that keeps the promise.

    Args:
        codes: of the nomenclature (C,), sorted.
        probabilities: that the model gave the codes of held-out goods (N, C).
        right: code of each of these (N,).
        weights: of these (N,), of any sum; None for equal ones.
    """
    weight = np.ones(len(right)) if weights is None else weights
    least, remaining = [], np.arange(len(right))
    for digits in DIGITS:
        names, starts = _groups(codes, digits)
        shares = np.add.reduceat(probabilities[remaining], starts, axis=1)
        places = np.searchsorted(names, [right[int(place)][:digits] for place in remaining])
        of_right = shares[np.arange(len(shares)), places]
        is_best = of_right >= shares.max(axis=1, initial=0)
        chosen = NEVER
        for at_least in GRID:
            counts = (shares >= at_least).sum(axis=1)
            short = counts <= LONGEST
            missed = short & (of_right < at_least) & ~(is_best & (counts == 0))
            if not short.any():
                break  # no goods have a set at this level, nor by a lower least probability
            # One more than were missed, so that the promise holds for the next goods as well.
            more = weight[remaining].mean()
            if weight[remaining][missed].sum() + more <= (1 - COVERAGE) * (
                weight[remaining][short].sum() + more
            ):
                chosen, remaining = float(at_least), remaining[~short]
                break
        least.append(round(chosen, 8))
    return tuple(least)


@lru_cache(maxsize=8)
def _groups(codes: tuple[str, ...], digits: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the groups of sorted codes at a level, and the place of each group's first code."""
    names, starts = np.unique([code[:digits] for code in codes], return_index=True)
    return tuple(map(str, names)), starts
