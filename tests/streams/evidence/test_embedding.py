"""What is cached of embeddings, and what of the cache is used."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
from fakeredis import FakeAsyncRedis

from models.encoding.backends import InferenceFailed
from streams.evidence.embedding import Embedder
from streams.evidence.embedding_cache import EmbeddingCache
from streams.redis.keys import embedding_key
from tests.fakes import FakeScorer

TEXTS = ["red shoes", "blue shoes"]


class Scorer(FakeScorer):
    """Fails for some texts; loses its GPU at others."""

    def embed_texts(self, texts):
        if "zeros" in texts:
            raise InferenceFailed("NotFinite")
        if "lost" in texts:
            self.text_encoder_id = "text-1-on-cpu"
        return super().embed_texts(texts)


@pytest.fixture
def scorer():
    return Scorer()


@pytest.fixture
def cache():
    return EmbeddingCache(FakeAsyncRedis(), ttl=timedelta(days=1), pause_s=1)


@pytest.fixture
def embedder(scorer, cache):
    return Embedder(scorer, cache, ThreadPoolExecutor(1))


async def test_a_cached_embedding_that_is_not_finite_is_computed_again(embedder, scorer, cache):
    """An earlier version cached whatever the encoder gave."""
    expected = await embedder.texts(TEXTS)
    (key, *_) = [key.decode() async for key in cache._redis.scan_iter("embedding:*")]
    await cache.put({key: np.full(scorer.text_dimension, np.nan, np.float32).tobytes()})
    scorer.texts.clear()
    embedded = await embedder.texts(TEXTS)
    assert {text: vector.tolist() for text, vector in embedded.items()} == {
        text: vector.tolist() for text, vector in expected.items()
    }
    assert len(scorer.texts) == 1


async def test_nothing_is_cached_while_the_gpu_is_lost(embedder, scorer, cache):
    """Nobody knows which processor computed what; afterwards all goes under the new encoder's id."""
    embedded = await embedder.texts([*TEXTS, "lost"])
    assert embedded.keys() == {*TEXTS, "lost"}
    assert await cache._redis.dbsize() == 0
    await embedder.texts(TEXTS)
    keys = [key.decode() async for key in cache._redis.scan_iter("embedding:*")]
    assert {key.rpartition(":")[0] for key in keys} == {
        embedding_key("text-1-on-cpu", "").rpartition(":")[0]
    }


async def test_what_cannot_be_embedded_caches_nothing(embedder, cache):
    """The error goes to whoever tries each declaration alone."""
    with pytest.raises(InferenceFailed):
        await embedder.texts([*TEXTS, "zeros"])
    assert await cache._redis.dbsize() == 0
