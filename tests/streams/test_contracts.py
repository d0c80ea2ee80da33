"""The same suite runs over the fake and the real service: what passes here may stand in there."""

from datetime import timedelta

import numpy as np
import obstore
import pytest
from obstore.store import MemoryStore
from redis.asyncio import Redis

from schemas.reasons import Reason
from schemas.records import ImageReference
from streams.evidence.embedding_cache import EmbeddingCache
from streams.evidence.photos import NoPhoto, Photo, Photos, stores
from streams.local.process import LOOPBACK, free_port
from streams.settings import Settings

BUCKET = "goods-photos"


@pytest.fixture(params=["memory", "seaweedfs"])
def store(request):
    """An object store that holds two objects."""
    if request.param == "memory":
        store = MemoryStore()
    else:
        store = stores(request.getfixturevalue("stack").settings())[BUCKET]
    obstore.put(store, "contract/small", b"0123456789")
    obstore.put(store, "contract/large", bytes(5000))
    return store


@pytest.mark.parametrize(
    ("uri", "sha256", "expected"),
    [
        ("s3://goods-photos/contract/small", "", b"0123456789"),
        ("s3://goods-photos/contract/small", "84D89877F0D4041EFB6BF91A16F0248F2FD573E6AF05C19F96BEDB9F882F7882", b"0123456789"),
        ("s3://goods-photos/contract/small", "0" * 64, Reason.PHOTO_CHANGED),
        ("s3://goods-photos/contract/large", "", Reason.PHOTO_TOO_LARGE),
        ("s3://goods-photos/contract/none", "", Reason.PHOTO_NOT_FOUND),
        ("s3://goods-photos/contract/../../etc", "", Reason.PHOTO_LOCATION_REFUSED),
        ("s3://elsewhere/contract/small", "", Reason.PHOTO_LOCATION_REFUSED),
        ("https://example.org/small", "", Reason.PHOTO_LOCATION_REFUSED),
    ],
)  # fmt: skip
async def test_a_photo_or_why_not(store, uri, sha256, expected):
    """Bytes with their hash, or the reason."""
    photos = Photos({BUCKET: store}, concurrency=2, deadline_s=10, max_bytes=4000)
    photo = await photos.fetch(ImageReference(uri=uri, sha256=sha256))
    outcome = photo.data if isinstance(photo, Photo) else photo.reason
    assert outcome == expected


async def test_a_storage_that_does_not_answer_is_no_photo():
    """Promise 3: slow or silent storage degrades the verdict, it does not stop it."""
    settings = {
        "s3_endpoint": f"http://{LOOPBACK}:{free_port()}",
        "s3_access_key_id": "k",
        "s3_secret_access_key": "s",
        "photo_deadline_s": 0.5,
    }
    from_nowhere = stores(Settings(**settings))
    photos = Photos(from_nowhere, concurrency=2, deadline_s=0.5, max_bytes=4000)
    photo = await photos.fetch(ImageReference(uri="s3://goods-photos/any"))
    assert isinstance(photo, NoPhoto)
    assert photo.reason == Reason.PHOTO_UNAVAILABLE


async def test_the_cache_gives_back_the_same_bits(redis):
    """What was put is got, what was not is absent, and a vector of another length is not taken."""
    cache = EmbeddingCache(redis, ttl=timedelta(minutes=1), pause_s=1)
    vector = np.array([0.1, -2.5, 3e-7], np.float32).tobytes()
    await cache.put({"a": vector})
    values = await cache.get(["a", "b"], len(vector))
    assert list(values) == ["a"]
    assert values["a"] == vector
    assert await cache.get(["a"], len(vector) + 1) == {}


async def test_a_cache_that_is_gone_is_left_alone_and_misses():
    """Redis may be lost at any time: no error, no waiting again and again."""
    client = Redis.from_url(f"redis://{LOOPBACK}:{free_port()}/0", socket_connect_timeout=0.2)
    cache = EmbeddingCache(client, ttl=timedelta(minutes=1), pause_s=60)
    assert await cache.get(["a"], 3) == {}
    await client.aclose()
    cache._redis = None  # were it asked again, this would raise
    assert await cache.get(["a"], 3) == {}
    await cache.put({"a": bytes(12)})
