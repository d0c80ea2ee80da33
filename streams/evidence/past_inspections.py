"""Inspection outcomes → past inspections in Redis, which later declarations are rated by."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import TypeAdapter
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from schemas.records import InspectionOutcome
from streams.evidence.signal_query import YEAR
from streams.redis.keys import SignalKeys, inspection_keys

Histories = Mapping[str, Sequence[str]]
HISTORIES: Final = TypeAdapter(dict[str, list[str]])
"""Goods item's sequence number → its histories; see `inspection_histories`."""
DECISION: Final = TypeAdapter(tuple[float, str])
"""Time of a decision (s since 1970-01-01T00:00Z) and id of the outcome."""


class PastInspections:
    """Counts each goods item's last inspection in all its histories."""

    def __init__(
        self, redis: Redis, *, keys: SignalKeys, now: Callable[[], float] = time.time
    ) -> None:
        """Take the store; `now` is the clock (s since 1970-01-01T00:00Z)."""
        self._redis = redis
        self._keys = keys
        self._now = now

    async def record(self, outcome: InspectionOutcome) -> str:
        """Record an outcome, unless this or a later decision on the declaration is already.

        Returns:
            its result; or `known` where it was recorded already, and `unknown` where the
            declaration was not selected here, or more than a year ago.

        Raises:
            RedisError, OSError: the store fails; to record again is safe.
        """
        id_ = outcome.declaration_id
        keys = self._keys.inspected(id_), self._keys.decided(id_), self._keys.learned(id_)
        remembered, decided, learned = await self._redis.mget(keys)
        if remembered is None:
            return "unknown"
        decision = outcome.decided_at.timestamp(), outcome.outcome_id
        if decided is not None and DECISION.validate_json(decided) >= decision:
            return "known"
        async with self._redis.pipeline(transaction=True) as pipeline:
            # An amendment may have changed the code or a trader since the last decision: what was
            # declared before must not keep it.
            self._remove(pipeline, id_, HISTORIES.validate_json(learned or b"{}"))
            self._add(pipeline, outcome, HISTORIES.validate_json(remembered))
            pipeline.set(self._keys.learned(id_), remembered, ex=YEAR)
            pipeline.set(self._keys.decided(id_), json.dumps(decision), ex=YEAR)
            await pipeline.execute()
        return outcome.result

    def _remove(self, pipeline: Pipeline, declaration_id: str, histories: Histories) -> None:
        for item, of_item in histories.items():
            member = self._member(declaration_id, item)
            for history in of_item:
                for key in inspection_keys(history):
                    pipeline.zrem(key, member)

    def _add(self, pipeline: Pipeline, outcome: InspectionOutcome, histories: Histories) -> None:
        at = outcome.decided_at.timestamp()
        # A decision dated in the future by mistake must not make all others old.
        expired = min(at, self._now()) - 2 * YEAR
        for item, of_item in histories.items():
            member = self._member(outcome.declaration_id, item)
            for history in of_item:
                inspected, irregular = inspection_keys(history)
                pipeline.zadd(inspected, {member: at})
                if _is_irregular(outcome, int(item)):
                    pipeline.zadd(irregular, {member: at})
                else:
                    pipeline.zrem(irregular, member)
                for key in (inspected, irregular):
                    pipeline.zremrangebyscore(key, "-inf", expired)
                    pipeline.expire(key, YEAR)

    def _member(self, declaration_id: str, item: str) -> str:
        return f"{self._keys.digest(declaration_id)}|{item}"


def _is_irregular(outcome: InspectionOutcome, item: int) -> bool:
    """Whether a goods item is; a finding on no goods item is one on the whole declaration."""
    numbers = {finding.sequence_number for finding in outcome.findings}
    return outcome.result == "irregular" and (not numbers or 0 in numbers or item in numbers)
