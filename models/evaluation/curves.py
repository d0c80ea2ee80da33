"""The risk while evidence is taken away or brought in (Petsiuk et al., BMVC 2018)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

STEPS: Final = 7
"""In which the parts are taken away or brought in."""

Value = Callable[[Sequence[int]], float]
"""Parts that are present → the risk."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Mean risk on deletion and insertion, in one order and in random ones."""

    deletion: float
    deletion_random: float
    insertion: float
    insertion_random: float

    @classmethod
    def of(cls, value: Value, order: Sequence[int], others: Sequence[Sequence[int]]) -> "Curves":
        """Take parts away, and bring them in, in an order and in others."""
        random = [_areas(value, other) for other in others]
        return cls(*_interleaved(_areas(value, order), np.mean(random, axis=0).tolist()))


def mean_curves(curves: Sequence[Curves]) -> dict[str, float]:
    """Return the mean areas under the curves."""
    fields = {
        "deletion_auc": "deletion",
        "deletion_auc_random": "deletion_random",
        "insertion_auc": "insertion",
        "insertion_auc_random": "insertion_random",
    }
    return {
        name: float(np.mean([getattr(areas, field) for areas in curves]))
        for name, field in fields.items()
    }


def _interleaved(first: Sequence[float], second: Sequence[float]) -> Iterator[float]:
    for pair in zip(first, second, strict=True):
        yield from pair


def _areas(value: Value, order: Sequence[int]) -> tuple[float, float]:
    """Return the areas under the curves of deletion and insertion."""
    steps = min(len(order), STEPS)
    cuts = [round(step * len(order) / steps) for step in range(steps + 1)]
    deletion = [value(order[cut:]) for cut in cuts]
    insertion = [value(order[:cut]) for cut in cuts]
    return float(np.trapezoid(deletion) / steps), float(np.trapezoid(insertion) / steps)
