"""Risks → lanes: by risk profile, by capacity, by the bundle's thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.selection.policy import Decision, Thresholds
from schemas.records import Declaration, RiskProfile
from streams.selection.capacity import Capacity, Decided, InForce


@dataclass(frozen=True, slots=True)
class Judged:
    """A declaration with its risk, before it has a lane."""

    declaration: Declaration
    risk: float
    profiles: Sequence[RiskProfile]
    """In force, that match."""


@dataclass(frozen=True, slots=True)
class InLane:
    """A decision on a declaration."""

    decision: Decision
    degraded: bool
    """The capacity was unknown, though one was set."""


class Lanes:
    """Decides on the lanes of a micro-batch."""

    def __init__(self, fallback: Thresholds, capacity: Capacity | None, *, key: bytes) -> None:
        """Take what decides.

        Args:
            fallback: thresholds of the bundle, in force without a capacity.
            capacity: of the inspectors; None where none was set.
            key: see `Thresholds.decide`.
        """
        self._fallback = fallback
        self._capacity = capacity
        self._key = key

    async def decide(self, judged: Sequence[Judged]) -> list[InLane]:
        """Return each one's lane, in order."""
        in_force = [InForce(self._fallback, degraded=False)] * len(judged)
        if self._capacity is not None:
            in_force = await self._capacity.thresholds(
                [
                    (one.declaration.acceptance_time, one.declaration.declaration_office)
                    for one in judged
                ]
            )
        decisions = [
            now.thresholds.decide(
                one.declaration.declaration_id, one.risk, one.profiles, key=self._key
            )
            for one, now in zip(judged, in_force, strict=True)
        ]
        if self._capacity is not None:
            await self._capacity.record(
                Decided(
                    one.declaration.declaration_id,
                    one.declaration.acceptance_time,
                    one.declaration.declaration_office,
                    one.risk,
                    decision.charged,
                )
                for one, decision in zip(judged, decisions, strict=True)
            )
        return [InLane(d, now.degraded) for d, now in zip(decisions, in_force, strict=True)]
