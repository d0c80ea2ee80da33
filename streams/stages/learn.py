"""inspection-outcomes → past inspections in Redis, dead-letters.

Outcomes must not be lost: where Redis fails the stage tries again for a while, then stops the
worker.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from schemas import codec, rules
from schemas.codec import Undecodable
from schemas.records import InspectionOutcome
from streams import metrics
from streams.evidence.observations import YEAR, Keys, rate_keys
from streams.kafka.dead_letter import dead_letter
from streams.kafka.events import Inbound, Outbound

log = structlog.get_logger(__name__)


class Learn:
    """The stage; see the module."""

    def __init__(
        self,
        *,
        writers: Mapping[int, codec.Schema],
        redis: Redis,
        keys: Keys,
        attempts: int = 6,
        delay_s: float = 0.5,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take the store; a failing one is tried `attempts` times, each wait twice the last."""
        self._writers = writers
        self._redis = redis
        self._keys = keys
        self._attempts = attempts
        self._delay_s = delay_s
        self._now = now

    async def __call__(self, batch: Sequence[Inbound]) -> list[tuple[Outbound, ...]]:
        """Learn from a micro-batch; only what is no outcome leads to an event, a dead letter."""
        return [await self._one(cause) for cause in batch]

    async def _one(self, cause: Inbound) -> tuple[Outbound, ...]:
        try:
            outcome = codec.decode(cause.value, InspectionOutcome, self._writers)
            rules.check_outcome(outcome, cause.key)
        except Undecodable as error:
            metrics.OUTCOMES.labels("dead_letter").inc()
            return (dead_letter(cause, error, stage="learn", bundle_id=""),)
        for attempt in range(self._attempts):
            try:
                metrics.OUTCOMES.labels(await self._learn(outcome)).inc()
            except (RedisError, OSError) as error:
                if attempt == self._attempts - 1:
                    raise
                log.warning("outcome not learned yet", error=type(error).__name__)
                await asyncio.sleep(self._delay_s * 2**attempt)
            else:
                break
        return ()

    async def _learn(self, outcome: InspectionOutcome) -> str:
        """Record an outcome, unless a later decision on the declaration was."""
        last = self._keys.of("decided", outcome.declaration_id)
        learned = self._keys.of("learned", outcome.declaration_id)
        remembered, before, former = await self._redis.mget(
            [self._keys.inspected(outcome.declaration_id), last, learned]
        )
        if remembered is None:  # selected by nobody here, or a year ago
            return "unknown"
        at = outcome.decided_at.timestamp()
        decision = [at, outcome.outcome_id]
        if before is not None and json.loads(before) >= decision:
            return "known"
        wrong = {finding.sequence_number for finding in outcome.findings}
        who = self._keys.digest(outcome.declaration_id)
        # A decision dated in the future by mistake must not make all others old.
        old = min(at, self._now()) - 2 * YEAR
        async with self._redis.pipeline(transaction=True) as pipeline:
            # An amendment in between may have changed the code or a trader: no decision counts for
            # what was declared before as well.
            for item, rated in json.loads(former or b"{}").items():
                for name in rated:
                    for key in rate_keys(name):
                        pipeline.zrem(key, f"{who}|{item}")
            for item, rated in json.loads(remembered).items():
                # A finding on no goods item is one on the whole declaration.
                irregular = outcome.result == "irregular" and (
                    not wrong or 0 in wrong or int(item) in wrong
                )
                member = f"{who}|{item}"
                for name in rated:
                    inspected, found = rate_keys(name)
                    pipeline.zadd(inspected, {member: at})
                    if irregular:
                        pipeline.zadd(found, {member: at})
                    else:
                        pipeline.zrem(found, member)
                    for key in (inspected, found):
                        pipeline.zremrangebyscore(key, "-inf", old)
                        pipeline.expire(key, YEAR)
            pipeline.set(learned, remembered, ex=YEAR)
            pipeline.set(last, json.dumps(decision), ex=YEAR)
            await pipeline.execute()
        return outcome.result
