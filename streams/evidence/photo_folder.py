"""Image reference → a file of a folder, for declarations that are assessed without services."""

import asyncio
from pathlib import Path

from schemas.reasons import Reason
from schemas.records import ImageReference
from streams.evidence.photos import NoPhoto, Photo, Refused, bucket_and_key, checked


class PhotoFolder:
    """Looks photos up by their key, else by the last part of it; whatever the bucket."""

    def __init__(self, folder: Path | None, *, max_bytes: int) -> None:
        """Take the folder; None for none, in which no photo is found."""
        self._folder = None if folder is None else folder.resolve()
        self._max_bytes = max_bytes

    async def fetch(self, reference: ImageReference) -> Photo | NoPhoto:
        """Read a photo; a bad or missing one gives a reason, not an error."""
        try:
            _, key = bucket_and_key(reference.uri)
            return checked(await asyncio.to_thread(self._read, key), reference)
        except Refused as refused:
            return refused.no_photo
        except OSError as error:
            return NoPhoto(Reason.PHOTO_UNAVAILABLE, type(error).__name__)

    def _read(self, key: str) -> bytes:
        path = self._path(key)
        if path is None:
            raise Refused(Reason.PHOTO_NOT_FOUND)
        with path.open("rb") as file:
            data = file.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise Refused(Reason.PHOTO_TOO_LARGE, f"more than {self._max_bytes} bytes")
        return data

    def _path(self, key: str) -> Path | None:
        """Return the file of a key, inside the folder; None where there is none."""
        if self._folder is None or "\0" in key:
            return None
        for name in (key, key.rpartition("/")[2]):
            # A key may begin with a slash, and then would leave the folder.
            path = self._folder / name.lstrip("/")
            if _is_file(path) and path.resolve().is_relative_to(self._folder):
                return path
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for a file
        return False
