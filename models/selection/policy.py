"""Risk → lane, within the inspection capacity.

Pure. From the inspectors' `Budget` and what was seen of the stream, `adapt` makes the `Thresholds`
of the next window; they decide on each declaration; `estimate_prevalence` estimates how many of all
are irregular.

Every declaration has a known chance to be inspected. Without it no share could be estimated, and a
model that chooses what it learns from would miss what is new (Kim et al., Active Learning for
Human-in-the-Loop Customs Inspection, arXiv:2010.14282).
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
"""Selections: so many that are owed double the rate until they are made up."""
STEEPEST: Final = 3.0
"""Most that the rate is raised to, in budgets: inspectors are not moved from hour to hour."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Share of the declarations of each week that can be inspected.

    Selections that only a risk profile makes come on top: they are ordered, not chosen.
    A ValueError tells which shares do not fit together.
    """

    yellow: float
    """For documents, `random` included. Fraction of all declarations."""
    red: float
    """For goods. Fraction of all declarations."""
    random: float = 0.01
    """Least probability of any declaration, whatever its risk and however many were selected
    already. What it alone selects goes to the yellow lane."""
    offices: Mapping[str, "Budget"] = field(default_factory=dict)
    """Declaration offices with a budget of their own; the others share this one."""

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
    """What chose the lane; green is by risk."""
    probability: float
    """With which it was to be inspected, in whichever lane; of green ones too. Fraction."""
    profile_id: str
    """Empty unless the basis is profile."""
    charged: str
    """The lane it would have without profiles: what the budget pays."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What decides, for one window of the stream; alone, a bundle's fixed thresholds.

    A risk that is exactly a threshold is selected with the tie's probability, for thousands of
    declarations may have the same risk.
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
        """Return green, yellow or red for a dice in [0, 1); 0 is for thresholds without chance."""
        if dice < _step(risk, self.red, self.red_tie):
            return RED
        return YELLOW if dice < self.inclusion(risk) else GREEN

    def decide(
        self, declaration_id: str, risk: float, profiles: Sequence[RiskProfile] = (), *, key: bytes
    ) -> Decision:
        """Decide on a declaration: equal arguments, equal decision, whatever came between.

        Args:
            declaration_id: throws the dice. Its version does not: to amend is no second throw.
            risk: calibrated. Fraction.
            profiles: those in force that match.
            key: of all workers, at most 64 bytes. Secret: with it one can choose ids that pass.
        """
        charged = self.lane(risk, dice(declaration_id, key))
        first = min(profiles, key=lambda p: (-LANES.index(p.lane), p.profile_id), default=None)
        if first is not None and LANES.index(first.lane) >= LANES.index(charged):
            return Decision(first.lane, "profile", 1.0, first.profile_id, charged)
        probability = 1.0 if profiles else self.inclusion(risk)
        lucky = charged == YELLOW and not _step(risk, self.yellow, self.yellow_tie)
        return Decision(charged, "random" if lucky else "risk", probability, "", charged)


def dice(declaration_id: str, key: bytes) -> float:
    """Return a number in [0, 1) that none can foresee without the key."""
    digest = hashlib.blake2b(declaration_id.encode(), digest_size=8, key=key).digest()
    return (int.from_bytes(digest) >> 11) / 2**53  # the bits a float holds


def _step(risk: float, threshold: float, tie: float) -> float:
    return tie if risk == threshold else float(risk > threshold)


@dataclass(frozen=True, slots=True)
class Seen:
    """What earlier windows brought, of one budget's declarations."""

    risks: NDArray[np.float64]
    """(K,) of the latest, or a fair sample of them. A few hundred: with more, a jump is followed
    late; with fewer, the red threshold rests on two or three."""
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

    They are quantiles of the recent risks, for a share that is moved by what the week owes to its
    budget or has overdrawn (integral control). So quantiles that miss, by drift or by chance, are
    made up for; the last few windows' error is left. Windows of a hundredth of the week's
    declarations, such as an hour, keep a budget of a tenth within a tenth. Where much is owed, the
    recent risks tell little of today's, and it is made up at random.

    Args:
        seen: up to now.
        budget: that the declarations draw on; its `offices` are not looked at.
        fallback: in force, with the budget's `random`, where no risk was seen.
    """
    if not len(seen.risks):
        return replace(fallback, random=budget.random)
    inspect, late = _rate(budget.share, seen.selected, seen)
    random = budget.random + min(late, max(0.0, inspect - budget.random))
    by_risk = max(0.0, inspect - random) / (1 - random) if random < 1 else 0.0
    goods = min(_rate(budget.red, seen.red, seen)[0], by_risk)
    yellow, yellow_tie = _cut(seen.risks, by_risk)
    # Where the red lane is full the riskiest go to the yellow one; where that is full too, risks
    # above all recent ones still do.
    red, red_tie = _cut(seen.risks, goods) if goods else (max(1.0, yellow), 0.0)
    return Thresholds(yellow, red, random, yellow_tie, red_tie)


def _rate(share: float, selected: int, seen: Seen) -> tuple[float, float]:
    """Return the share to select so that the week's comes right, and how much of it is overdue."""
    if not share:
        return 0.0, 0.0
    owed = share * seen.arrived - selected
    # Not over a single window, for what one selects may be known only in the next but one.
    over = max(SETTLE / share, 2 * seen.expected)
    rate = min(max(0.0, share + owed / over), STEEPEST * share, 1.0)
    return rate, max(0.0, owed / over - share)  # what is owed alone is more than the budget


def _cut(risks: NDArray[np.float64], share: float) -> tuple[float, float]:
    """Return the threshold, and the probability at it, that select a share of these risks."""
    wanted = share * len(risks)
    place = max(0, len(risks) - 1 - int(wanted))
    threshold = float(np.partition(risks, place)[place])
    above, tied = int(np.sum(risks > threshold)), int(np.sum(risks == threshold))
    return threshold, min(1.0, max(0.0, wanted - above) / tied)


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
    before its dice fell. Those selected for certain have no error. The others' weighted sum gets
    Fay & Feuer's gamma interval (Stat. Med. 16, 1997): made for few events of unequal weight, where
    the normal one covers too seldom; rather too wide than too narrow, most so for common events.

    Args:
        inspected: all of them: whether irregular, and the probability that was logged.
        population: declarations they were selected from.
    """
    if population < max(1, len(inspected)) or not all(0 < p <= 1 for _, p in inspected):
        raise ValueError("not a probability above 0 and up to 1, or more inspected than arrived")
    certain = sum(irregular for irregular, p in inspected if p == 1) / population
    weights = [1 / p / population for _, p in inspected if p < 1]
    if not weights:  # nothing tells of the others
        return Prevalence(certain, certain, certain + 1 - len(inspected) / population)
    found = [1 / p / population for irregular, p in inspected if irregular and p < 1]
    total, variance, largest = sum(found), sum(w**2 for w in found), max(weights)
    low = _gamma(total, variance, -1.96) if found else 0.0
    high = _gamma(total + largest, variance + largest**2, 1.96)
    return Prevalence(certain + total, certain + low, min(1.0, certain + high))


def _gamma(mean: float, variance: float, z: float) -> float:
    """Return a gamma quantile from the normal one (Wilson & Hilferty, PNAS 17, 1931)."""
    shape = mean**2 / variance
    return mean * max(0.0, 1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape))) ** 3
