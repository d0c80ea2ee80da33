"""Labelled declarations, replayed → what inspections would have found.

Each week the strategy chooses declarations to inspect within the capacity; the outcomes come some
days later, and only those of inspected declarations; the model is trained again every few weeks on
these outcomes. So the simulation has the selection bias of a customs office.

Random inspections and an oracle that knows every outcome are the two ends to compare with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.datasets.declarations import BadDeclarations, Labelled
from models.datasets.history import History
from models.progress import Say
from models.selection.policy import Prevalence, estimate_prevalence
from models.training.tabular_risk import Fitted, fit_features
from models.vectors import Array

Strategy = Literal["risk", "hybrid", "random", "oracle"]
STRATEGIES: Final[tuple[Strategy, ...]] = ("risk", "hybrid", "random", "oracle")
WEEK: Final = timedelta(days=7)
EXPLORED: Final = 0.2
"""Share of a hybrid's inspections that go where the model is least sure and knows least
(Kim et al., arXiv:2010.14282)."""
ROUTE: Final = "route"
"""Number of past inspections by which the model's ignorance of a declaration is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is simulated."""

    weeks: int
    """After the warm-up."""
    warm_up: int = 13
    """Weeks before, whose outcomes the office knows from the start."""
    rate: float = 0.05
    """Inspections. Fraction of the declarations of each week."""
    random: float = 0.01
    """Of them at random, whatever the risk. Fraction of the declarations."""
    delay: timedelta = timedelta(days=7)
    """From a declaration to the outcome of its inspection."""
    retrain: int = 4
    """Weeks."""
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Week:
    """The inspections of one week."""

    start: date
    declarations: int
    inspected: int
    found: int
    """Irregular among the inspected."""
    irregular: int
    """Among all declarations."""
    revenue_found: float
    revenue: float
    """Of all irregular ones."""
    estimate: Prevalence
    """Share of irregular ones among all, estimated from the inspected."""

    @property
    def precision(self) -> float:
        """Irregular among the inspected. Fraction."""
        return self.found / max(self.inspected, 1)

    @property
    def recall(self) -> float:
        """Inspected among the irregular. Fraction."""
        return self.found / max(self.irregular, 1)


def simulate(
    rows: Sequence[Labelled], strategy: Strategy, setup: Setup, say: Say = lambda *_: None
) -> list[Week]:
    """Replay declarations under a strategy.

    Args:
        rows: in the order of time; the strategy does not see their labels.
        strategy: risk, hybrid, random, or the oracle.
        setup: capacity and delays.
        say: called with the progress.

    Raises:
        BadDeclarations: they span fewer weeks than the setup needs.
    """
    office = _Office(strategy, setup)
    start = rows[0].day
    weeks = (rows[-1].day - start) // WEEK
    if weeks < setup.warm_up + setup.weeks:
        raise BadDeclarations(
            f"The declarations span {weeks} whole weeks: {setup.warm_up} of warm-up and "
            f"{setup.weeks} to simulate are more. Ask for fewer with --weeks."
        )
    simulated = []
    for number in range(setup.warm_up + setup.weeks):
        first = start + number * WEEK
        of_week = [row for row in rows if first <= row.day < first + WEEK]
        if number < setup.warm_up:
            office.begin(of_week)
            continue
        say(f"Simulating: {strategy}", number - setup.warm_up, setup.weeks)
        if (number - setup.warm_up) % setup.retrain == 0:
            office.train()
        simulated.append(office.week(first, of_week))
    return simulated


@dataclass(slots=True)
class _Office:
    """A customs office: what it has learned, and what it inspects."""

    strategy: Strategy
    setup: Setup
    history: History = field(default_factory=History)
    waiting: list[tuple[Labelled, Array]] = field(default_factory=list)
    """Inspected declarations whose outcomes are still to come, in the order of time."""
    features: list[Array] = field(default_factory=list)
    labels: list[tuple[bool, float]] = field(default_factory=list)
    model: Fitted | None = None

    def begin(self, rows: Sequence[Labelled]) -> None:
        """Take in declarations of the warm-up, all inspected."""
        if self.strategy in {"random", "oracle"}:
            return
        for row in rows:
            self._learn(until=row.day)
            self.waiting.append((row, self.history.features(row.attributes)))
            self.history.add_price(row.attributes)

    def train(self) -> None:
        """Train on every outcome so far."""
        if self.strategy in {"random", "oracle"}:
            return
        irregular, revenue = np.array(self.labels, np.float32).T
        self.model = fit_features(np.stack(self.features), irregular, revenue, seed=self.setup.seed)

    def week(self, start: date, rows: Sequence[Labelled]) -> Week:
        """Choose which of a week's declarations to inspect, a day at a time."""
        dice = np.random.default_rng([self.setup.seed, start.toordinal()])
        chosen: list[tuple[Labelled, float]] = []
        for day in sorted({row.day for row in rows}):
            chosen += self._day(day, [row for row in rows if row.day == day], dice)
        caught = [row for row, _ in chosen if row.irregular]
        wrong = [row for row in rows if row.irregular]
        return Week(
            start,
            len(rows),
            len(chosen),
            len(caught),
            len(wrong),
            sum(row.revenue for row in caught),
            sum(row.revenue for row in wrong),
            estimate_prevalence([(row.irregular, chance) for row, chance in chosen], len(rows)),
        )

    def _day(
        self, day: date, rows: Sequence[Labelled], dice: np.random.Generator
    ) -> list[tuple[Labelled, float]]:
        """Return the inspected declarations of a day, each with its probability."""
        self._learn(until=day)
        features = [self.history.features(row.attributes) for row in rows] if self.model else []
        certain = self._certain(rows, features, dice)
        chance = np.where(certain, 1.0, self._random_share())
        inspected = dice.random(len(rows)) < chance
        places = [int(place) for place in np.flatnonzero(inspected)]
        if self.model is not None:
            self.waiting += [(rows[place], features[place]) for place in places]
            for row in rows:
                self.history.add_price(row.attributes)
        return [(rows[place], float(chance[place])) for place in places]

    def _random_share(self) -> float:
        if self.strategy == "oracle":
            return 0.0
        return self.setup.rate if self.strategy == "random" else self.setup.random

    def _certain(
        self, rows: Sequence[Labelled], features: Sequence[Array], dice: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Return which declarations (N,) the strategy selects for certain."""
        places = (self.setup.rate - self._random_share()) * len(rows)
        count = int(places) + int(dice.random() < places % 1)
        picked = np.zeros(len(rows), np.bool_)
        if self.strategy == "oracle":
            worth = np.array([row.irregular * (1 + row.revenue) for row in rows])
            picked[np.argsort(-worth, kind="stable")[:count]] = True
        elif self.model is not None:
            risk = self.model.probabilities(np.stack(features))
            explored = round(count * EXPLORED) if self.strategy == "hybrid" else 0
            picked[np.argsort(-risk, kind="stable")[: count - explored]] = True
            if explored:
                past = [self.history.rates(row.attributes).get(ROUTE) for row in rows]
                inspected = np.array([rate.inspected if rate else 0 for rate in past])
                unsure = risk * (1 - risk) / np.sqrt(1 + inspected)
                unsure[picked] = -1
                picked[np.argsort(-unsure, kind="stable")[:explored]] = True
        return picked

    def _learn(self, until: date) -> None:
        """Take in the outcomes that have arrived."""
        while self.waiting and self.waiting[0][0].day + self.setup.delay <= until:
            row, features = self.waiting.pop(0)
            self.history.add_outcome(row.attributes, irregular=row.irregular)
            self.features.append(features)
            self.labels.append((row.irregular, row.revenue))
