"""Evidence → slices that are scored one after the other, and their verdicts → those of all.

A declaration may have 999 goods items, which take a minute or more. Slices bound how long the model
is occupied at a time, and how much memory it needs. Goods items of equal evidence come one after
the other, whatever declaration they are of, so that `Scorer.score` asks the model once for them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from models.scoring.evidence import DeclarationEvidence, Verdict
from schemas.records import ItemAssessment

WEIGHT: Final = 16
"""Different goods items and photos of a slice, at most; but at least one goods item."""
ITEMS: Final = 128
"""Goods items of a slice, at most, equal ones included."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some goods items of some declarations."""

    evidence: tuple[DeclarationEvidence, ...]
    """As `Scorer.score` takes it."""
    places: tuple[tuple[int, tuple[int, ...]], ...]
    """Of each: its number among all declarations, and the places of the goods items in it."""


class Slices:
    """The slices of declarations; an iterable."""

    def __init__(self, evidence: Sequence[DeclarationEvidence]) -> None:
        self._evidence = evidence
        self._items: list[list[ItemAssessment | None]] = [
            [None] * len(declared.items) for declared in evidence
        ]
        self._revenue = [[0.0] * len(declared.items) for declared in evidence]

    def __iter__(self) -> Iterator[Slice]:
        some: list[tuple[int, int]] = []
        weight = 0
        for equal in self._equal_items():
            number, place = equal[0]
            item = self._evidence[number].items[place]
            added = 1 + (item.title is not None) + len(item.photos)
            if some and weight + added > WEIGHT:
                yield self._slice(some)
                some, weight = [], 0
            weight += added
            for each in equal:
                if len(some) == ITEMS:
                    yield self._slice(some)
                    some, weight = [], added
                some.append(each)
        if some:
            yield self._slice(some)

    def add(self, scored: Slice, verdicts: Sequence[Verdict]) -> None:
        """Take the verdicts on a slice's evidence."""
        for (number, places), verdict in zip(scored.places, verdicts, strict=True):
            for place, item, revenue in zip(
                places, verdict.items, verdict.revenue_of_items, strict=True
            ):
                self._items[number][place] = item
                self._revenue[number][place] = revenue

    def verdicts(self) -> list[Verdict]:
        """Return the verdict on each declaration, in order; every slice must have been added."""
        return [
            Verdict.of([item for item in items if item is not None], revenue)
            for items, revenue in zip(self._items, self._revenue, strict=True)
        ]

    def _equal_items(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the goods items of equal evidence: numbers of the declarations, and places."""
        groups: dict[bytes, list[tuple[int, int]]] = {}
        for number, declared in enumerate(self._evidence):
            for place, item in enumerate(declared.items):
                groups.setdefault(item.content, []).append((number, place))
        yield from groups.values()

    def _slice(self, some: Sequence[tuple[int, int]]) -> Slice:
        places: dict[int, list[int]] = {}
        for number, place in some:
            places.setdefault(number, []).append(place)
        return Slice(
            tuple(self._evidence[number].part(sorted(each)) for number, each in places.items()),
            tuple((number, tuple(sorted(each))) for number, each in places.items()),
        )
