"""Declarations → live signals: what other declarations and past inspections say, from Redis.

Observations are members of sets, never counters, so a redelivery changes nothing. A set keeps the
newest; each look-up is bounded. Sets hold the newest prices themselves, whose quantiles are exact:
a mergeable sketch would count a redelivered declaration twice.

The signals that an event was first scored with are recorded, and when it arrived; a redelivery gets
the same. Redis may be lost or slow at any time: then there are no signals, the verdict says so, and
nothing waits. Contents that this version did not write count as absent (streams/redis/contents.py).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Final

from redis.asyncio import Redis

from models.risk.signals import MIN_SPREAD, USES_SPREAD, LiveSignals, Peers
from streams.evidence.lookups import Lookups
from streams.evidence.observations import Observation, set_members
from streams.evidence.past_inspections import remembered
from streams.evidence.signal_query import YEAR, SignalQuery
from streams.redis.circuit_breaker import CircuitBreaker
from streams.redis.contents import (
    MOST_COUNTED,
    MOST_EUR,
    MOST_NATS,
    MOST_SECONDS,
    keep_first,
    refused,
    replies,
)
from streams.redis.keys import SignalKeys
from streams.redis.records import reader

LEAST_SPREAD: Final = min(MIN_SPREAD, USES_SPREAD)
"""Of the logarithms of prices."""
_read = reader(LiveSignals)


def read_signals(record: bytes | str, *, items: int | None = None) -> LiveSignals:
    """Read signals as they were recorded.

    Args:
        record: JSON.
        items: goods items of the declaration; None where that is not known yet.

    Raises:
        ValueError: they are not as this version writes them.
    """
    live = _read(record)
    peers = [item.price for item in live.items if item.price]
    peers += [item.photo.price for item in live.items if item.photo and item.photo.price]
    rates = [rate for item in live.items for rate in item.rates.values()]
    photos = [item.photo for item in live.items if item.photo]
    counts = [live.importer_day, live.seller_day, live.small_count, live.importer_day_ignored]
    counts += [count for use in photos for count in (use.same_heading, use.other_heading)]
    if not (
        0 < live.arrived <= MOST_SECONDS
        and items in {None, len(live.items)}
        and 0 <= live.small_value <= MOST_EUR
        and 0 <= min(counts) <= max(counts) <= MOST_COUNTED
        and all(map(_can_be, peers))
        and all(0 <= rate.irregular <= rate.inspected <= MOST_COUNTED for rate in rates)
    ):
        raise ValueError("not what signals can be")
    return live


def _can_be(peers: Peers) -> bool:
    return (
        0 < peers.count <= MOST_COUNTED
        and abs(peers.median) <= MOST_NATS
        and LEAST_SPREAD <= peers.spread <= MOST_NATS
    )


def write_signals(live: LiveSignals) -> str:
    """Return signals as they are recorded: JSON that `read_signals` reads to the same bits."""
    return json.dumps(asdict(live))


class Signals:
    """Three round trips a micro-batch, whatever its size; one where all was recorded before."""

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
        """Observe declarations and return the signals of each, in order; None without Redis.

        An event that was recorded before is not observed again: a sender may repeat it at another
        time, with which it would look up, and count, as another.
        """
        if observations and not self._breaker.is_open:
            with self._breaker:
                recorded = await self.recorded([each.event_id for each in observations])
                signals = {
                    each.event_id: live
                    for each, live in zip(observations, recorded, strict=True)
                    if live is not None and len(live.items) == len(each.declaration.goods_items)
                }
                fresh = [each for each in observations if each.event_id not in signals]
                if fresh:
                    signals |= await self._record(fresh, await self._look_up(fresh))
                return [signals[each.event_id] for each in observations]
        return [None] * len(observations)

    async def recorded(self, event_ids: Sequence[str]) -> list[LiveSignals | None]:
        """Return the signals that events were first scored with; None where they are gone.

        Raises:
            RedisError, OSError: the store fails.
        """
        keys = [self._keys.record(id_) for id_ in event_ids]
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.get(key)
            records = await replies(self._redis, pipeline)
        return [_recorded(*record) for record in zip(keys, records, strict=True)]

    async def remember(self, observations: Iterable[Observation]) -> None:
        """Keep for a year what an inspection of these declarations will count for."""
        contents = {
            self._keys.inspected(observation.declaration.declaration_id): remembered(
                self._keys, observation
            )
            for observation in observations
        }
        if not contents or self._breaker.is_open:
            return
        with self._breaker:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, content in contents.items():
                    pipeline.set(key, content, ex=YEAR)
                await pipeline.execute()

    async def _look_up(self, observations: Sequence[Observation]) -> list[LiveSignals]:
        """Observe all, then look up: the declarations of a micro-batch see each other."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for observation in observations:
                for key, member, newest in set_members(self._keys, observation):
                    pipeline.zadd(key, {member: observation.at})
                    pipeline.zremrangebyrank(key, 0, -newest - 1)
                    pipeline.expire(key, self._ttl)
            lookups = Lookups(self._redis, pipeline)
            queries = [
                SignalQuery(self._keys, observation, lookups) for observation in observations
            ]
            await lookups.execute()
        signals = [query.signals() for query in queries]
        if lookups.refused:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, garbage in lookups.refused:
                    pipeline.zrem(key, garbage)
                await pipeline.execute()
        return signals

    async def _record(
        self, observations: Sequence[Observation], fresh: Sequence[LiveSignals]
    ) -> dict[str, LiveSignals]:
        """Record the signals of each event, unless it has some; return those recorded first.

        Returns:
            event id → signals.
        """
        keys = [self._keys.record(each.event_id) for each in observations]
        values = [write_signals(signals) for signals in fresh]
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key, value in zip(keys, values, strict=True):
                pipeline.set(key, value, nx=True, get=True, ex=self._ttl)
            earlier = await replies(self._redis, pipeline)
        signals = {}
        for each, key, value, live, first in zip(
            observations, keys, values, fresh, earlier, strict=True
        ):
            kept = live
            if first is not None:
                kept = await keep_first(
                    self._redis,
                    key,
                    live,
                    value,
                    partial(read_signals, items=len(each.declaration.goods_items)),
                    seconds=int(self._ttl.total_seconds()),
                )
            signals[each.event_id] = kept
        return signals


def _recorded(key: str, record: bytes | None) -> LiveSignals | None:
    """Read a record; None where there is none, or none that this version can read."""
    if record is None:
        return None
    try:
        return read_signals(record)
    except ValueError as error:
        refused(key, error)
        return None
