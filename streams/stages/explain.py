"""alerts → explanations (+ heat maps in object storage), dead-letters.

A stage and a worker of its own, so that slow work never delays an alert. The declaration of an
alert is fetched from its topic, and explained with the signals that it was scored with: of a large
one only the riskiest goods items; of the others the explanation repeats what the alert says. It
names what is gone by then; a failing service is called again for a while, then stops the worker.
Photos are an exception: after that while the explanation goes without them, because the storage may
withhold a single photo for ever.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

import structlog
from confluent_kafka import KafkaException
from redis.exceptions import RedisError
from structlog.contextvars import bind_contextvars, bound_contextvars

from models.encoding.image import decode
from models.encoding.photo_file import BadPhoto
from models.explanation.explainer import Explainer, ItemExplained, Pixels, traders
from models.risk.acceptance import accepted
from models.risk.exchange import ExchangeRates, comparable
from models.risk.tariff import Tariff
from models.scoring.evidence import DeclarationEvidence
from schemas import codec, rules
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import (
    Alert,
    Assessment,
    Declaration,
    Explanation,
    ItemExplanation,
    Signal,
    TraderHistory,
)
from schemas.topics import ALERTS, DECLARATIONS, EXPLANATIONS, Topic
from streams.evidence.gatherer import (
    EmbeddedItem,
    Gatherer,
    evidence_of,
    price_degradations,
    when_arrived,
)
from streams.evidence.photos import NoPhoto, Photo
from streams.evidence.signals import Signals
from streams.kafka.dead_letter import dead_letter, reason_of
from streams.kafka.events import (
    ORIGIN,
    Inbound,
    Outbound,
    cloud_event,
    event_id,
    fate_of,
    identification,
)
from streams.kafka.registry import Decoder, NotDeployed, RegistryFailed
from streams.metrics import timed
from streams.object_storage import Bucket
from streams.retry import retrying

T = TypeVar("T")
FAILURES: Final = (OSError, KafkaException, RedisError)
"""What a failing service looks like."""
EXPLAINED: Final = 16
"""Most goods items of a declaration that are explained: the riskiest ones."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Riskiest:
    """What the riskiest goods items of a declaration were scored with."""

    evidence: DeclarationEvidence
    """Of these goods items."""
    photos: list[list[Photo | None]]
    """The files of each goods item's photos."""
    missing: list[list[Signal]]
    """Of each goods item: the reasons that name what is missing."""
    traders: tuple[TraderHistory, ...]
    """The record of each party of the declaration."""


class PhotosUnavailable(Exception):  # noqa: N818 - says what happened
    """The storage fails for some photos; `items` are the goods items without these."""

    def __init__(self, items: list[EmbeddedItem]) -> None:
        super().__init__()
        self.items = items


class Explain:
    """The stage; see the module."""

    def __init__(
        self,
        *,
        decoder: Decoder,
        schema_id: int,
        explainer: Explainer,
        origin: Callable[[str], Inbound | None],
        gatherer: Gatherer,
        signals: Signals,
        tariff: Callable[[], Tariff],
        rates: Callable[[], ExchangeRates] = ExchangeRates,
        heat_maps: Bucket,
        bucket: str,
        executor: Executor,
        now: Callable[[], datetime],
        attempts: int = 6,
        delay_s: float = 0.5,
    ) -> None:
        """Take the services.

        Args:
            decoder: of alerts and declarations.
            schema_id: of explanations.
            explainer: of the bundle that scores.
            origin: topic/partition/offset → the declaration there, None where it is gone.
            gatherer: of the same bundle's evidence.
            signals: that the screening workers recorded.
            tariff: as of now.
            rates: as of now.
            heat_maps: bucket that they are written to.
            bucket: its name.
            executor: of the model and of `origin`.
            now: the clock.
            attempts: of a service that fails.
            delay_s: see `retrying`.
        """
        self._decode = decoder
        self._schema_id = schema_id
        self._explainer = explainer
        self._origin = origin
        self._gatherer = gatherer
        self._signals = signals
        self._tariff = tariff
        self._rates = rates
        self._heat_maps = heat_maps
        self._bucket = bucket
        self._executor = executor
        self._now = now
        self._retry = retrying(attempts=attempts, delay_s=delay_s)

    async def __call__(self, batch: Sequence[Inbound]) -> list[tuple[Outbound, ...]]:
        """Explain the alerts of a micro-batch, in order."""
        return [await self._explained_or_dead(cause) for cause in batch]

    async def _explained_or_dead(self, cause: Inbound) -> tuple[Outbound, ...]:
        with bound_contextvars(declaration_id="", **cause.identity):
            try:
                return await self._explain(cause)
            except (*FAILURES, NotDeployed, RegistryFailed):
                raise
            except Exception as error:  # noqa: BLE001 - reported in its dead letter, and counted
                return (self._dead(cause, error),)

    async def _explain(self, cause: Inbound) -> tuple[Outbound, ...]:
        with timed("decode", {}):
            alert = await self._decoded(ALERTS, cause, Alert)
        bind_contextvars(declaration_id=identification(alert.declaration_id))
        with timed("declaration", {}):
            origin = await self._declaration(cause, alert)
        if origin is None:
            items = _from_alert_alone(alert, Reason.DECLARATION_GONE)
            return (self._event(cause, alert, items.values()),)
        riskiest = await self._evidence(alert, *origin)
        loop = asyncio.get_running_loop()
        with timed("explanation", {}):
            explained = await loop.run_in_executor(
                self._executor, self._explained, riskiest.evidence, riskiest.photos
            )
        items = _from_alert_alone(alert, Reason.EXPLAINED_BRIEFLY)
        with timed("heat_maps", {}):
            for item, missing in zip(explained, riskiest.missing, strict=True):
                items[item.explanation.sequence_number] = await self._item(alert, item, missing)
        return (self._event(cause, alert, items.values(), riskiest.traders),)

    async def _declaration(
        self, cause: Inbound, alert: Alert
    ) -> tuple[Inbound, Declaration] | None:
        """Return the declaration that the alert is about, and its event; None where it is gone."""
        place = cause.header(ORIGIN)
        if place is None:
            return None
        loop = asyncio.get_running_loop()

        async def fetch() -> Inbound | None:
            return await loop.run_in_executor(self._executor, self._origin, place)

        origin = await self._tried("declaration", fetch)
        # Where the topic was deleted and created again, another declaration may have this offset.
        if origin is None or alert.assessment_id != event_id(
            origin, alert.bundle_id, Assessment.SCHEMA
        ):
            return None
        try:
            declaration = await self._decoded(DECLARATIONS, origin, Declaration)
            declaration = rules.check(declaration, origin.key)
        except Undecodable:
            return None
        return origin, declaration

    async def _evidence(self, alert: Alert, cause: Inbound, declaration: Declaration) -> _Riskiest:
        """Gather what the riskiest goods items of the declaration were scored with."""
        places = _riskiest(alert, declaration)
        goods_items = tuple(declaration.goods_items[place] for place in places)
        items = await self._embedded(replace(declaration, goods_items=goods_items))
        with timed("signals", {}):
            (live,) = await self._tried(
                "signals", lambda: self._signals.recorded([event_id(cause, "", "signals")])
            )
        if live is not None and len(live.items) < len(declaration.goods_items):
            live = None  # of another version of the format
        missing_everywhere = []
        if live is None:
            missing_everywhere.append(Signal(code=Reason.SIGNALS_UNAVAILABLE))
        if alert.bundle_id != self._explainer.bundle_id:
            missing_everywhere.append(Signal(code=Reason.EXPLAINED_BY_ANOTHER_BUNDLE))
        arrived = when_arrived(live, cause.arrived(self._now()))
        at = accepted(declaration.acceptance_time, arrived)
        compared = comparable(declaration, self._rates(), at)
        of_items = None if live is None else live.part(places)
        evidence = evidence_of(compared, items, of_items, self._tariff(), arrived)
        prices = list(price_degradations(compared))
        missing = [
            [
                *(
                    Signal(code=lost.code, detail=lost.detail)
                    for lost in (*item.degradations(), *prices)
                    if lost.sequence_number == item.item.sequence_number
                ),
                *missing_everywhere,
            ]
            for item in items
        ]
        photos = [_files(item) for item in items]
        return _Riskiest(evidence, photos, missing, traders(replace(evidence, live=live)))

    async def _embedded(self, declaration: Declaration) -> list[EmbeddedItem]:
        """Fetch and embed its texts and photos; wait a while for photos whose storage fails."""

        async def embed() -> list[EmbeddedItem]:
            (items,) = await self._gatherer.embed([declaration], {})
            files = [file for item in items for file in item.files]
            if any(
                isinstance(file, NoPhoto) and file.reason == Reason.PHOTO_UNAVAILABLE
                for file in files
            ):
                raise PhotosUnavailable(items)
            return items

        try:
            return await self._tried("photos", embed, PhotosUnavailable)
        except PhotosUnavailable as last:
            return last.items

    async def _decoded(self, topic: Topic, event: Inbound, kind: type[codec.R]) -> codec.R:
        """Decode an event, in the executor: it may have to ask the registry."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._decode, topic, event.value, kind)

    def _explained(
        self, evidence: DeclarationEvidence, photos: Sequence[Sequence[Photo | None]]
    ) -> tuple[ItemExplained, ...]:
        """Decode and explain, in the executor."""
        pixels = [[_pixels(photo) for photo in of_item] for of_item in photos]
        return self._explainer.explain(evidence, pixels)

    async def _item(
        self, alert: Alert, explained: ItemExplained, missing: Sequence[Signal]
    ) -> ItemExplanation:
        by_risk = alert.selection is None or alert.selection.basis == "risk"
        return replace(
            explained.explanation,
            # What a profile or chance selected stays selected, whatever its risk.
            changes=explained.explanation.changes if by_risk else (),
            heat_maps=tuple([await self._written(png) for png in explained.heat_maps]),
            reasons=(*explained.explanation.reasons, *missing),
        )

    async def _written(self, png: bytes | None) -> str:
        """Write a heat map under its own hash; returns its reference, empty for none."""
        if png is None:
            return ""
        key = f"{hashlib.sha256(png).hexdigest()}.png"

        async def put() -> None:
            await self._heat_maps.write(key, png, media_type="image/png")

        await self._tried("heat map", put)
        return f"s3://{self._bucket}/{key}"

    async def _tried(
        self, service: str, act: Callable[[], Awaitable[T]], *more: type[Exception]
    ) -> T:
        """Call a service, again while it fails or raises one of `more`; see `retrying`."""
        with bound_contextvars(service=service):
            return await self._retry((*FAILURES, *more), act)

    def _event(
        self,
        cause: Inbound,
        alert: Alert,
        items: Iterable[ItemExplanation],
        parties: tuple[TraderHistory, ...] = (),
    ) -> Outbound:
        bundle_id = self._explainer.bundle_id
        record = Explanation(
            declaration_id=alert.declaration_id,
            declaration_version=alert.declaration_version,
            assessment_id=alert.assessment_id,
            items=tuple(items),
            bundle_id=bundle_id,
            traders=parties,
        )
        return Outbound(
            topic=EXPLANATIONS,
            key=alert.declaration_id.encode(),
            value=codec.encode(record, self._schema_id),
            headers=cloud_event(
                record.SCHEMA,
                id_=event_id(cause, bundle_id, record.SCHEMA),
                source="redlane/explain",
                time=self._now(),
                traceparent=cause.header("traceparent"),
                extensions=[fate_of(cause)],
            ),
        )

    def _dead(self, cause: Inbound, error: Exception) -> Outbound:
        log.warning(
            "dead letter",
            partition=cause.partition,
            offset=cause.offset,
            error=type(error).__name__,
            reason=reason_of(error),
        )
        return dead_letter(cause, error, stage="explain", bundle_id=self._explainer.bundle_id)


def _files(item: EmbeddedItem) -> list[Photo | None]:
    """Return a goods item's photos, in the order declared; None for a missing one."""
    files = [file if isinstance(file, Photo) else None for file in item.files]
    return [*files, *[None] * (len(item.item.images) - len(files))]


def _pixels(photo: Photo | None) -> Pixels | None:
    if photo is None:
        return None
    try:
        return decode(photo.data)
    except BadPhoto:  # it has no embedding either, and a degradation gives the reason
        return None


def _riskiest(alert: Alert, declaration: Declaration) -> list[int]:
    """Return the places of the goods items that are explained, in the order declared."""
    risks = {item.sequence_number: item.risk for item in alert.items}
    numbers = [item.sequence_number for item in declaration.goods_items]
    places = sorted(range(len(numbers)), key=lambda place: -risks.get(numbers[place], 0.0))
    return sorted(places[:EXPLAINED])


def _from_alert_alone(alert: Alert, why: Reason) -> dict[int, ItemExplanation]:
    """Return what the alert itself says about its goods items, by sequence number, ascending."""
    return {
        item.sequence_number: ItemExplanation(
            sequence_number=item.sequence_number,
            suggested_hs6=item.suggested_hs6,
            reasons=(
                *(Signal(code=reason.code, detail=reason.text) for reason in item.reasons),
                Signal(code=why),
            ),
        )
        for item in sorted(alert.items, key=lambda item: item.sequence_number)
    }
