"""Declarations → live signals: what other declarations and past inspections say, from Redis.

What is observed are members of sets, never counters, so to observe twice is to observe once. A set
keeps the newest; each look-up is bounded. Prices are the newest ones themselves, whose quantiles
are exact: a mergeable sketch would count a redelivered declaration twice.

The signals that an event was first scored with are recorded, and a redelivery gets those. Redis may
be lost or slow at any time: then there are none, the verdict says so, and nothing waits.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.risk.signals import ItemSignals, LiveSignals, Peers, PhotoUse, Rate
from streams.evidence.observations import YEAR, Keys, Observed, Question, observations

KEPT: Final = 1024
"""Newest members that a set keeps."""
log = structlog.get_logger(__name__)


class Signals:
    """Two round trips a micro-batch, whatever its size."""

    def __init__(self, redis: Redis, *, keys: Keys, ttl: timedelta, pause_s: float) -> None:
        """Take the store.

        Args:
            redis: with a timeout of its own.
            keys: names of the sets.
            ttl: without news of a trader, a code or a photo; also how long a redelivery gets the
                signals it had.
            pause_s: without Redis after it failed.
        """
        self._redis = redis
        self._keys = keys
        self._ttl = ttl
        self._pause_s = pause_s
        self._paused_until = 0.0

    async def gather(self, found: Sequence[Observed]) -> list[LiveSignals | None]:
        """Observe declarations and return the signals of each; None without Redis."""
        if not found or time.monotonic() < self._paused_until:
            return [None] * len(found)
        try:
            fresh = await self._look_up(found)
            return [*await self._record(found, fresh)]
        except (RedisError, OSError) as error:
            self._paused_until = time.monotonic() + self._pause_s
            log.warning("signals unavailable", error=type(error).__name__, pause_s=self._pause_s)
            return [None] * len(found)

    async def recorded(self, event_ids: Sequence[str]) -> list[LiveSignals | None]:
        """Return the signals that events were first scored with; None where they are gone.

        Raises:
            RedisError, OSError: the store fails.
        """
        found = await self._redis.mget([self._keys.record(id_) for id_ in event_ids])
        return [_recorded(record) for record in found]  # type: ignore[arg-type] # bytes: undecoded

    async def remember(self, found: Iterable[Observed]) -> None:
        """Keep what `learn` needs of declarations that are to be inspected, for a year."""
        kept = {self._keys.inspected(one.declaration.declaration_id): one for one in found}
        if not kept or time.monotonic() < self._paused_until:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, one in kept.items():
                    pipeline.set(key, json.dumps(self._keys.rated(one)), ex=YEAR)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._paused_until = time.monotonic() + self._pause_s
            log.warning("signals unavailable", error=type(error).__name__, pause_s=self._pause_s)

    async def _look_up(self, found: Sequence[Observed]) -> list[LiveSignals]:
        """Observe all, then ask: declarations of one micro-batch see each other."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for one in found:
                for key, score, member in observations(self._keys, one):
                    pipeline.zadd(key, {member: score})
                    pipeline.zremrangebyrank(key, 0, -KEPT - 1)
                    pipeline.expire(key, self._ttl)
            observing = len(pipeline)
            questions = [Question(self._keys, one) for one in found]
            sizes = [question.ask(pipeline) for question in questions]
            answers = iter((await pipeline.execute())[observing:])
        return [
            question.signals([next(answers) for _ in range(size)])
            for question, size in zip(questions, sizes, strict=True)
        ]

    async def _record(
        self, found: Sequence[Observed], fresh: Sequence[LiveSignals]
    ) -> Iterator[LiveSignals]:
        """Return what was recorded first of each event."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for one, signals in zip(found, fresh, strict=True):
                pipeline.set(
                    self._keys.record(one.event_id),
                    json.dumps(asdict(signals)),
                    nx=True,
                    get=True,
                    ex=self._ttl,
                )
            earlier = await pipeline.execute()
        return (
            _recorded(record) or signals for record, signals in zip(earlier, fresh, strict=True)
        )


def _recorded(record: bytes | None) -> LiveSignals | None:
    """Return the signals of a record; None where there is none that this version can read."""
    if record is None:
        return None
    try:
        return read(json.loads(record))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # A worker of another version may have written it: no reason to stop this one.
        log.warning("recorded signals not read", error=type(error).__name__)
        return None


def _use(one: Mapping[str, Any]) -> PhotoUse:
    return PhotoUse(**{**one, "price": one["price"] and Peers(**one["price"])})


def read(record: Mapping[str, Any]) -> LiveSignals:
    """Return signals from their record.

    Raises:
        TypeError, KeyError, AttributeError: it is of another format.
    """

    def item(one: Mapping[str, Any]) -> ItemSignals:
        return ItemSignals(
            price=one["price"] and Peers(**one["price"]),
            photo=one["photo"] and _use(one["photo"]),
            rates={name: Rate(**rate) for name, rate in one["rates"].items()},
        )

    return LiveSignals(**{**record, "items": tuple(map(item, record["items"]))})
