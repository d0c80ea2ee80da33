"""Risk → lane, within the inspection capacity.

Pure. From the inspectors' `Budget` and the declarations so far, `adapt` computes the `Thresholds`
of the next window; they decide on each declaration; `estimate_prevalence` estimates how many of all
declarations are irregular.

Every declaration has a known probability of being inspected. Without it no share could be
estimated, and a model that chooses what it learns from would miss what is new (Kim et al., Active
Learning for Human-in-the-Loop Customs Inspection, arXiv:2010.14282).
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from schemas.records import RiskProfile

LANES = GREEN, YELLOW, RED = ("green", "yellow", "red")
"""Ascending: no inspection, documents, goods."""
SETTLE: Final = 5.0
"""A shortfall of so many selections doubles the rate until it is made up."""
STEEPEST: Final = 3.0
"""Highest rate, in budgets: inspectors cannot be moved from hour to hour."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Share of the declarations of each week that can be inspected.

    Selections made only by a risk profile come on top: they are ordered, not chosen.

    Raises:
        ValueError: the shares do not fit together.
    """

    yellow: float
    """For documents, `random` included. Fraction of all declarations."""
    red: float
    """For goods. Fraction of all declarations."""
    random: float = 0.01
    """Least probability of inspection, whatever the risk and however many declarations are selected
    already. Declarations that only chance selects go to the yellow lane."""
    offices: Mapping[str, "Budget"] = field(default_factory=dict)
    """Declaration offices with their own budgets; the others share this one."""

    def __post_init__(self) -> None:
        if not (0 <= self.red <= 1 and 0 <= self.yellow <= 1 and self.share <= 1):
            raise ValueError(f"yellow {self.yellow} and red {self.red} are not shares of all")
        if not 0 < self.random <= self.yellow or self.random == 1:
            raise ValueError(f"random is {self.random}, not above 0, up to yellow and below 1")
        if nested := [office for office, own in self.offices.items() if own.offices]:
            raise ValueError(f"the budget of office {nested[0]} has offices of its own")

    @property
    def share(self) -> float:
        """Yellow and red together."""
        return self.yellow + self.red

    def of(self, office: str) -> "Budget":
        """Return the budget that an office draws on."""
        return self.offices.get(office, self)


@dataclass(frozen=True, slots=True)
class Decision:
    """The lane of a declaration, and why."""

    lane: str
    basis: Literal["risk", "profile", "random"]
    """What determined the lane; of green ones the risk."""
    probability: float
    """Of being inspected, in whichever lane, before the dice fell; of green ones too. Fraction."""
    profile_id: str
    """Empty unless the basis is profile."""
    charged: str
    """The lane without profiles: it counts against the budget."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of one window of the stream, or a bundle's fixed ones.

    A risk equal to a threshold is selected with the tie's probability: thousands of declarations
    may have the same risk.
    """

    yellow: float
    """Least risk of the yellow lane (documents). Fraction."""
    red: float
    """Least risk of the red lane (goods). Fraction."""
    random: float = 0.0
    """Probability of selection whatever the risk."""
    yellow_tie: float = 1.0
    red_tie: float = 1.0

    def __post_init__(self) -> None:
        if (self.red, -self.red_tie) < (self.yellow, -self.yellow_tie):
            raise ValueError(f"{self}: the red lane asks for less than the yellow one")

    def inclusion(self, risk: float) -> float:
        """Return the probability of being inspected, in whichever lane."""
        return self.random + (1 - self.random) * _step(risk, self.yellow, self.yellow_tie)

    def lane(self, risk: float, dice: float = 0.0) -> str:
        """Return green, yellow or red for a dice in [0, 1); 0 where nothing is left to chance."""
        if dice < _step(risk, self.red, self.red_tie):
            return RED
        return YELLOW if dice < self.inclusion(risk) else GREEN

    def decide(
        self, declaration_id: str, risk: float, profiles: Sequence[RiskProfile] = (), *, key: bytes
    ) -> Decision:
        """Decide on a declaration: equal arguments give an equal decision at any time.

        Args:
            declaration_id: throws the dice, without its version: an amendment is no second throw.
            risk: calibrated. Fraction.
            profiles: those in force that match.
            key: the same for all workers, at most 64 bytes. Secret: whoever has it can choose ids
                that pass.
        """
        charged = self.lane(risk, dice(declaration_id, key))
        first = min(profiles, key=lambda p: (-LANES.index(p.lane), p.profile_id), default=None)
        if first is not None and LANES.index(first.lane) >= LANES.index(charged):
            return Decision(first.lane, "profile", 1.0, first.profile_id, charged)
        probability = 1.0 if profiles else self.inclusion(risk)
        lucky = charged == YELLOW and not _step(risk, self.yellow, self.yellow_tie)
        return Decision(charged, "random" if lucky else "risk", probability, "", charged)


def dice(declaration_id: str, key: bytes) -> float:
    """Return a number in [0, 1) that nobody can predict without the key."""
    digest = hashlib.blake2b(declaration_id.encode(), digest_size=8, key=key).digest()
    return (int.from_bytes(digest) >> 11) / 2**53  # the bits a float holds


def _step(risk: float, threshold: float, tie: float) -> float:
    return tie if risk == threshold else float(risk > threshold)


@dataclass(frozen=True, slots=True)
class Seen:
    """The declarations of earlier windows, of one budget."""

    risks: NDArray[np.float64]
    """(K,) of the latest, or a fair sample of them. A few hundred: more would follow a jump late,
    with fewer the red threshold would rest on two or three."""
    arrived: int
    """This week."""
    selected: int
    """Of those, charged as yellow or red."""
    red: int
    """Of those, charged as red."""
    expected: float
    """Declarations in one window."""


NOTHING: Final = Seen(np.empty(0), 0, 0, 0, 0.0)


def adapt(seen: Seen, budget: Budget, fallback: Thresholds) -> Thresholds:
    """Choose the thresholds of the next window.

    They are quantiles of the recent risks, for a share corrected by the week's shortfall or excess
    over its budget (integral control). So later windows make up for quantiles that missed, by drift
    or by chance; only the last few windows' error remains. Windows of a hundredth of the week's
    declarations, such as an hour, keep a budget of a tenth within a tenth. A large shortfall shows
    that the recent risks say little of today's, so the shortfall is selected at random.

    Args:
        seen: up to now.
        budget: of these declarations; its `offices` are ignored.
        fallback: used, with the budget's `random`, as long as there are no risks.
    """
    if not len(seen.risks):
        return replace(fallback, random=budget.random)
    inspect, late = _rate(budget.share, seen.selected, seen)
    random = budget.random + min(late, max(0.0, inspect - budget.random))
    by_risk = max(0.0, inspect - random) / (1 - random) if random < 1 else 0.0
    goods = min(_rate(budget.red, seen.red, seen)[0], by_risk)
    yellow, yellow_tie = _cut(seen.risks, by_risk)
    # Where the red lane is full, the riskiest go to the yellow lane; where that is full too, only
    # risks above all recent ones do.
    red, red_tie = _cut(seen.risks, goods) if goods else (max(1.0, yellow), 0.0)
    return Thresholds(yellow, red, random, yellow_tie, red_tie)


def _rate(share: float, selected: int, seen: Seen) -> tuple[float, float]:
    """Return the share to select so that the week meets its budget, and how much is overdue."""
    if not share:
        return 0.0, 0.0
    owed = share * seen.arrived - selected
    # Not over a single window: a window's selections may be counted only in the next but one.
    over = max(SETTLE / share, 2 * seen.expected)
    rate = min(max(0.0, share + owed / over), STEEPEST * share, 1.0)
    return rate, max(0.0, owed / over - share)  # the shortfall alone exceeds the budget


def _cut(risks: NDArray[np.float64], share: float) -> tuple[float, float]:
    """Return the threshold, and the probability at it, that select a share of these risks."""
    count = share * len(risks)
    place = max(0, len(risks) - 1 - int(count))
    threshold = float(np.partition(risks, place)[place])
    above, tied = int(np.sum(risks > threshold)), int(np.sum(risks == threshold))
    return threshold, min(1.0, max(0.0, count - above) / tied)


@dataclass(frozen=True, slots=True)
class Prevalence:
    """Share of irregular declarations among all, inspected or not, with its 95 % interval."""

    share: float
    low: float
    high: float


def estimate_prevalence(inspected: Sequence[tuple[bool, float]], population: int) -> Prevalence:
    """Estimate the share of irregular declarations, from those inspected.

    Each counts by the inverse of its probability (Horvitz & Thompson, J. Am. Stat. Assoc. 47,
    1952). That is unbiased although thresholds follow the stream: every probability was fixed
    before its dice fell. Those selected for certain have no error. The others' weighted sum has Fay
    & Feuer's gamma interval (Stat. Med. 16, 1997): designed for few events of unequal weight, where
    the normal interval covers too rarely; it is rather too wide than too narrow, above all for
    common events.

    Args:
        inspected: all of them: whether irregular, and the recorded probability.
        population: number of declarations that they were selected from.

    Raises:
        ValueError: a probability is not in (0, 1], or more were inspected than arrived.
    """
    if population < max(1, len(inspected)) or not all(0 < p <= 1 for _, p in inspected):
        raise ValueError("not a probability above 0 and up to 1, or more inspected than arrived")
    certain = sum(irregular for irregular, p in inspected if p == 1) / population
    weights = [1 / p / population for _, p in inspected if p < 1]
    if not weights:  # nothing is known of the others
        return Prevalence(certain, certain, certain + 1 - len(inspected) / population)
    irregular_weights = [1 / p / population for irregular, p in inspected if irregular and p < 1]
    total, variance = sum(irregular_weights), sum(weight**2 for weight in irregular_weights)
    largest = max(weights)
    low = _gamma(total, variance, -1.96) if irregular_weights else 0.0
    high = _gamma(total + largest, variance + largest**2, 1.96)
    return Prevalence(certain + total, certain + low, min(1.0, certain + high))


def _gamma(mean: float, variance: float, z: float) -> float:
    """Return a gamma quantile from the normal one (Wilson & Hilferty, PNAS 17, 1931)."""
    shape = mean**2 / variance
    return mean * max(0.0, 1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape))) ** 3
