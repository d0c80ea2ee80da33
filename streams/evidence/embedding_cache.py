"""Embeddings in Redis, under content hash and encoder version. It may be lost at any time."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import cast

from redis.asyncio import Redis

from streams import metrics
from streams.redis.circuit_breaker import CircuitBreaker


class EmbeddingCache:
    """One round trip a micro-batch each way.

    A cache that fails, or is slow, is left alone for a while: then embeddings are computed
    afresh, which gives the same bits.
    """

    def __init__(self, redis: Redis, *, ttl: timedelta, pause_s: float) -> None:
        self._redis = redis
        self._ttl = ttl
        self._breaker = CircuitBreaker("cache unavailable", pause_s=pause_s)

    async def get(self, keys: Sequence[str], length: int) -> dict[str, bytes]:
        """Return the cached values of `keys` that have `length` bytes; others count as misses."""
        if keys and not self._breaker.is_open:
            with self._breaker:
                values = cast(list[bytes | None], await self._redis.mget(keys))
                hits = {
                    key: value
                    for key, value in zip(keys, values, strict=True)
                    if value is not None and len(value) == length
                }
                metrics.CACHE.labels("hit").inc(len(hits))
                metrics.CACHE.labels("miss").inc(len(keys) - len(hits))
                return hits
        metrics.CACHE.labels("unavailable").inc(len(keys))
        return {}

    async def put(self, embeddings: Mapping[str, bytes]) -> None:
        """Cache embeddings; a failure costs only the next reader's time."""
        if not embeddings or self._breaker.is_open:
            return
        with self._breaker:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, embedding in embeddings.items():
                    pipeline.set(key, embedding, ex=self._ttl)
                await pipeline.execute()
