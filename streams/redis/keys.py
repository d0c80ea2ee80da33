"""Names of all keys in Redis. All workers share them; a changed name loses what was stored.

The number after the first word is the version of the format. Raise it when what lies there changes
its meaning: versions of Redlane that run beside each other then never read each other's.

| key | type | holds |
|---|---|---|
| `embedding:2:ENCODER:CONTENT` | string | the embedding of a text or a photo, with a checksum |
| `signals:2:record:EVENT` | string | the signals that an event was first scored with |
| `signals:2:importer:…`, `seller:…` | sorted set | declarations of a trader |
| `signals:2:pair:…` | sorted set | small consignments from a seller to an importer; see `SHARDS` |
| `signals:2:price:…` | sorted set | unit prices of a code, or of code and origin; the same |
| `signals:2:photo:…` | sorted set | uses of the photos whose hashes agree in 16 bits; the same |
| `signals:2:declaration:…` | string | what an inspection of a declaration counts for |
| `signals:2:risk:…` | string | the risk that a declaration was assessed with |
| `signals:2:inspected:…`, `irregular:…` | sorted set | past inspections of a history |
| `signals:2:trader:…` | sorted set | those of one trader |
| `signals:2:learned:…` | string | what its last inspection was counted for |
| `signals:2:decided:…` | string | the last decision on a declaration |
| `capacity:2:NAME:OFFICE:NUMBER` | see streams/selection/capacity.py | the inspectors' capacity |
"""

import hashlib
import json
from typing import Final

from models.risk.attributes import Attributes, histories

EMBEDDING_FORMAT: Final = 2
SIGNALS_FORMAT: Final = 2
CAPACITY_FORMAT: Final = 2
BAND_BITS: Final = 16
"""Four bands: hashes that differ in at most 3 of 64 bits are equal in one of them."""
SHARDS: Final = 4
"""Parts of a set that many traders or declarations share. What is observed of one is in one part,
so that it cannot push out most of what is kept, and read, of the others."""


def embedding_key(encoder_id: str, content_sha256: str) -> str:
    """Return the key of an embedding."""
    return f"embedding:{EMBEDDING_FORMAT}:{encoder_id}:{content_sha256}"


def capacity_key(name: str, office: str, number: int) -> str:
    """Return a key of the inspectors' capacity.

    Args:
        name: of what it holds.
        office: that has a budget of its own, or empty.
        number: of the window or of the week.
    """
    return f"capacity:{CAPACITY_FORMAT}:{name}:{office}:{number}"


def inspection_keys(history: str) -> tuple[str, str]:
    """Return the sets of the inspected and of the irregular declarations of a history.

    Args:
        history: one of `SignalKeys.histories`.
    """
    return _signals("inspected", history), _signals("irregular", history)


def trader_inspections(history: str, trader: str) -> str:
    """Return the set of a trader's inspected declarations of a history.

    Args:
        history: one of `SignalKeys.histories`.
        trader: keyed hash.
    """
    return _signals("trader", f"{history}:{trader}")


def contents_of(key: str | bytes) -> str:
    """Return what lies under a key, for metrics and the log: no value is in it."""
    parts = (key.decode(errors="replace") if isinstance(key, bytes) else key).split(":")
    return parts[0] if parts[0] == "embedding" or len(parts) < 3 else f"{parts[0]} {parts[2]}"  # noqa: PLR2004


class SignalKeys:
    """Keys of the signals. What a declaration says appears in them as a keyed hash alone."""

    def __init__(self, key: bytes) -> None:
        """Take the pseudonym key.

        Raises:
            ValueError: it does not have 1 to 64 bytes.
        """
        if not 0 < len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise ValueError("Set REDLANE_PSEUDONYM_KEY: it must have 1 to 64 bytes.")
        self._key = key

    def digest(self, *values: str) -> str:
        """Return the keyed hash of values; their boundaries count too."""
        content = json.dumps(values).encode()
        return hashlib.blake2b(content, digest_size=12, key=self._key).hexdigest()

    def record(self, event_id: str) -> str:
        """Return the key of the signals that an event was first scored with."""
        return _signals("record", event_id)

    def importer(self, identification: str) -> str:
        """Return the set of an importer's declarations."""
        return self._hashed("importer", identification)

    def seller(self, identification: str) -> str:
        """Return the set of a seller's declarations."""
        return self._hashed("seller", identification)

    def pair(self, importer: str, seller: str) -> list[str]:
        """Return the shards of the small consignments from a seller to an importer.

        The declaration chooses the shard: its amendments cannot push out most of the others.
        """
        return self._shards("pair", importer, seller)

    def prices(self, hs6: str, origin: str | None = None) -> list[str]:
        """Return the shards of a code's unit prices; of all origins where none is given."""
        return self._shards("price", hs6, *([] if origin is None else [origin]))

    def photo_bands(self, perceptual_hash: int) -> list[list[str]]:
        """Return the sets that hold the near duplicates of a photo, each as its shards.

        Each set may hold others too.
        """
        mask = (1 << BAND_BITS) - 1
        return [
            self._shards("photo", str(band), f"{(perceptual_hash >> band * BAND_BITS) & mask:04x}")
            for band in range(64 // BAND_BITS)
        ]

    def inspected(self, declaration_id: str) -> str:
        """Return the key of what an inspection of a declaration counts for."""
        return self._hashed("declaration", declaration_id)

    def risk(self, declaration_id: str) -> str:
        """Return the key of the risk that a declaration was assessed with."""
        return self._hashed("risk", declaration_id)

    def learned(self, declaration_id: str) -> str:
        """Return the key of what the last inspection was counted for."""
        return self._hashed("learned", declaration_id)

    def decided(self, declaration_id: str) -> str:
        """Return the key of the last decision on a declaration."""
        return self._hashed("decided", declaration_id)

    def histories(self, attributes: Attributes) -> dict[str, str]:
        """Return models.risk.attributes.HISTORIES → the end of its sets' keys."""
        values_of = histories(attributes)
        return {name: f"{name}:{self.digest(*values)}" for name, values in values_of.items()}

    def _hashed(self, name: str, *values: str) -> str:
        return _signals(name, self.digest(*values))

    def _shards(self, name: str, *values: str) -> list[str]:
        key = self._hashed(name, *values)
        return [f"{key}:{number}" for number in range(SHARDS)]


def shard(shards: list[str], trader: str) -> str:
    """Return the shard with the observations of a trader, given by a keyed hash."""
    return shards[int(trader, 16) % len(shards)]


def _signals(name: str, end: str) -> str:
    return f"signals:{SIGNALS_FORMAT}:{name}:{end}"
