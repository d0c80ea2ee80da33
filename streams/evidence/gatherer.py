"""Declarations → the evidence that a model judges: embeddings, and signals of the stream.

What cannot be had is told as a degradation; it never stops a declaration.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from models.encoding.encoders import Vector
from models.encoding.perceptual_hash import BLANK
from models.risk.attributes import Attributes
from models.risk.tariff import Tariff
from models.scoring.scorer import DeclarationEvidence, ItemEvidence
from schemas.reasons import Reason
from schemas.records import Declaration, Degradation, GoodsItem
from streams import metrics
from streams.evidence.embedding import EmbeddedPhoto, Embedder
from streams.evidence.observations import Observed
from streams.evidence.photos import NoPhoto, Photo, Photos
from streams.evidence.signals import Signals
from streams.kafka.events import Inbound, event_id
from streams.metrics import timed


@dataclass(frozen=True, slots=True)
class Gathered:
    """A declaration with its evidence, and what could not be had of it."""

    cause: Inbound
    observed: Observed
    evidence: DeclarationEvidence
    degraded: tuple[Degradation, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """What was found of one goods item."""

    item: GoodsItem
    text: Vector | None
    files: tuple[Photo | NoPhoto, ...]
    """As they were fetched: the first of those declared."""
    photos: tuple[EmbeddedPhoto | NoPhoto, ...]
    """Of those files."""

    @property
    def seen(self) -> tuple[EmbeddedPhoto, ...]:
        """The photos that could be looked at."""
        return tuple(photo for photo in self.photos if not isinstance(photo, NoPhoto))

    @property
    def evidence(self) -> ItemEvidence:
        """What the model looks at."""
        return ItemEvidence(self.item, self.text, tuple(photo.vector for photo in self.seen))

    def degradations(self) -> Iterator[Degradation]:
        """Yield what could not be had, and count it."""
        number = self.item.sequence_number
        for photo in self.photos:
            if isinstance(photo, NoPhoto):
                yield degradation(number, "image", photo.reason, photo.detail)
        if not self.item.images:
            yield degradation(number, "image", Reason.PHOTO_ABSENT)
        if len(self.item.images) > len(self.photos):
            detail = f"{len(self.item.images)} declared, {len(self.photos)} looked at"
            yield degradation(number, "image", Reason.PHOTOS_TOO_MANY, detail)
        if self.text is None:
            yield degradation(number, "text", Reason.TEXT_ABSENT)


class Gatherer:
    """Gathers the evidence of a micro-batch."""

    def __init__(
        self, *, photos: Photos, embedder: Embedder, signals: Signals, photos_per_item: int
    ) -> None:
        self._photos = photos
        self._embedder = embedder
        self._signals = signals
        self._photos_per_item = photos_per_item

    async def gather(
        self,
        found: Sequence[tuple[Inbound, Declaration]],
        tariff: Tariff,
        timings: dict[str, float],
    ) -> list[Gathered]:
        """Return the evidence of each declaration, in order."""
        described = await self.described([one for _, one in found], timings)
        observed = [
            _observed(cause, declaration, items, tariff)
            for (cause, declaration), items in zip(found, described, strict=True)
        ]
        with timed("signals", timings):
            signals = await self._signals.gather(observed)
        gathered = []
        for (cause, declaration), items, of, live in zip(
            found, described, observed, signals, strict=True
        ):
            evidence = tuple(one.evidence for one in items)
            degraded = [missing for one in items for missing in one.degradations()]
            if live is None:
                degraded.append(degradation(0, "signals", Reason.SIGNALS_UNAVAILABLE))
            gathered.append(
                Gathered(
                    cause,
                    of,
                    DeclarationEvidence(declaration, evidence, live, tariff),
                    tuple(degraded),
                )
            )
        return gathered

    async def described(
        self, declarations: Sequence[Declaration], timings: dict[str, float]
    ) -> list[list[Described]]:
        """Fetch and embed all photos and texts of the micro-batch at once."""
        items = [item for one in declarations for item in one.goods_items]
        with timed("fetch", timings):
            references = [ref for item in items for ref in item.images[: self._photos_per_item]]
            fetched = await asyncio.gather(*map(self._photos.fetch, references))
        with timed("embed", timings):
            there = [photo for photo in fetched if isinstance(photo, Photo)]
            embedded = iter(await self._embedder.photos(there))
            told = [item.description for item in items if item.description.strip()]
            texts = iter(await self._embedder.texts(told))
        photos = iter([next(embedded) if isinstance(one, Photo) else one for one in fetched])
        files = iter(fetched)

        def of(item: GoodsItem) -> Described:
            count = len(item.images[: self._photos_per_item])
            return Described(
                item,
                next(texts) if item.description.strip() else None,
                tuple(islice(files, count)),
                tuple(islice(photos, count)),
            )

        return [[of(item) for item in one.goods_items] for one in declarations]


def degradation(item: int, evidence: str, reason: Reason, detail: str = "") -> Degradation:
    """Return what is told of missing evidence, and count it; item 0 is the whole declaration."""
    metrics.DEGRADATIONS.labels(reason).inc()
    return Degradation(sequence_number=item, evidence=evidence, code=reason, detail=detail)


def _observed(
    cause: Inbound, declaration: Declaration, items: Sequence[Described], tariff: Tariff
) -> Observed:
    at = declaration.acceptance_time
    attributes = (
        Attributes.of(
            declaration, item, tariff.duty(item.commodity_code, item.country_of_origin, at)
        )
        for item in declaration.goods_items
    )
    hashes = (
        tuple(p.perceptual_hash for p in one.seen if p.perceptual_hash != BLANK) for one in items
    )
    return Observed(event_id(cause, "", "signals"), declaration, tuple(attributes), tuple(hashes))
