"""inspection-outcomes → past inspections in Redis, dead-letters.

Outcomes must not be lost: where Redis fails the stage tries again for a while, then stops the
worker.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import structlog
from structlog.contextvars import bound_contextvars

from schemas import codec, rules
from schemas.codec import Undecodable
from schemas.records import InspectionOutcome
from streams import metrics
from streams.evidence.past_inspections import PastInspections
from streams.kafka.dead_letter import dead_letter, reason_of
from streams.kafka.events import Inbound, Outbound, identification
from streams.redis.circuit_breaker import FAILURES
from streams.retry import retrying

log = structlog.get_logger(__name__)


class Learn:
    """The stage; see the module."""

    def __init__(
        self,
        *,
        writers: Mapping[int, codec.Schema],
        inspections: PastInspections,
        now: Callable[[], datetime],
        attempts: int = 6,
        delay_s: float = 0.5,
    ) -> None:
        """Take the store.

        Args:
            writers: schema id → schema of outcomes.
            inspections: where outcomes are recorded.
            now: the clock.
            attempts: of a store that fails.
            delay_s: see `retrying`.
        """
        self._writers = writers
        self._inspections = inspections
        self._now = now
        self._retry = retrying(attempts=attempts, delay_s=delay_s)

    async def __call__(self, batch: Sequence[Inbound]) -> list[tuple[Outbound, ...]]:
        """Learn from a micro-batch; returns a dead letter for each event that is no outcome."""
        return [await self._learn(cause) for cause in batch]

    async def _learn(self, cause: Inbound) -> tuple[Outbound, ...]:
        try:
            outcome = codec.decode(cause.value, InspectionOutcome, self._writers)
            rules.check_outcome(outcome, cause.key)
            arrived = cause.arrived(self._now())
            id_ = outcome.declaration_id
            with bound_contextvars(
                service="past inspections", declaration_id=identification(id_), **cause.identity
            ):
                risk = await self._retry(FAILURES, self._inspections.assessed_risk, id_)
                fate = await self._retry(FAILURES, self._inspections.record, outcome, arrived)
        except FAILURES:
            raise
        except Exception as error:  # noqa: BLE001 - reported in its dead letter, and counted
            metrics.OUTCOMES.labels("dead_letter").inc()
            log.warning(
                "dead letter",
                declaration_id="" if isinstance(error, Undecodable) else identification(cause.key),
                **cause.identity,
                partition=cause.partition,
                offset=cause.offset,
                error=type(error).__name__,
                reason=reason_of(error),
            )
            return (dead_letter(cause, error, stage="learn", bundle_id=""),)
        metrics.OUTCOMES.labels(fate).inc()
        if fate in rules.RESULTS and risk is not None:
            band = metrics.risk_band(risk)
            metrics.INSPECTED.labels(band, fate).inc()
            metrics.INSPECTED_RISK.labels(band).inc(risk)
        return ()
