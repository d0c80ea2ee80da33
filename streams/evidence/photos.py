"""Image reference → the bytes of the photo, checked, or the reason why it is missing.

References come from outside, so: s3:// only, allow-listed buckets, one fixed endpoint, a cap on
the bytes while they stream, and the declared hash. A bad photo never stops a declaration: the
verdict rests on the other evidence then, and is marked degraded.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import ObjectStore, S3Store

from schemas.reasons import Reason
from schemas.records import ImageReference
from streams import metrics
from streams.settings import Settings

REFERENCE: Final = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>.+)")
MAX_KEY: Final = 1024
"""Characters of an object's key, as S3 allows."""


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


def stores(settings: Settings) -> dict[str, ObjectStore]:
    """Return a store for each bucket that photos may be read from."""
    deadline = timedelta(seconds=settings.photo_deadline_s)
    return {
        bucket: S3Store(
            bucket,
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=settings.s3_secret_access_key.get_secret_value(),
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": settings.s3_endpoint.startswith("http://"),
                "timeout": deadline,
                "connect_timeout": deadline / 2,
            },
            retry_config={"retry_timeout": deadline, "max_retries": 3},
        )
        for bucket in settings.s3_buckets
    }


class Photos:
    """Fetches photos from the allow-listed buckets of an object storage."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        *,
        concurrency: int,
        deadline_s: float,
        max_bytes: int,
    ) -> None:
        self._stores = stores
        self._slots = asyncio.Semaphore(concurrency)
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes

    async def fetch(self, reference: ImageReference) -> Photo | NoPhoto:
        """Fetch a photo within the deadline; a bad or missing one gives a reason, not an error."""
        try:
            store, key = self._locate(reference.uri)
            async with self._slots, asyncio.timeout(self._deadline_s):
                data = await self._read(store, key)
            return checked(data, reference)
        except Refused as refused:
            return refused.no_photo
        except (FileNotFoundError, NotFoundError):
            return NoPhoto(Reason.PHOTO_NOT_FOUND)
        except (TimeoutError, OSError, obstore.exceptions.BaseError) as error:
            return NoPhoto(Reason.PHOTO_UNAVAILABLE, type(error).__name__)

    def _locate(self, uri: str) -> tuple[ObjectStore, str]:
        bucket, key = bucket_and_key(uri)
        if bucket not in self._stores:
            raise Refused(Reason.PHOTO_LOCATION_REFUSED, "bucket not on the allow-list")
        return self._stores[bucket], key

    async def _read(self, store: ObjectStore, key: str) -> bytes:
        answer = await obstore.get_async(store, key)
        data = bytearray()
        if answer.meta["size"] <= self._max_bytes:
            async for chunk in answer.stream():
                data += chunk
                if len(data) > self._max_bytes:
                    break
            else:
                return bytes(data)
        raise Refused(Reason.PHOTO_TOO_LARGE, f"more than {self._max_bytes} bytes")


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Return the bucket and the key that a reference names.

    Raises:
        Refused: it is no reference.
    """
    location = REFERENCE.fullmatch(uri)
    if location is None or len(location["key"]) > MAX_KEY or ".." in location["key"].split("/"):
        raise Refused(Reason.PHOTO_LOCATION_REFUSED, "not s3://bucket/key")
    return location["bucket"], location["key"]


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
