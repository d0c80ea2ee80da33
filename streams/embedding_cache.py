"""Embeddings in Redis, under content hash and encoder version. It may be lost at any time."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import cast

import numpy as np
import structlog
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import metrics

Vector = NDArray[np.float32]
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

    async def get(self, keys: Sequence[str], dimension: int) -> dict[str, Vector]:
        """Return what is cached of `keys`, each a vector of `dimension`."""
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
            key: np.frombuffer(value, np.float32)
            for key, value in zip(keys, values, strict=True)
            if value is not None and len(value) == dimension * np.dtype(np.float32).itemsize
        }
        metrics.CACHE.labels("hit").inc(len(found))
        metrics.CACHE.labels("miss").inc(len(keys) - len(found))
        return found

    async def put(self, vectors: Mapping[str, Vector]) -> None:
        """Cache vectors; a failure costs only the next reader's time."""
        if not vectors or self._paused:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, vector in vectors.items():
                    pipeline.set(key, vector.tobytes(), ex=self._ttl)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._pause(error)

    @property
    def _paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _pause(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + self._pause_s
        log.warning("cache unavailable", error=type(error).__name__, pause_s=self._pause_s)
