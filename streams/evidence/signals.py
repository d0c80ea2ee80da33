"""Declarations → live signals: what other declarations and past inspections say, from Redis.

Observations are members of sets, never counters, so a redelivery changes nothing. A set keeps the
newest; each look-up is bounded. Sets hold the newest prices themselves, whose quantiles are exact:
a mergeable sketch would count a redelivered declaration twice.

The signals that an event was first scored with are recorded, and a redelivery gets the same. Redis
may be lost or slow at any time: then there are no signals, the verdict says so, and nothing waits.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Final

import structlog
from redis.asyncio import Redis

from models.risk.signals import LiveSignals
from streams.evidence.lookups import Lookups
from streams.evidence.observations import Observation, inspection_histories, set_members
from streams.evidence.signal_query import YEAR, SignalQuery
from streams.redis.circuit_breaker import CircuitBreaker
from streams.redis.keys import SignalKeys
from streams.redis.records import reader

KEPT: Final = 1024
"""Newest members that a set keeps."""
read_signals = reader(LiveSignals)
log = structlog.get_logger(__name__)


class Signals:
    """Two round trips a micro-batch, whatever its size."""

    def __init__(self, redis: Redis, *, keys: SignalKeys, ttl: timedelta, pause_s: float) -> None:
        """Take the store.

        Args:
            redis: with a timeout of its own.
            keys: of the sets and records.
            ttl: after which a trader, a code or a photo without new observations is forgotten; also
                how long a redelivery gets the signals of the first delivery.
            pause_s: without Redis after it failed.
        """
        self._redis = redis
        self._keys = keys
        self._ttl = ttl
        self._breaker = CircuitBreaker("signals unavailable", pause_s=pause_s)

    async def gather(self, observations: Sequence[Observation]) -> list[LiveSignals | None]:
        """Observe declarations and return the signals of each, in order; None without Redis."""
        if observations and not self._breaker.is_open:
            with self._breaker:
                fresh = await self._look_up(observations)
                return [*await self._record(observations, fresh)]
        return [None] * len(observations)

    async def recorded(self, event_ids: Sequence[str]) -> list[LiveSignals | None]:
        """Return the signals that events were first scored with; None where they are gone.

        Raises:
            RedisError, OSError: the store fails.
        """
        records = await self._redis.mget([self._keys.record(id_) for id_ in event_ids])
        return [_recorded(record) for record in records]  # type: ignore[arg-type] # bytes: undecoded

    async def remember(self, observations: Iterable[Observation]) -> None:
        """Keep for a year what an inspection of these declarations will count for."""
        histories = {
            self._keys.inspected(observation.declaration.declaration_id): inspection_histories(
                self._keys, observation
            )
            for observation in observations
        }
        if not histories or self._breaker.is_open:
            return
        with self._breaker:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, by_item in histories.items():
                    pipeline.set(key, json.dumps(by_item), ex=YEAR)
                await pipeline.execute()

    async def _look_up(self, observations: Sequence[Observation]) -> list[LiveSignals]:
        """Observe all, then look up: the declarations of a micro-batch see each other."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for observation in observations:
                for key, member in set_members(self._keys, observation):
                    pipeline.zadd(key, {member: observation.at})
                    pipeline.zremrangebyrank(key, 0, -KEPT - 1)
                    pipeline.expire(key, self._ttl)
            lookups = Lookups(pipeline)
            queries = [
                SignalQuery(self._keys, observation, lookups) for observation in observations
            ]
            await lookups.execute()
        return [query.signals() for query in queries]

    async def _record(
        self, observations: Sequence[Observation], fresh: Sequence[LiveSignals]
    ) -> list[LiveSignals]:
        """Record the signals of each event, unless it has some; return those recorded first."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for observation, signals in zip(observations, fresh, strict=True):
                pipeline.set(
                    self._keys.record(observation.event_id),
                    json.dumps(asdict(signals)),
                    nx=True,
                    get=True,
                    ex=self._ttl,
                )
            earlier = await pipeline.execute()
        return [
            _recorded(record) or signals for record, signals in zip(earlier, fresh, strict=True)
        ]


def _recorded(record: bytes | None) -> LiveSignals | None:
    """Read a record; None where there is none, or none that this version can read."""
    if record is None:
        return None
    try:
        return read_signals(record)
    except ValueError as error:
        # A worker of another version may have written it: no reason to stop this one.
        log.warning("recorded signals not read", error=type(error).__name__)
        return None
