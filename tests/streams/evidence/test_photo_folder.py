"""Photos of a folder: found by key or name, never outside, refused as in a worker."""

import hashlib

import pytest

from schemas.reasons import Reason
from schemas.records import ImageReference
from streams.evidence.photo_folder import PhotoFolder
from streams.evidence.photos import NoPhoto
from tests.streams.evidence.test_photos import POISON


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    photos = tmp_path / "photos"
    (photos / "0f").mkdir(parents=True)
    (photos / "0f" / "shoe.jpg").write_bytes(b"by key")
    (photos / "shoe.jpg").write_bytes(b"by name")
    (photos / "large").write_bytes(bytes(101))
    (photos / "link").symlink_to(tmp_path / "secret")
    return photos


async def fetched(folder, uri, sha256=""):
    reference = ImageReference(uri=uri, sha256=sha256)
    photo = await PhotoFolder(folder, max_bytes=100).fetch(reference)
    return photo.reason if isinstance(photo, NoPhoto) else photo.data


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("s3://goods-photos/0f/shoe.jpg", b"by key"),
        ("s3://other-bucket/0f/shoe.jpg", b"by key"),
        ("s3://goods-photos/shoe.jpg", b"by name"),
        ("s3://goods-photos/9a/shoe.jpg", b"by name"),
        ("s3://goods-photos//0f/shoe.jpg", b"by key"),
        ("s3://goods-photos/0f//shoe.jpg", b"by key"),
        ("s3://goods-photos/./shoe.jpg", b"by name"),
        ("s3://goods-photos/large", Reason.PHOTO_TOO_LARGE),
        ("s3://goods-photos/none.jpg", Reason.PHOTO_NOT_FOUND),
        ("s3://goods-photos/0f", Reason.PHOTO_NOT_FOUND),
        ("s3://goods-photos/0f/", Reason.PHOTO_NOT_FOUND),
        ("s3://goods-photos/link", Reason.PHOTO_NOT_FOUND),
        ("s3://goods-photos//etc/passwd", Reason.PHOTO_NOT_FOUND),
        ("s3://goods-photos/a\0b", Reason.PHOTO_NOT_FOUND),
        ("s3://goods-photos/" + "a" * 1000, Reason.PHOTO_NOT_FOUND),
        ("s3://goods-photos/../secret", Reason.PHOTO_LOCATION_REFUSED),
        ("shoe.jpg", Reason.PHOTO_LOCATION_REFUSED),
        ("", Reason.PHOTO_LOCATION_REFUSED),
    ],
)
async def test_a_reference_finds_its_file_or_a_reason(folder, uri, found):
    """The whole key goes before its last part; no bucket is refused."""
    assert await fetched(folder, uri) == found


async def test_a_photo_must_be_the_declared_one(folder):
    """By its hash, where the sender gives one."""
    uri = "s3://goods-photos/shoe.jpg"
    assert await fetched(folder, uri, hashlib.sha256(b"by name").hexdigest()) == b"by name"
    assert await fetched(folder, uri, "0" * 64) == Reason.PHOTO_CHANGED


async def test_without_a_folder_no_photo_is_found():
    """Missing evidence, no error."""
    assert await fetched(None, "s3://goods-photos/shoe.jpg") == Reason.PHOTO_NOT_FOUND


@pytest.mark.parametrize("uri", POISON)
async def test_no_reference_is_an_error(folder, uri):
    """Whatever it names."""
    assert await fetched(folder, uri) in {Reason.PHOTO_NOT_FOUND, Reason.PHOTO_LOCATION_REFUSED}
