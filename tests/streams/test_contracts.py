"""The same suite runs over the fake and the real service: what passes here may stand in there."""

from datetime import timedelta

import numpy as np
import pytest
from redis.asyncio import Redis

from schemas.reasons import Reason
from schemas.records import ImageReference
from streams.evidence.embedding_cache import EmbeddingCache
from streams.evidence.photos import NoPhoto, Photo, Photos
from streams.local.process import LOOPBACK, free_port
from streams.object_storage import ObjectStorage
from streams.settings import Settings
from tests.fakes import MemoryBucket

BUCKET = "goods-photos"


@pytest.fixture(params=["memory", "seaweedfs"])
async def bucket(request):
    """A bucket that holds two objects."""
    if request.param == "memory":
        bucket, storage = MemoryBucket(), None
    else:
        storage = ObjectStorage(request.getfixturevalue("stack").settings())
        bucket = storage.bucket(BUCKET)
    await bucket.write("contract/small", b"0123456789", media_type="image/jpeg")
    await bucket.write("contract/large", bytes(5000), media_type="image/jpeg")
    yield bucket
    if storage is not None:
        await storage.close()


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
async def test_a_photo_or_why_not(bucket, uri, sha256, expected):
    """Bytes with their hash, or the reason."""
    photos = Photos({BUCKET: bucket}, concurrency=2, deadline_s=10, max_bytes=4000)
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
    storage = ObjectStorage(Settings(**settings))
    buckets = {BUCKET: storage.bucket(BUCKET)}
    photos = Photos(buckets, concurrency=2, deadline_s=0.5, max_bytes=4000)
    photo = await photos.fetch(ImageReference(uri="s3://goods-photos/any"))
    await storage.close()
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
