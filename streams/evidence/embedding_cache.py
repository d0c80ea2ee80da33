"""Embeddings in Redis, under content hash and encoder version. It may be lost at any time."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis

from streams import metrics
from streams.redis.circuit_breaker import CircuitBreaker
from streams.redis.contents import refused, replies

CHECKSUM_BYTES: Final = 16


class EmbeddingCache:
    """One round trip a micro-batch each way.

    A cache that fails, or is slow, is left alone for a while: then embeddings are computed
    afresh, which gives the same bits. So they are where what lies there is not what was put:
    garbage would be a wrong verdict.
    """

    def __init__(self, redis: Redis, *, ttl: timedelta, pause_s: float) -> None:
        self._redis = redis
        self._ttl = ttl
        self._breaker = CircuitBreaker("cache unavailable", pause_s=pause_s)

    async def get(self, keys: Sequence[str], length: int) -> dict[str, bytes]:
        """Return the cached values of `keys` that have `length` bytes; others count as misses."""
        if keys and not self._breaker.is_open:
            with self._breaker:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for key in keys:
                        pipeline.get(key)
                    values = await replies(self._redis, pipeline)
                hits = {}
                for key, value in zip(keys, values, strict=True):
                    if value is None:
                        continue
                    embedding = value[CHECKSUM_BYTES:]
                    if len(embedding) == length and value == _sealed(key, embedding):
                        hits[key] = embedding
                    else:
                        refused(key, ValueError())
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
                    pipeline.set(key, _sealed(key, embedding), ex=self._ttl)
                await pipeline.execute()


def _sealed(key: str, embedding: bytes) -> bytes:
    """Return what is cached: a checksum of key and embedding, then the embedding."""
    checksum = hashlib.blake2b(embedding, digest_size=CHECKSUM_BYTES, key=key.encode()[-64:])
    return checksum.digest() + embedding
