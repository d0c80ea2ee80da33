"""Fakes for unit tests. What stands for a service passes the same contract suite as the service."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import obstore
from obstore.store import MemoryStore

from models.scoring.evidence import DeclarationEvidence, Verdict
from models.selection.policy import Thresholds
from schemas.codec import encode
from schemas.records import Declaration, ItemAssessment
from streams.kafka.events import Inbound, Outbound
from streams.object_storage import NoSuchKey, TooLarge

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


class FakeScorer:
    """Reads the risk from the goods text: "RISK 0.8"; "CRASH" raises as a bug would."""

    bundle_id = "b" * 64
    text_encoder_id = "text-1"
    image_encoder_id = "image-1"
    text_dimension = 4
    image_dimension = 3
    thresholds = Thresholds(yellow=0.5, red=0.8)

    def __init__(self):
        self.texts: list[str] = []
        self.photos = 0
        self.batches: list[int] = []

    def embed_texts(self, texts: Sequence[str]):
        self.texts += texts
        return [vector(text.encode(), self.text_dimension) for text in texts]

    def embed_photos(self, photos):
        self.photos += len(photos)
        return [vector(photo.tobytes(), self.image_dimension) for photo in photos]

    def score(self, evidence: Sequence[DeclarationEvidence]) -> list[Verdict]:
        self.batches.append(len(evidence))
        return [self._verdict(declaration) for declaration in evidence]

    def _verdict(self, evidence: DeclarationEvidence) -> Verdict:
        items = []
        for item in evidence.items:
            if "CRASH" in item.item.description:
                raise RuntimeError(f"personal data of {item.item.description}")
            risk = float(item.item.description.partition("RISK ")[2] or 0)
            present = [("text", item.text is not None), ("image", bool(item.photos))]
            items.append(
                ItemAssessment(
                    sequence_number=item.item.sequence_number,
                    commodity_code=item.item.commodity_code,
                    risk=risk,
                    modalities=tuple(name for name, is_present in present if is_present),
                )
            )
        return Verdict.of(items, [0.0] * len(items))


class MemoryBucket(MemoryStore):
    """A `Bucket` of a storage; put objects into it with `obstore.put`."""

    async def read(self, key, *, max_bytes):
        try:
            data = bytes(obstore.get(self, key).bytes())
        except FileNotFoundError as error:
            raise NoSuchKey(key) from error
        if len(data) > max_bytes:
            raise TooLarge(f"more than {max_bytes} bytes")
        return data

    async def write(self, key, data, *, media_type):
        obstore.put(self, key, data, attributes={"Content-Type": media_type})


def vector(data: bytes, dimension: int):
    """A vector that depends on the content."""
    digest = hashlib.sha256(data).digest()
    return np.frombuffer(digest[: 4 * dimension], np.uint32).astype(np.float32)


def inbound(
    declaration: Declaration | None = None, *, value: bytes | None = None, offset=0, **fields
):
    """A declaration event as Kafka would deliver it, schema id 7."""
    if declaration is not None:
        value = encode(declaration, 7)
        fields.setdefault("key", declaration.declaration_id.encode())
    fields.setdefault("key", b"key")
    fields.setdefault("headers", (("ce_id", f"event-{offset}".encode()),))
    return Inbound(
        topic="declarations",
        partition=fields.pop("partition", 0),
        offset=offset,
        value=value,
        timestamp=fields.pop("timestamp", NOW.timestamp()),
        timestamp_by_broker=fields.pop("timestamp_by_broker", True),
        **fields,
    )


class Published(list[Outbound]):
    """Takes what is published, as a broker would: nothing larger than it is told."""

    def __init__(self, max_bytes=1 << 30):
        super().__init__()
        self._max_bytes = max_bytes

    async def __call__(self, events: Sequence[Outbound]) -> list[bool]:
        taken = [len(event.value or b"") <= self._max_bytes for event in events]
        self += [event for event, is_taken in zip(events, taken, strict=True) if is_taken]
        return taken

    def pairs(self):
        return [(event.topic.name, event.key.decode()) for event in self]
