"""Declarations → the evidence that a model judges: embeddings, and signals of the stream.

Missing evidence is recorded as a degradation; it never stops a declaration.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from models.encoding.encoders import Vector
from models.encoding.perceptual_hash import BLANK
from models.encoding.text import normalise
from models.hs.editions import current
from models.risk.acceptance import accepted
from models.risk.attributes import Attributes
from models.risk.exchange import Comparable, comparable
from models.risk.signals import LiveSignals
from models.risk.tariff import Tariff
from models.risk.vagueness import texts_to_read
from models.scoring.scorer import DeclarationEvidence, ItemEvidence
from schemas.reasons import Reason
from schemas.records import Declaration, Degradation, GoodsItem
from streams import metrics
from streams.evidence.embedding import EmbeddedPhoto, Embedder
from streams.evidence.observations import Observation
from streams.evidence.photos import NoPhoto, Photo, PhotoSource
from streams.kafka.events import Inbound, event_id
from streams.metrics import timed
from streams.reference.state import Snapshot


@dataclass(frozen=True, slots=True)
class GatheredEvidence:
    """A declaration event with its evidence, and what is missing of that."""

    cause: Inbound
    declaration: Declaration
    """As lodged."""
    observation: Observation
    evidence: DeclarationEvidence
    arrived: datetime
    """When the event first arrived."""
    degraded: tuple[Degradation, ...]


@dataclass(frozen=True, slots=True)
class EmbeddedItem:
    """A goods item with its text and photos, fetched and embedded."""

    item: GoodsItem
    text: Vector | None
    """Of the first of the texts to read; None without any."""
    title: Vector | None
    """Of the second."""
    files: tuple[Photo | NoPhoto, ...]
    """Of the first photos that are declared, in that order."""
    photos: tuple[EmbeddedPhoto | NoPhoto, ...]
    """Of those files."""

    @property
    def embedded_photos(self) -> tuple[EmbeddedPhoto, ...]:
        """The photos without those that are missing."""
        return tuple(photo for photo in self.photos if not isinstance(photo, NoPhoto))

    def evidence(self, item: GoodsItem) -> ItemEvidence:
        """Return what the model looks at.

        Args:
            item: this one, prepared for comparison.
        """
        vectors = tuple(photo.vector for photo in self.embedded_photos)
        return ItemEvidence(item, self.text, vectors, self.title)

    def degradations(self) -> Iterator[Degradation]:
        """Yield what is missing, and count it."""
        number = self.item.sequence_number
        for photo in self.photos:
            if isinstance(photo, NoPhoto):
                yield degradation(number, "image", photo.reason, photo.detail)
            elif photo.truncated:
                yield degradation(number, "image", Reason.PHOTO_TRUNCATED)
        if not self.item.images:
            yield degradation(number, "image", Reason.PHOTO_ABSENT)
        if len(self.item.images) > len(self.photos):
            detail = f"{len(self.item.images)} declared, {len(self.photos)} looked at"
            yield degradation(number, "image", Reason.PHOTOS_TOO_MANY, detail)
        if not normalise(self.item.description):
            yield degradation(number, "text", Reason.TEXT_ABSENT)
        if self.text is not None and not texts_to_read(self.item).description:
            yield degradation(number, "text", Reason.TITLE_READ_INSTEAD)


class SignalSource(Protocol):
    """What other declarations and past inspections say."""

    async def gather(self, observations: Sequence[Observation]) -> list[LiveSignals | None]:
        """Observe declarations and return the signals of each, in order; None for unknown ones."""


class Gatherer:
    """Gathers the evidence of a micro-batch."""

    def __init__(
        self,
        *,
        photos: PhotoSource,
        embedder: Embedder,
        signals: SignalSource,
        photos_per_item: int,
        now: Callable[[], datetime],
    ) -> None:
        """Take the services, and the clock."""
        self._photos = photos
        self._embedder = embedder
        self._signals = signals
        self._photos_per_item = photos_per_item
        self._now = now

    async def gather(
        self,
        declarations: Sequence[tuple[Inbound, Declaration]],
        reference: Snapshot,
        timings: dict[str, float],
    ) -> list[GatheredEvidence]:
        """Return the evidence of each declaration, in order."""
        embedded = await self.embed([declaration for _, declaration in declarations], timings)
        arrivals = [cause.arrived(self._now()) for cause, _ in declarations]
        prepared = [
            comparable(
                declaration,
                reference.rates,
                accepted(declaration.acceptance_time, datetime.fromtimestamp(arrived, UTC)),
            )
            for (_, declaration), arrived in zip(declarations, arrivals, strict=True)
        ]
        observations = [
            _observation(cause, compared.declaration, items, reference.tariff, arrived)
            for (cause, _), compared, items, arrived in zip(
                declarations, prepared, embedded, arrivals, strict=True
            )
        ]
        with timed("signals", timings):
            signals = await self._signals.gather(observations)
        return [
            GatheredEvidence(
                cause,
                declaration,
                observation,
                evidence_of(
                    compared, items, live, reference.tariff, when_arrived(live, observation.at)
                ),
                when_arrived(live, observation.at),
                tuple(_degradations(compared, items, live)),
            )
            for (cause, declaration), compared, observation, items, live in zip(
                declarations, prepared, observations, embedded, signals, strict=True
            )
        ]

    async def embed(
        self, declarations: Sequence[Declaration], timings: dict[str, float]
    ) -> list[list[EmbeddedItem]]:
        """Fetch and embed all photos and texts of the micro-batch at once.

        Returns:
            the goods items of each declaration, in order.
        """
        # Equal goods items are fetched once.
        items = list(
            dict.fromkeys(item for declaration in declarations for item in declaration.goods_items)
        )
        with timed("fetch", timings):
            files = dict(zip(items, await asyncio.gather(*map(self._fetch, items)), strict=True))
        with timed("embed", timings):
            photos = await self._embedder.photos(
                [file for some in files.values() for file in some if isinstance(file, Photo)]
            )
            to_read = {item: texts_to_read(item) for item in items}
            texts = await self._embedder.texts(
                [text for some in to_read.values() for text in (some.first, some.second) if text]
            )
        return [
            [
                EmbeddedItem(
                    item,
                    texts.get(to_read[item].first),
                    texts.get(to_read[item].second),
                    files[item],
                    tuple(
                        photos[file] if isinstance(file, Photo) else file for file in files[item]
                    ),
                )
                for item in declaration.goods_items
            ]
            for declaration in declarations
        ]

    async def _fetch(self, item: GoodsItem) -> tuple[Photo | NoPhoto, ...]:
        references = item.images[: self._photos_per_item]
        return tuple(await asyncio.gather(*map(self._photos.fetch, references)))


def degradation(item: int, evidence: str, reason: Reason, detail: str = "") -> Degradation:
    """Return the record of missing evidence, and count it; item 0 is the whole declaration."""
    metrics.DEGRADATIONS.labels(reason).inc()
    return Degradation(sequence_number=item, evidence=evidence, code=reason, detail=detail)


def evidence_of(
    compared: Comparable,
    items: Sequence[EmbeddedItem],
    live: LiveSignals | None,
    tariff: Tariff,
    arrived: datetime,
) -> DeclarationEvidence:
    """Return what the model judges a declaration by."""
    declaration = compared.declaration
    pairs = zip(items, declaration.goods_items, strict=True)
    evidence = tuple(embedded.evidence(item) for embedded, item in pairs)
    return DeclarationEvidence(declaration, evidence, live, tariff, arrived)


def price_degradations(compared: Comparable) -> Iterator[Degradation]:
    """Yield what keeps prices from being compared, and count it."""
    for gap in compared.gaps:
        yield degradation(gap.item, "price", gap.reason, gap.detail)


def _degradations(
    compared: Comparable, items: Sequence[EmbeddedItem], live: LiveSignals | None
) -> Iterator[Degradation]:
    for item in items:
        yield from item.degradations()
    yield from price_degradations(compared)
    if live is None:
        yield degradation(0, "signals", Reason.SIGNALS_UNAVAILABLE)


def when_arrived(live: LiveSignals | None, at: float) -> datetime:
    """Return when an event first arrived: as recorded with its signals, else at `at`."""
    return datetime.fromtimestamp(at if live is None else live.arrived, UTC)


def _observation(
    cause: Inbound,
    declaration: Declaration,
    items: Sequence[EmbeddedItem],
    tariff: Tariff,
    arrived: float,
) -> Observation:
    at = accepted(declaration.acceptance_time, datetime.fromtimestamp(arrived, UTC))
    attributes = (
        Attributes.of(
            declaration, item, tariff.duty(current(item.commodity_code), item.country_of_origin, at)
        )
        for item in declaration.goods_items
    )
    hashes = (
        tuple(
            photo.perceptual_hash
            for photo in item.embedded_photos
            if photo.perceptual_hash != BLANK
        )
        for item in items
    )
    return Observation(
        event_id(cause, "", "signals"), declaration, tuple(attributes), tuple(hashes), arrived
    )
