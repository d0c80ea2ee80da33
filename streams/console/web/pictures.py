"""A photo's reference in an alert or explanation → a picture that is safe to send to a browser.

Browsers never reach the object storage. A file from outside is decoded here, within bounds, and
encoded again, so that a page gets a picture and nothing else.
"""

import asyncio
import io
from typing import Final

from PIL import Image

from models.encoding.image import decode_picture
from models.encoding.photo_file import BadPhoto
from schemas.reasons import Reason
from schemas.records import ImageReference
from streams.evidence.photos import NoPhoto, Photos
from streams.object_storage import ObjectStorage
from streams.settings import Settings

LONGEST: Final = 1400
"""Longest side of a picture on a page. Unit: pixels."""


class Pictures:
    """Photos and heat maps, from the allow-listed buckets."""

    def __init__(self, settings: Settings) -> None:
        """Connect to the object storage."""
        self._storage = ObjectStorage(settings)
        names = {*settings.s3_buckets, *settings.console_buckets}
        self._photos = Photos(
            {name: self._storage.bucket(name) for name in names},
            concurrency=8,
            deadline_s=settings.photo_deadline_s,
            max_bytes=settings.photo_max_bytes,
        )
        self._decoders = asyncio.Semaphore(2)

    async def close(self) -> None:
        """Close the connections."""
        await self._storage.close()

    async def photo(self, uri: str) -> bytes | NoPhoto:
        """Return a photo as a JPEG file, upright, without metadata."""
        return await self._fetch(uri, transparent=False)

    async def heat_map(self, uri: str) -> bytes | NoPhoto:
        """Return a heat map as a PNG file, transparent where it is neutral."""
        return await self._fetch(uri, transparent=True)

    async def _fetch(self, uri: str, *, transparent: bool) -> bytes | NoPhoto:
        photo = await self._photos.fetch(ImageReference(uri=uri))
        if isinstance(photo, NoPhoto):
            return photo
        async with self._decoders:
            return await asyncio.to_thread(reencoded, photo.data, transparent=transparent)


def reencoded(data: bytes, *, transparent: bool) -> bytes | NoPhoto:
    """Decode a picture within bounds and encode it again: as PNG if transparent, else as JPEG."""
    out = io.BytesIO()
    try:
        picture = decode_picture(data, LONGEST)
        scale = min(1.0, LONGEST / max(picture.size))
        size = tuple(max(1, round(side * scale)) for side in picture.size)
        resized = picture.resized((size[0], size[1]), transparent=transparent)
        # Pixels alone: no metadata, no trailing bytes.
        plain = Image.new(resized.mode, resized.size)
        plain.paste(resized)
        if transparent:
            plain.save(out, "PNG")
        else:
            plain.save(out, "JPEG", quality=88)
    except BadPhoto as error:
        return NoPhoto(error.reason, error.detail)
    except Exception as error:  # noqa: BLE001 - decoders raise all kinds
        return NoPhoto(Reason.PHOTO_UNREADABLE, type(error).__name__)
    return out.getvalue()
