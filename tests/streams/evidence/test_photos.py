"""Whatever a reference says, and whatever the storage does with it: a photo, or why there is none."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.reasons import Reason
from schemas.records import ImageReference
from streams.evidence.photos import NoPhoto, Photo, Photos
from streams.object_storage import ObjectStorage, Redirected
from tests.fakes import MemoryBucket

POISON = [
    "s3://goods-photos/none//b.jpg",
    "s3://goods-photos/./none.jpg",
    "s3://goods-photos/none/.",
    "s3://goods-photos//",
    "s3://goods-photos/none/",
    "s3://goods-photos/../goods-photos/a",
    "s3://goods-photos/a/..",
    "s3://goods-photos/%2e%2e/a",
    "s3://goods-photos/..%2fa",
    "s3://goods-photos/none\0",
    "s3://goods-photos/\r\nHost: example.org",
    "s3://goods-photos/none\ud800",
    "s3://goods-photos/" + "n" * 1025,
    "s3://goods-photos/" + "é" * 513,
    "s3://goods-photos/" + "n/" * 500_000,
    "s3://goods-photos/",
    "s3://goods-photos",
    "s3:///a",
    "s3://",
    "",
    "s3://goods-photos@example.org/a",
    "s3://goods-photos:80/a",
    "s3://GOODS-PHOTOS/a",
    "S3://goods-photos/a",
    "s3://other-bucket/a",
    "s3://goods-photos.example.org/a",
    "http://169.254.169.254/latest/meta-data",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "//goods-photos/a",
    " s3://goods-photos/a",
]
"""References under which there is no photo; some are legal keys of S3."""


class FailingBucket:
    """Raises an error, whatever it is asked."""

    def __init__(self, error):
        self.error = error

    async def read(self, key, *, max_bytes):
        raise self.error


def photos(bucket, name="goods-photos"):
    return Photos({name: bucket}, concurrency=2, deadline_s=5, max_bytes=1000)


async def outcome(source, uri):
    fetched = await source.fetch(ImageReference(uri=uri))
    return fetched.data if isinstance(fetched, Photo) else fetched.reason


@pytest.mark.parametrize("uri", POISON)
async def test_no_reference_is_an_error(uri):
    """The fake's client refuses some with a plain ValueError, as one may."""
    assert await outcome(photos(MemoryBucket()), uri) in {
        Reason.PHOTO_LOCATION_REFUSED,
        Reason.PHOTO_NOT_FOUND,
        Reason.PHOTO_UNAVAILABLE,
    }


@pytest.mark.heavy
async def test_no_reference_is_an_error_for_a_real_storage(stack):
    """And its reason is about the reference: the storage did answer."""
    storage = ObjectStorage(stack.settings())
    source = photos(storage.bucket("goods-photos"))
    reasons = {uri: await outcome(source, uri) for uri in POISON}
    await storage.close()
    assert {*reasons.values()} == {Reason.PHOTO_LOCATION_REFUSED, Reason.PHOTO_NOT_FOUND}
    not_found = {uri for uri, reason in reasons.items() if reason == Reason.PHOTO_NOT_FOUND}
    assert not_found == {POISON[n] for n in (0, 3, 4, 7, 8, 10)}


@given(st.text() | st.text().map("s3://goods-photos/{}".format))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_photo_or_a_reason(uri):
    fetched = asyncio.run(photos(MemoryBucket()).fetch(ImageReference(uri=uri, sha256=uri)))
    assert isinstance(fetched, NoPhoto)


@pytest.mark.parametrize(
    "error",
    [ValueError("key"), RuntimeError("key"), KeyError("key"), OSError("key"), TimeoutError()],
)
async def test_no_error_of_the_client_is_one_of_ours(error):
    """It gets keys from anybody; the detail does not repeat them."""
    fetched = await photos(FailingBucket(error)).fetch(ImageReference(uri="s3://goods-photos/a"))
    assert fetched == NoPhoto(Reason.PHOTO_UNAVAILABLE, type(error).__name__)


async def test_a_redirect_is_told():
    fetched = await photos(FailingBucket(Redirected())).fetch(
        ImageReference(uri="s3://goods-photos/a")
    )
    assert fetched == NoPhoto(Reason.PHOTO_UNAVAILABLE, "redirects are not followed")
