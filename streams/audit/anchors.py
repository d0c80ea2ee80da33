"""Ends of chains, kept elsewhere → what was cut off, or written anew as a whole, is found too.

A chain alone proves only that its entries fit together: who can write the topic anew can compute
new hashes. An anchor proves the rest, as far as whoever can change the log cannot change the
anchor: keep copies elsewhere, in a bucket with object lock or on paper.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from streams.audit.chain import Head
from streams.object_storage import NoSuchKey, ObjectStorage, StorageFailed
from streams.settings import Settings

MAX_BYTES: Final = 4096
"""Of an anchor."""


class BadAnchors(Exception):  # noqa: N818 - says what they are
    """Anchors that cannot be read."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of a chain at a time."""

    chain: str
    length: int
    """Entries."""
    hash: str
    """Of the last entry."""
    at: str
    """When it was read. ISO 8601."""

    @classmethod
    def of(cls, chain: str, head: Head, at: datetime) -> "Anchor":
        """Return the anchor of a chain that ends so."""
        return cls(chain, head.length, head.hash, at.isoformat(timespec="seconds"))

    def line(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self))


_optional: TypeAdapter[Anchor | None] = TypeAdapter(
    Anchor | None, config=ConfigDict(extra="forbid", strict=True)
)


def read_anchors(text: str) -> list[Anchor]:
    """Read anchors, one a line, as `redlane audit anchor` prints them.

    Raises:
        BadAnchors: a line is none.
    """
    anchors = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                anchor = _optional.validate_json(line)
            except ValidationError as error:
                raise BadAnchors(f"Line {number} is no anchor, as one line of JSON.") from error
            if anchor is not None:
                anchors.append(anchor)
    return anchors


def by_chain(anchors: Iterable[Anchor]) -> Mapping[str, dict[int, str]]:
    """Return chain → length → hash.

    Raises:
        BadAnchors: two of them contradict each other.
    """
    chains = defaultdict[str, dict[int, str]](dict)
    for anchor in anchors:
        if chains[anchor.chain].setdefault(anchor.length, anchor.hash) != anchor.hash:
            raise BadAnchors(
                f"Two anchors contradict each other on entry {anchor.length} of {anchor.chain}: "
                "the log, or an anchor, was altered between them."
            )
    return chains


def store(settings: Settings, anchors: Iterable[Anchor]) -> None:
    """Write anchors to the bucket: each under its length, and as the latest of its chain.

    Raises:
        StorageFailed, TimeoutError: they are not all stored.
    """
    asyncio.run(_store(settings, list(anchors)))


async def _store(settings: Settings, anchors: list[Anchor]) -> None:
    storage = ObjectStorage(settings)
    try:
        bucket = storage.bucket(settings.audit_anchors_bucket)
        for anchor in anchors:
            for name in (f"{anchor.length:020}", "latest"):
                await bucket.write(
                    _key(anchor.chain, name),
                    anchor.line().encode(),
                    media_type="application/json",
                )
    finally:
        await storage.close()


def stored(settings: Settings, chains: Iterable[str]) -> list[Anchor]:
    """Return the latest anchor of each chain that has one in the bucket.

    Raises:
        BadAnchors: the storage does not answer, or one cannot be read.
    """
    return asyncio.run(_stored(settings, list(chains)))


async def _stored(settings: Settings, chains: list[str]) -> list[Anchor]:
    storage = ObjectStorage(settings)
    bucket = storage.bucket(settings.audit_anchors_bucket)
    anchors: list[Anchor] = []
    try:
        for chain in chains:
            try:
                text = await bucket.read(_key(chain, "latest"), max_bytes=MAX_BYTES)
            except NoSuchKey:
                continue
            anchors += read_anchors(text.decode(errors="replace"))
    except (StorageFailed, TimeoutError) as error:
        raise BadAnchors(
            f"Anchors cannot be read: {str(error) or type(error).__name__}. Check "
            "REDLANE_AUDIT_ANCHORS_BUCKET and REDLANE_S3_ENDPOINT."
        ) from error
    finally:
        await storage.close()
    return anchors


def _key(chain: str, name: str) -> str:
    return f"anchors/{chain}/{name}.json"
