"""Injected truths and fates → what became of every declaration. Pure."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from streams.synthetic.irregularities import Truth

LANES = ("green", "yellow", "red")


@dataclass(slots=True)
class Scoreboard:
    """Counts fates, each event once, however often it is delivered."""

    truths: dict[str, Truth] = field(default_factory=dict)
    lanes: dict[str, str] = field(default_factory=dict)
    """Declaration → lane of its assessment."""
    letters: set[str] = field(default_factory=set)
    """Declarations that are dead letters."""
    alerts: dict[str, float] = field(default_factory=dict)
    """Declaration → when its alert was published. Unit: s since 1970-01-01T00:00Z."""
    explanations: dict[str, float] = field(default_factory=dict)
    """Declaration → when its explanation was published. Unit: as of `alerts`."""
    _values: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """Declaration → its distinct verdicts; more than one is a conflict."""

    def sent(self, truth: Truth) -> None:
        """Note that a declaration was sent."""
        self.truths[truth.declaration_id] = truth

    def assessed(self, declaration_id: str, lane: str, value: bytes) -> None:
        """Note an assessment; `value` is the event's, the same for every delivery."""
        self.lanes[declaration_id] = lane
        self._values[declaration_id].add(value)

    def dead(self, declaration_id: str) -> None:
        """Note a dead letter."""
        self.letters.add(declaration_id)

    def alerted(self, declaration_id: str, at: float) -> None:
        """Note an alert; the first delivery counts."""
        self.alerts.setdefault(declaration_id, at)

    def explained(self, declaration_id: str, at: float) -> None:
        """Note an explanation; the first delivery counts."""
        self.explanations.setdefault(declaration_id, at)

    @property
    def unexplained(self) -> int:
        """How many alerts have no explanation."""
        return len(self.alerts.keys() - self.explanations.keys())

    @property
    def settled(self) -> int:
        """How many of the sent declarations have a fate."""
        return sum(1 for id_ in self.truths if id_ in self.lanes or id_ in self.letters)

    def conflicts(self) -> list[str]:
        """Return the declarations with two different fates."""
        differing = {id_ for id_, values in self._values.items() if len(values) > 1}
        return sorted(differing | (self.lanes.keys() & self.letters))

    def by_kind(self, *, unseen: bool = False) -> dict[str, Counter[str]]:
        """Return kind → how many went to each lane, became dead letters, or got lost.

        Args:
            unseen: count goods that the model never saw, instead of the others.
        """
        counts: dict[str, Counter[str]] = {}
        for id_, truth in self.truths.items():
            if truth.unseen != unseen:
                continue
            no_lane = "dead_letter" if id_ in self.letters else "lost"
            counts.setdefault(truth.kind, Counter())[self.lanes.get(id_, no_lane)] += 1
        return counts

    def summary(self) -> dict[str, Any]:
        """Return the figures, as `--json` writes them; shares are fractions."""
        return {
            "sent": len(self.truths),
            "assessments": len(self.lanes),
            "dead_letters": len(self.letters),
            "lost": len(self.truths) - self.settled,
            "conflicting": len(self.conflicts()),
            "flagged": self.flagged(),
            "flagged_unseen": self.flagged(unseen=True),
            "alerts": len(self.alerts),
            "unexplained": self.unexplained,
            "explained_after_s": self._explained_after(),
        }

    def flagged(self, *, unseen: bool = False) -> dict[str, float]:
        """Return kind → share of its assessed declarations in the yellow or red lane."""
        shares = {}
        for kind, counts in sorted(self.by_kind(unseen=unseen).items()):
            if judged := sum(counts[lane] for lane in LANES):
                shares[kind] = round((counts["yellow"] + counts["red"]) / judged, 4)
        return shares

    def _explained_after(self) -> dict[str, float]:
        """Return how long after the alerts their explanations came. Unit: s."""
        explained = self.alerts.keys() & self.explanations.keys()
        waits = sorted(self.explanations[id_] - self.alerts[id_] for id_ in explained)
        if not waits:
            return {}
        shares = {"median": 0.5, "p95": 0.95, "most": 1.0}
        return {
            name: round(waits[math.ceil(share * len(waits)) - 1], 3)
            for name, share in shares.items()
        }
