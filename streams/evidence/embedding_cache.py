"""Embeddings in Redis, under content hash and encoder version. It may be lost at any time."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import metrics

log = structlog.get_logger(__name__)


class EmbeddingCache:
    """One round trip a micro-batch each way.

    A cache that fails, or is slow, is left alone for a while: then embeddings are computed
    afresh, which gives the same bits.
    """

    def __init__(self, redis: Redis, *, ttl: timedelta, pause_s: float) -> None:
        self._redis = redis
        self._ttl = ttl
        self._pause_s = pause_s
        self._paused_until = 0.0

    async def get(self, keys: Sequence[str], length: int) -> dict[str, bytes]:
        """Return what is cached of `keys`, each of `length` bytes; others are not taken."""
        if not keys or self._paused:
            metrics.CACHE.labels("unavailable").inc(len(keys))
            return {}
        try:
            values = cast(list[bytes | None], await self._redis.mget(keys))
        except (RedisError, OSError) as error:
            self._pause(error)
            metrics.CACHE.labels("unavailable").inc(len(keys))
            return {}
        found = {
            key: value
            for key, value in zip(keys, values, strict=True)
            if value is not None and len(value) == length
        }
        metrics.CACHE.labels("hit").inc(len(found))
        metrics.CACHE.labels("miss").inc(len(keys) - len(found))
        return found

    async def put(self, embeddings: Mapping[str, bytes]) -> None:
        """Cache embeddings; a failure costs only the next reader's time."""
        if not embeddings or self._paused:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, embedding in embeddings.items():
                    pipeline.set(key, embedding, ex=self._ttl)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._pause(error)

    @property
    def _paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _pause(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + self._pause_s
        log.warning("cache unavailable", error=type(error).__name__, pause_s=self._pause_s)
