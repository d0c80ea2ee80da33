"""Image reference → the bytes of the photo, checked, or the reason why it is missing.

References come from outside, so: s3:// only, allow-listed buckets, one fixed endpoint, a cap on
the bytes while they stream, and the declared hash. Whatever a reference says, and whatever the
storage does with it, a declaration is judged: the verdict rests on the other evidence then, and is
marked degraded.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from schemas.reasons import Reason
from schemas.records import ImageReference
from streams import metrics
from streams.logs import trace
from streams.object_storage import Bucket, KeyRefused, NoSuchKey, Redirected, TooLarge

REFERENCE: Final = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>.+)", re.DOTALL
)
MAX_KEY: Final = 1024
"""Longest key of an object that S3 allows. Unit: bytes of UTF-8."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Photo:
    """The file of a photo."""

    sha256: str
    data: bytes


@dataclass(frozen=True, slots=True)
class NoPhoto:
    """Why a photo is missing."""

    reason: Reason
    detail: str = ""


class PhotoSource(Protocol):
    """Where photos come from."""

    async def fetch(self, reference: ImageReference) -> Photo | NoPhoto:
        """Fetch a photo; a bad or missing one gives a reason, not an error."""


class Refused(Exception):  # noqa: N818 - says what it is
    """A photo that is not used, and why."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason)
        self.no_photo = NoPhoto(reason, detail)


class Photos:
    """Fetches photos from the allow-listed buckets of an object storage."""

    def __init__(
        self,
        buckets: Mapping[str, Bucket],
        *,
        concurrency: int,
        deadline_s: float,
        max_bytes: int,
    ) -> None:
        self._buckets = buckets
        self._slots = asyncio.Semaphore(concurrency)
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes

    async def fetch(self, reference: ImageReference) -> Photo | NoPhoto:
        """Fetch a photo within the deadline; a bad or missing one gives a reason, not an error."""
        try:
            bucket, key = self._locate(reference.uri)
            return checked(await self._read(bucket, key), reference)
        except Refused as refused:
            return refused.no_photo

    def _locate(self, uri: str) -> tuple[Bucket, str]:
        bucket, key = bucket_and_key(uri)
        if bucket not in self._buckets:
            raise Refused(Reason.PHOTO_LOCATION_REFUSED, "bucket not on the allow-list")
        return self._buckets[bucket], key

    async def _read(self, bucket: Bucket, key: str) -> bytes:
        """Return an object.

        Raises:
            Refused: whatever the client of the storage raises. It is not our code and gets keys
                from anybody, so no error of it may be taken for a bug that stops a worker.
        """
        try:
            async with self._slots, asyncio.timeout(self._deadline_s):
                return await bucket.read(key, max_bytes=self._max_bytes)
        except NoSuchKey as error:
            raise Refused(Reason.PHOTO_NOT_FOUND) from error
        except KeyRefused as error:
            raise Refused(Reason.PHOTO_LOCATION_REFUSED, "the storage holds no such key") from error
        except TooLarge as error:
            raise Refused(Reason.PHOTO_TOO_LARGE, str(error)) from error
        except Redirected as error:
            raise Refused(Reason.PHOTO_UNAVAILABLE, "redirects are not followed") from error
        except OSError as error:
            raise Refused(Reason.PHOTO_UNAVAILABLE, type(error).__name__) from error
        except Exception as error:
            log.warning("storage client failed", error=type(error).__name__, trace=trace(error))
            raise Refused(Reason.PHOTO_UNAVAILABLE, type(error).__name__) from error


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Return the bucket and the key that a reference names.

    Raises:
        Refused: it is no reference.
    """
    location = REFERENCE.fullmatch(uri)
    if location is None or not _is_key(location["key"]):
        raise Refused(Reason.PHOTO_LOCATION_REFUSED, "not s3://bucket/key")
    return location["bucket"], location["key"]


def _is_key(key: str) -> bool:
    """Return whether it is a key by S3's rules; one with `..` could lead out of its bucket."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return False
    return length <= MAX_KEY and ".." not in key.split("/")


def checked(data: bytes, reference: ImageReference) -> Photo:
    """Return the photo whose file was fetched.

    Raises:
        Refused: it is not the one that was declared.
    """
    metrics.PHOTO_BYTES.inc(len(data))
    sha256 = hashlib.sha256(data).hexdigest()
    if reference.sha256 and reference.sha256.lower() != sha256:
        raise Refused(Reason.PHOTO_CHANGED)
    return Photo(sha256, data)
