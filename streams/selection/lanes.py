"""Risks → lanes: by risk profile, by capacity, by the bundle's thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models.selection.policy import Decision, Thresholds
from schemas.records import Declaration, RiskProfile
from streams.selection.capacity import Capacity, CapacityUse, ThresholdsInForce


@dataclass(frozen=True, slots=True)
class LaneRequest:
    """A declaration that needs a lane."""

    declaration: Declaration
    arrived: datetime
    risk: float
    """Calibrated. Fraction."""
    profiles: Sequence[RiskProfile]
    """In force, that match."""


@dataclass(frozen=True, slots=True)
class LaneDecision:
    """The lane of a declaration."""

    decision: Decision
    degraded: bool
    """A capacity is set, but Redis could not be asked for it."""
    thresholds: Thresholds
    """In force."""
    profiles: Sequence[RiskProfile]
    """In force, that match."""


class Lanes:
    """Decides on the lanes of a micro-batch."""

    def __init__(self, fallback: Thresholds, capacity: Capacity | None, *, key: bytes) -> None:
        """Take what decides.

        Args:
            fallback: thresholds of the bundle, in force without a capacity.
            capacity: of the inspectors; None where none is set.
            key: see `Thresholds.decide`.
        """
        self._fallback = fallback
        self._capacity = capacity
        self._key = key

    async def decide(self, requests: Sequence[LaneRequest]) -> list[LaneDecision]:
        """Return the lane of each declaration, in order."""
        decisions = [
            LaneDecision(
                in_force.thresholds.decide(
                    request.declaration.declaration_id,
                    request.risk,
                    request.profiles,
                    key=self._key,
                ),
                in_force.degraded,
                in_force.thresholds,
                request.profiles,
            )
            for request, in_force in zip(requests, await self._in_force(requests), strict=True)
        ]
        if self._capacity is not None:
            await self._capacity.record(
                CapacityUse(
                    request.declaration.declaration_id,
                    request.arrived,
                    request.declaration.declaration_office,
                    request.risk,
                    lane.decision.charged,
                )
                for request, lane in zip(requests, decisions, strict=True)
            )
        return decisions

    async def _in_force(self, requests: Sequence[LaneRequest]) -> list[ThresholdsInForce]:
        if self._capacity is None:
            return [ThresholdsInForce(self._fallback, degraded=False)] * len(requests)
        return await self._capacity.thresholds(
            [(request.arrived, request.declaration.declaration_office) for request in requests]
        )
