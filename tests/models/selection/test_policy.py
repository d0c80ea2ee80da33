"""Lanes within the inspection capacity, over simulated years; and what the inspections tell."""

import numpy as np
import pytest

from models.selection.policy import (
    NOTHING,
    Budget,
    Decision,
    Seen,
    Thresholds,
    adapt,
    dice,
    estimate_prevalence,
)
from schemas.records import RiskProfile

BUDGET = Budget(yellow=0.08, red=0.02, random=0.01)
FAR_OFF = [Thresholds(0.0, 0.01), Thresholds(0.999, 0.9999)]
"""Everything red; nothing."""
KEY = b"secret of the test"
HOURS = 168
DAY = [0.1] * 6 + [1.0] * 4 + [1.6] * 8 + [0.6] * 6
SHAPE = np.array(DAY * 5 + [0.25 * hour for hour in DAY] * 2)
MEMORY = 200


def volumes(week, random):
    """Arrivals of each hour: nights, weekends, a Christmas peak. At least some 1,100 a week."""
    season = 1.15 + 0.15 * np.sin(week / 52 * 2 * np.pi) + 0.8 * np.exp(-(((week - 47) / 3) ** 2))
    return random.poisson(1100 * season * SHAPE / SHAPE.sum())


class Steady:
    def __init__(self, random):
        self.random = random

    def __call__(self, hour, size):
        return self.random.beta(1, 12, size)


class Slow(Steady):
    """Risks treble within the year."""

    def __call__(self, hour, size):
        year = hour / (52 * HOURS)
        return self.random.beta(1 + 2 * year, 12 - 8 * year, size)


class Jumps(Steady):
    """About every ten days, at any hour, another level: nearly all below or above the last one."""

    level = 0

    def __call__(self, hour, size):
        if self.random.random() < 1 / 250:
            self.level = self.random.integers(3)
        low, middle = self.random.beta(1, 30, size), self.random.beta(2, 6, size)
        return [low, middle, 0.5 + 0.5 * middle][self.level]


class Weekends(Steady):
    """On Saturday and Sunday all risks are above most of the week's."""

    def __call__(self, hour, size):
        if hour % HOURS < 120:
            return super().__call__(hour, size)
        return 0.3 + 0.5 * self.random.beta(2, 2, size)


class OfficeHours(Steady):
    """Low risks by night."""

    def __call__(self, hour, size):
        return (
            self.random.beta(2, 12, size) if 8 <= hour % 24 < 18 else self.random.beta(1, 30, size)
        )


class Ties(Steady):
    """Some nine risks only."""

    def __call__(self, hour, size):
        return np.round(super().__call__(hour, size), 1)


class Equal(Steady):
    """All risks are one, and then another."""

    def __call__(self, hour, size):
        return np.full(size, 0.3 if hour < 26 * HOURS else 0.7)


class Releases(Steady):
    """Every second Monday a model with another calibration."""

    def __call__(self, hour, size):
        risks = super().__call__(hour, size)
        return risks if hour // HOURS % 2 == 0 else 0.5 + risks / 2


def year(stream, seed, weeks=52):
    """Return the (share inspected, share red) of each week, as multiples of the budget."""
    random = np.random.default_rng(seed)
    risks_at, recent, weekly = stream(random), np.empty(0), []
    for week in range(weeks):
        arrived = selected = red = hours = 0
        for hour, size in enumerate(volumes(week, random)):
            seen = Seen(recent, arrived, selected, red, arrived / max(1, hours))
            thresholds = adapt(seen, BUDGET, FAR_OFF[seed % 2])
            risks = risks_at(week * HOURS + hour, size)
            throws = random.random(size)
            lanes = [
                thresholds.lane(float(risk), throw)
                for risk, throw in zip(risks, throws, strict=True)
            ]
            red += lanes.count("red")
            selected += size - lanes.count("green")
            arrived += size
            hours += size > 0
            recent = np.concatenate([recent, risks])[-MEMORY:]
        weekly.append((selected / arrived / BUDGET.share, red / arrived / BUDGET.red))
    return np.array(weekly)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "stream", [Steady, Slow, Jumps, Weekends, OfficeHours, Ties, Equal, Releases]
)
def test_every_week_keeps_within_a_tenth_of_the_budget(stream, seed):
    """Whatever the risks do, and from the first week, that starts with thresholds far off."""
    inspected, _ = year(stream, seed).T
    print(stream.__name__, seed, "worst week:", np.abs(inspected - 1).max())
    assert np.abs(inspected - 1).max() <= 0.1
    assert np.abs(inspected.mean() - 1) <= 0.03


@pytest.mark.parametrize("stream", [Steady, Slow, Equal])
def test_the_red_lane_keeps_its_part_of_the_budget(stream):
    """Some 25 a week: five more or less."""
    _, red = year(stream, 3).T
    assert np.abs(red - 1).max() <= 0.25
    assert red.mean() == pytest.approx(1, abs=0.05)


def test_what_is_much_overdue_is_made_up_at_random():
    """Where no risk of today is as high as the recent ones, the random probability rises."""
    recent = np.linspace(0.5, 1, MEMORY)
    on_time = adapt(Seen(recent, 500, 50, 10, 6), BUDGET, FAR_OFF[0])
    overdue = adapt(Seen(recent, 500, 35, 10, 6), BUDGET, FAR_OFF[0])
    assert on_time.random == BUDGET.random
    assert overdue.random == pytest.approx(BUDGET.random + (15 - 5) / 50)


def test_an_overdrawn_budget_stops_all_but_the_random_part_and_the_riskiest():
    """The red lane closes; a risk above all recent ones still goes to yellow."""
    recent = np.linspace(0, 0.5, MEMORY)
    full = adapt(Seen(recent, 500, 100, 50, 6), BUDGET, FAR_OFF[0])
    assert full.inclusion(0.5) == full.random == BUDGET.random
    assert full.lane(0.51, 0.5) == "yellow"
    assert full.lane(1.0, 0.0) == "yellow"


def test_equal_risks_are_selected_by_chance_and_the_chance_is_logged():
    """Ten thousand declarations of one risk: the budget's share, in each lane."""
    thresholds = adapt(Seen(np.full(MEMORY, 0.2), 0, 0, 0, 60), BUDGET, FAR_OFF[0])
    decisions = [thresholds.decide(f"D{number}", 0.2, key=KEY) for number in range(10_000)]
    lanes = [decision.lane for decision in decisions]
    assert lanes.count("green") / 10_000 == pytest.approx(0.9, abs=0.01)
    assert lanes.count("red") / 10_000 == pytest.approx(0.02, abs=0.005)
    assert {round(decision.probability, 9) for decision in decisions} == {0.1}
    assert {decision.basis for decision in decisions} == {"risk"}


def test_decisions_depend_on_nothing_but_their_arguments():
    """Forwards, backwards and again: the same; another key: other luck."""
    thresholds = Thresholds(0.3, 0.6, random=0.2)
    risks = np.random.default_rng(0).random(500)
    cases = [(f"D{number}", float(risk)) for number, risk in enumerate(risks)]
    forwards = {name: thresholds.decide(name, risk, key=KEY) for name, risk in cases}
    backwards = {name: thresholds.decide(name, risk, key=KEY) for name, risk in cases[::-1]}
    other = {name: thresholds.decide(name, risk, key=b"other") for name, risk in cases}
    assert forwards == backwards
    assert forwards != other


@pytest.mark.parametrize(
    ("risk", "profiles", "expected"),
    [
        (0.1, "", Decision("green", "risk", 0.25, "", "green")),
        (0.4, "", Decision("yellow", "risk", 1.0, "", "yellow")),
        (0.7, "", Decision("red", "risk", 1.0, "", "red")),
        (0.1, "yellow", Decision("yellow", "profile", 1.0, "P0", "green")),
        (0.4, "red", Decision("red", "profile", 1.0, "P0", "yellow")),
        (0.4, "yellow", Decision("yellow", "profile", 1.0, "P0", "yellow")),
        (0.7, "yellow", Decision("red", "risk", 1.0, "", "red")),
        (0.1, "yellow red red", Decision("red", "profile", 1.0, "P1", "green")),
    ],
)
def test_a_decision_says_why(risk, profiles, expected):
    """Profiles select on top: what the budget pays is what risk and chance chose."""
    unlucky = next(f"D{n}" for n in range(100) if dice(f"D{n}", KEY) > 0.5)
    match = [RiskProfile(profile_id=f"P{n}", lane=name) for n, name in enumerate(profiles.split())]
    decision = Thresholds(0.3, 0.6, random=0.25).decide(unlucky, risk, match, key=KEY)
    assert decision == expected


def test_chance_alone_leads_to_the_yellow_lane():
    """With the probability of all that risk does not select."""
    lucky = next(f"D{n}" for n in range(100) if dice(f"D{n}", KEY) < 0.25)
    decision = Thresholds(0.3, 0.6, random=0.25).decide(lucky, 0.1, key=KEY)
    assert (decision.lane, decision.basis, decision.probability) == ("yellow", "random", 0.25)


def test_fixed_thresholds_decide_alone():
    """As a bundle has them; what the thresholds are until a risk was seen, with a random part."""
    fixed = Thresholds(yellow=0.3, red=0.6)
    assert [fixed.lane(risk) for risk in (0.29, 0.3, 0.6)] == ["green", "yellow", "red"]
    assert adapt(NOTHING, BUDGET, fixed) == Thresholds(0.3, 0.6, random=0.01)
    with pytest.raises(ValueError, match="red lane asks for less"):
        Thresholds(yellow=0.6, red=0.3)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"yellow": -0.1, "red": 0.1}, "not shares"),
        ({"yellow": 0.6, "red": 0.5}, "not shares"),
        ({"yellow": 0.1, "red": 0.1, "random": 0.2}, "random is 0.2"),
        ({"yellow": 0.1, "red": 0.1, "random": 0.0}, "random is 0.0"),
        ({"yellow": 0.1, "red": 0, "offices": {"A": Budget(0.1, 0, offices={"B": BUDGET})}}, "office A"),
    ],
)  # fmt: skip
def test_a_budget_that_does_not_add_up_is_refused(shares, message):
    """By a message that names the share."""
    with pytest.raises(ValueError, match=message):
        Budget(**shares)


def test_an_office_has_its_own_budget():
    """The others share the general one."""
    own = Budget(yellow=0.3, red=0.1)
    budget = Budget(yellow=0.08, red=0.02, offices={"DE001": own})
    assert budget.of("DE001") == own
    assert budget.of("DE002") is budget
    seen = Seen(np.linspace(0, 1, MEMORY), 0, 0, 0, 6)
    inspected = [np.mean([adapt(seen, budget.of(office), FAR_OFF[0]).inclusion(r) for r in seen.risks]) for office in ("DE001", "DE002")]  # fmt: skip
    assert inspected == pytest.approx([0.4, 0.1], abs=0.001)


def estimates(random_share, *, weeks, prevalence, adaptive):
    """Estimate the irregular share in 100 streams; returns truth and estimate of each."""
    budget = Budget(yellow=0.08, red=0.02, random=random_share)
    found = []
    for seed in range(100):
        random = np.random.default_rng(seed)
        inspected, truth, arrived, recent = [], 0, 0, np.empty(0)
        selected = red = 0
        for window in range(weeks * 42):
            risks = np.round(random.beta(1, 12, 30), 2)  # with ties
            irregular = random.random(30) < np.minimum(1, risks * prevalence)
            seen = Seen(recent, arrived, selected, red, 30) if adaptive else NOTHING
            thresholds = adapt(seen, budget, Thresholds(0.25, 0.4))
            for risk, bad in zip(risks, irregular, strict=True):
                decision = thresholds.decide(f"{seed}/{window}/{arrived}", float(risk), key=KEY)
                arrived += 1
                if decision.lane != "green":
                    selected += 1
                    red += decision.lane == "red"
                    inspected.append((bool(bad), decision.probability))
            truth += irregular.sum()
            recent = np.concatenate([recent, risks])[-MEMORY:]
        found.append((truth / arrived, estimate_prevalence(inspected, arrived)))
    return found


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("random_share", "weeks", "prevalence"), [(0.01, 1, 0.3), (0.02, 2, 0.6)])
def test_the_irregular_share_is_inside_its_interval(random_share, weeks, prevalence, adaptive):
    """Inverse probabilities undo the selection: 93 of 100 intervals hold, and none is biased."""
    found = estimates(random_share, weeks=weeks, prevalence=prevalence, adaptive=adaptive)
    inside = sum(rate.low <= truth <= rate.high for truth, rate in found)
    errors = np.array([rate.share - truth for truth, rate in found])
    width = np.mean([rate.high - rate.low for _, rate in found])
    print(
        f"inside {inside}, mean error {errors.mean():+.4f}, sd {errors.std():.4f}, width {width:.4f}"
    )
    assert inside >= 93
    assert abs(errors.mean()) <= 3 * errors.std() / np.sqrt(len(errors))


@pytest.mark.parametrize(
    ("inspected", "population", "expected"),
    [
        # All were inspected: known. None of the rest had a chance: nothing is known of it.
        ([(True, 1.0), (False, 1.0)], 2, (0.5, 0.5, 0.5)),
        ([(True, 1.0), (False, 1.0)], 4, (0.25, 0.25, 0.75)),
        # Of 1,000, 20 by chance, none irregular: at most 3.69 / 20, the exact Poisson limit.
        ([(False, 0.02)] * 20, 1000, (0.0, 0.0, 0.184)),
        # One of them: exact Poisson limits of one are 0.025 and 5.57.
        ([(False, 0.02)] * 19 + [(True, 0.02)], 1000, (0.05, 0.001, 0.279)),
    ],
)
def test_hit_rates_of_plain_cases(inspected, population, expected):
    """Equal weights give the exact Poisson interval, up to the approximated quantile."""
    rate = estimate_prevalence(inspected, population)
    assert (rate.share, rate.low, rate.high) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize(("inspected", "population"), [([], 0), ([(True, 0.0)], 5), ([(True, 1.0)] * 3, 2)])  # fmt: skip
def test_a_hit_rate_of_nonsense_is_refused(inspected, population):
    """Probability 0 cannot have been inspected."""
    with pytest.raises(ValueError, match="probability"):
        estimate_prevalence(inspected, population)
