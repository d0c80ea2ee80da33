"""A model bundle → object storage → the folder that a worker loads it from.

It lies under its id, `s3://bucket/prefix/<id>/`, so a bundle is never changed in place. Who knows
the id needs to trust nobody between: it is the hash of the manifest, which has every hash.
"""

import asyncio
import hashlib
import re
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from models.scoring.bundle import MANIFEST, BadBundle, check_released, file_hashes, verify
from streams.object_storage import Bucket, NoSuchKey, ObjectStorage, StorageFailed
from streams.setting_types import BUCKET
from streams.settings import Settings

ADDRESS: Final = re.compile(rf"s3://(?P<bucket>{BUCKET.pattern})(?:/(?P<prefix>.*?))?/*")
BUNDLE_ID: Final = re.compile(r"[0-9a-f]{64}")
DEADLINE_S: Final = 120.0
"""For one file, retries included."""
MAX_BYTES: Final = 2 << 30
"""Of one file."""
MAX_MANIFEST_BYTES: Final = 1 << 20


class NotTransferred(Exception):  # noqa: N818 - says what happened
    """The bundle could not be fetched or published."""


def fetch(settings: Settings, address: str, bundle_id: str, out: Path) -> None:
    """Fetch a bundle into a new folder; nothing to do where the folder has it already.

    The folder appears only once every file is there and has its hash.

    Args:
        settings: of the storage.
        address: `s3://bucket/prefix`, below which bundles lie under their ids.
        bundle_id: of the bundle.
        out: folder; the one above it must exist.

    Raises:
        NotTransferred: there is no such bundle, or the storage fails.
        BadBundle: its files are not those of this id, or the folder has something else.
    """
    name, key = _place(address, bundle_id)
    if out.exists():
        if verify(out) != bundle_id:
            raise BadBundle(f"{out} has another bundle: name a new folder.")
        return
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=out.parent) as folder:
        fetched = Path(folder) / "bundle"
        fetched.mkdir()
        try:
            _with_bucket(settings, name, lambda bucket: _fetch(fetched, bucket, key, bundle_id))
        except NoSuchKey as error:
            raise NotTransferred(f"s3://{name}/{key} has no bundle, or not all of it.") from error
        fetched.rename(out)


async def _fetch(folder: Path, bucket: Bucket, key: str, bundle_id: str) -> None:
    """Fetch the manifest, which must be the right one, then what it names."""
    manifest = await bucket.read(f"{key}/{MANIFEST}", max_bytes=MAX_MANIFEST_BYTES)
    _check(manifest, bundle_id, f"{key}/{MANIFEST}")
    (folder / MANIFEST).write_bytes(manifest)
    for name, expected in file_hashes(folder).items():
        if Path(name).name != name:
            raise BadBundle(f"The manifest names {name!r}, which is no file of a bundle.")
        content = await bucket.read(f"{key}/{name}", max_bytes=MAX_BYTES)
        _check(content, expected, f"{key}/{name}")
        (folder / name).write_bytes(content)


def publish(settings: Settings, folder: Path, address: str) -> str:
    """Put a bundle that may be released below an address; return its id.

    The manifest comes last, so that nobody finds half a bundle.

    Raises:
        BadBundle, NotReleased: see `verify` and `check_released`.
        NotTransferred: the storage fails.
    """
    bundle_id = verify(folder)
    check_released(folder)
    name, key = _place(address, bundle_id)
    _with_bucket(settings, name, lambda bucket: _publish(folder, bucket, key))
    return bundle_id


async def _publish(folder: Path, bucket: Bucket, key: str) -> None:
    for file in (*file_hashes(folder), MANIFEST):
        content = (folder / file).read_bytes()
        await bucket.write(f"{key}/{file}", content, media_type="application/octet-stream")


def _with_bucket(
    settings: Settings, name: str, transfer: Callable[[Bucket], Coroutine[Any, Any, None]]
) -> None:
    """Transfer from or to a bucket; a file of a bundle gets more time than a photo.

    Raises:
        NoSuchKey: an object is missing.
        NotTransferred: the storage fails.
    """

    async def connected() -> None:
        storage = ObjectStorage(settings.model_copy(update={"photo_deadline_s": DEADLINE_S}))
        try:
            await transfer(storage.bucket(name))
        finally:
            await storage.close()

    try:
        asyncio.run(connected())
    except NoSuchKey:
        raise
    except (StorageFailed, TimeoutError) as error:
        why = str(error) or type(error).__name__
        raise NotTransferred(
            f"The object storage at {settings.s3_endpoint} fails: {why}."
        ) from error


def _place(address: str, bundle_id: str) -> tuple[str, str]:
    """Return bucket and key of a bundle.

    Raises:
        ValueError: one of the two has another form.
    """
    place = ADDRESS.fullmatch(address)
    if place is None:
        raise ValueError("Write the address of bundles as s3://bucket/prefix.")
    if not BUNDLE_ID.fullmatch(bundle_id):
        raise ValueError("A bundle's id has 64 of 0-9 and a-f, as `redlane bundle` prints it.")
    return place["bucket"], "/".join(part for part in (place["prefix"], bundle_id) if part)


def _check(content: bytes, expected: str, key: str) -> None:
    if hashlib.sha256(content).hexdigest() != expected:
        raise BadBundle(f"{key} is not the file that the bundle's id stands for.")
