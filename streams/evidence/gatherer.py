"""Declarations → the evidence that a model judges: embeddings, and signals of the stream.

Photos and texts are fetched and embedded in slices, between which other micro-batches get their
turn, so that memory is bounded whatever is declared at once. Missing evidence is recorded as a
degradation; it never stops a declaration.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

from models.encoding.encoders import Vector
from models.encoding.perceptual_hash import BLANK
from models.encoding.text import normalise
from models.hs.editions import current
from models.risk.acceptance import accepted
from models.risk.attributes import Attributes
from models.risk.exchange import Comparable, comparable
from models.risk.signals import LiveSignals
from models.risk.tariff import Goods, Tariff
from models.risk.vagueness import texts_to_read
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from schemas.reasons import Reason
from schemas.records import Declaration, Degradation, GoodsItem, ImageReference, PhotoFate
from streams.evidence.embedding import EmbeddedPhoto, Embedder
from streams.evidence.observations import Observation
from streams.evidence.photos import NoPhoto, Photo, PhotoSource
from streams.evidence.recording import AskedRates, AskedTariff, Inputs, photo_fate
from streams.kafka.events import Inbound, event_id
from streams.kafka.heartbeat import beat
from streams.metrics import timed
from streams.reference.state import Snapshot

T = TypeVar("T")
SLICE: Final = 16
"""Photos, or texts, that are in memory and in the executor together."""


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
    inputs: Inputs
    """What the evidence was made of, for the screening record."""


@dataclass(frozen=True, slots=True)
class EmbeddedItem:
    """A goods item with its text and photos, fetched and embedded."""

    item: GoodsItem
    text: Vector | None
    """Of the first of the texts to read; None without any."""
    title: Vector | None
    """Of the second."""
    files: tuple[Photo | NoPhoto, ...]
    """Of the first photos that are declared, in that order; empty where they are not kept."""
    photos: tuple[EmbeddedPhoto | NoPhoto, ...]
    """Of the first photos that are declared, in that order."""
    fates: tuple[PhotoFate, ...]
    """What became of each of those when it was fetched."""

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
        """Yield what is missing."""
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
        embedded = await self.embed(
            [declaration for _, declaration in declarations], timings, keep_files=False
        )
        arrivals = [cause.arrived(self._now()) for cause, _ in declarations]
        rates = [AskedRates(reference.rates) for _ in declarations]
        prepared = [
            comparable(
                declaration,
                asked,
                accepted(declaration.acceptance_time, datetime.fromtimestamp(arrived, UTC)),
            )
            for (_, declaration), asked, arrived in zip(declarations, rates, arrivals, strict=True)
        ]
        observations = [
            _observation(cause, compared.declaration, items, reference.tariff, arrived)
            for (cause, _), compared, items, arrived in zip(
                declarations, prepared, embedded, arrivals, strict=True
            )
        ]
        with timed("signals", timings):
            signals = await self._signals.gather(observations)
        first_arrivals = [
            when_arrived(live, arrived) for live, arrived in zip(signals, arrivals, strict=True)
        ]
        inputs = [
            Inputs(
                read_at,
                live,
                self._photos_per_item,
                tuple(fate for item in items for fate in item.fates),
                asked,
                AskedTariff(reference.tariff),
            )
            for items, asked, live, read_at in zip(embedded, rates, signals, arrivals, strict=True)
        ]
        return [
            GatheredEvidence(
                cause,
                declaration,
                observation,
                evidence_of(compared, items, given.live, given.tariff, arrived),
                arrived,
                tuple(_degradations(compared, items, given.live)),
                given,
            )
            for (cause, declaration), compared, observation, items, given, arrived in zip(
                declarations, prepared, observations, embedded, inputs, first_arrivals, strict=True
            )
        ]

    def weight(self, declaration: Declaration) -> int:
        """Return the number of its goods items and of the photos that are looked at."""
        return sum(1 + len(self._references(item)) for item in declaration.goods_items)

    async def embed(
        self,
        declarations: Sequence[Declaration],
        timings: dict[str, float],
        *,
        keep_files: bool = True,
    ) -> list[list[EmbeddedItem]]:
        """Fetch and embed all photos and texts of the micro-batch, each distinct one once.

        Args:
            declarations: of the micro-batch.
            timings: of its steps.
            keep_files: keep the photos' files, too; they can take up much memory.

        Returns:
            the goods items of each declaration, in order.
        """
        timings |= {"fetch": 0.0, "embed": 0.0}
        items = [item for declaration in declarations for item in declaration.goods_items]
        to_read = {item: texts_to_read(item) for item in items}
        files, photos, fates = await self._photos_of(items, timings, keep_files=keep_files)
        texts = await self._embedded_texts(
            (text for some in to_read.values() for text in (some.first, some.second) if text),
            timings,
        )
        return [
            [
                EmbeddedItem(
                    item,
                    texts.get(to_read[item].first),
                    texts.get(to_read[item].second),
                    tuple(files[each] for each in self._references(item)) if keep_files else (),
                    tuple(photos[each] for each in self._references(item)),
                    tuple(fates[each] for each in self._references(item)),
                )
                for item in declaration.goods_items
            ]
            for declaration in declarations
        ]

    def _references(self, item: GoodsItem) -> tuple[ImageReference, ...]:
        """Return the photos that are looked at."""
        return item.images[: self._photos_per_item]

    async def _photos_of(
        self, items: Sequence[GoodsItem], timings: dict[str, float], *, keep_files: bool
    ) -> tuple[
        dict[ImageReference, Photo | NoPhoto],
        dict[ImageReference, EmbeddedPhoto | NoPhoto],
        dict[ImageReference, PhotoFate],
    ]:
        """Return the files, if they are kept, the embeddings, and what became of each photo."""
        kept: dict[ImageReference, Photo | NoPhoto] = {}
        photos: dict[ImageReference, EmbeddedPhoto | NoPhoto] = {}
        by_content: dict[str, EmbeddedPhoto | NoPhoto] = {}
        fates: dict[ImageReference, PhotoFate] = {}
        for some in _slices(each for item in items for each in self._references(item)):
            with timed("fetch", timings):
                files = await asyncio.gather(*map(self._photos.fetch, some))
            new = {file.sha256: file for file in files if isinstance(file, Photo)}
            with timed("embed", timings):
                embedded = await self._embedder.photos(
                    [file for content, file in new.items() if content not in by_content]
                )
            by_content |= {file.sha256: photo for file, photo in embedded.items()}
            for reference, file in zip(some, files, strict=True):
                photos[reference] = by_content[file.sha256] if isinstance(file, Photo) else file
                fates[reference] = photo_fate(reference, file)
                if keep_files:
                    kept[reference] = file
            beat()
        return kept, photos, fates

    async def _embedded_texts(
        self, texts: Iterable[str], timings: dict[str, float]
    ) -> dict[str, Vector]:
        embedded: dict[str, Vector] = {}
        for some in _slices(texts):
            with timed("embed", timings):
                embedded |= await self._embedder.texts(some)
            beat()
        return embedded


def _slices(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield the distinct values, SLICE at a time."""
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), SLICE):
        yield distinct[start : start + SLICE]


def degradation(item: int, evidence: str, reason: Reason, detail: str = "") -> Degradation:
    """Return the record of missing evidence; item 0 is the whole declaration."""
    return Degradation(sequence_number=item, evidence=evidence, code=reason, detail=detail)


def evidence_of(
    compared: Comparable,
    items: Sequence[EmbeddedItem],
    live: LiveSignals | None,
    tariff: Tariff,
    arrived: datetime,
) -> DeclarationEvidence:
    """Return what the model judges a declaration by.

    Args:
        compared: the declaration.
        items: of it, all or some.
        live: signals of these.
        tariff: as of now.
        arrived: when its event did.
    """
    prepared = {item.sequence_number: item for item in compared.declaration.goods_items}
    evidence = tuple(item.evidence(prepared[item.item.sequence_number]) for item in items)
    return DeclarationEvidence(compared.declaration, evidence, live, tariff, arrived)


def price_degradations(compared: Comparable) -> Iterator[Degradation]:
    """Yield what keeps prices from being compared."""
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
            declaration,
            item,
            tariff.duty(current(item.commodity_code), item.country_of_origin, at, Goods.of(item)),
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
