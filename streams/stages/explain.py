"""alerts → explanations (+ heat maps in object storage), dead-letters.

A stage and a worker of its own, so that slow work never delays an alert. An alert's declaration is
fetched from where it lies, and explained with the signals that it was scored with. What is gone by
then is told in the explanation; a failing service is tried again for a while, then stops the
worker. Photos are waited for no longer than that: one alone may be what is not given out.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import obstore
import obstore.exceptions
import structlog
from confluent_kafka import KafkaException
from obstore.store import ObjectStore
from redis.exceptions import RedisError

from models.encoding.image import BadPhoto, decode
from models.explanation.explainer import Explainer, ItemExplained, Pixels, traders
from models.risk.tariff import Tariff
from models.scoring.scorer import DeclarationEvidence
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
from streams.evidence.gatherer import Described, Gatherer
from streams.evidence.photos import NoPhoto, Photo
from streams.evidence.signals import Signals
from streams.kafka.dead_letter import dead_letter
from streams.kafka.events import ORIGIN, Inbound, Outbound, cloud_event, event_id
from streams.kafka.registry import Decoder

FAILING: Final = (OSError, obstore.exceptions.BaseError, KafkaException, RedisError)
"""What a service's failing looks like."""
log = structlog.get_logger(__name__)


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
        heat_maps: ObjectStore,
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
            origin: topic/partition/offset → the declaration that lies there, None where it is gone.
            gatherer: of the same bundle's evidence.
            signals: that were recorded.
            tariff: that is known now.
            heat_maps: bucket that they are written to.
            bucket: its name.
            executor: of the model and of `origin`.
            now: the clock.
            attempts: of a service that fails.
            delay_s: before the second attempt; each wait is twice the last.
        """
        self._decode = decoder
        self._schema_id = schema_id
        self._explainer = explainer
        self._origin = origin
        self._gatherer = gatherer
        self._signals = signals
        self._tariff = tariff
        self._heat_maps = heat_maps
        self._bucket = bucket
        self._executor = executor
        self._now = now
        self._attempts = attempts
        self._delay_s = delay_s

    async def __call__(self, batch: Sequence[Inbound]) -> list[tuple[Outbound, ...]]:
        """Explain the alerts of a micro-batch, in order."""
        return [await self._one(cause) for cause in batch]

    async def _one(self, cause: Inbound) -> tuple[Outbound, ...]:
        try:
            alert = await self._decoded(ALERTS, cause, Alert)
        except Undecodable as error:
            return (self._dead(cause, error),)
        found = await self._declaration(cause, alert)
        if found is None:
            return (self._event(cause, alert, _of_alert_alone(alert)),)
        evidence, pixels, missing = await self._evidence(alert, *found)
        loop = asyncio.get_running_loop()
        try:
            explained = await loop.run_in_executor(
                self._executor, self._explained, evidence, pixels
            )
        except Exception as error:  # noqa: BLE001 - told in its dead letter, and counted
            return (self._dead(cause, error),)
        items = [
            await self._item(alert, one, more) for one, more in zip(explained, missing, strict=True)
        ]
        return (self._event(cause, alert, items, traders(evidence)),)

    async def _declaration(
        self, cause: Inbound, alert: Alert
    ) -> tuple[Inbound, Declaration] | None:
        """Return the declaration that the alert is of; None where it is gone."""
        origin = cause.header(ORIGIN)
        if origin is None:
            return None
        loop = asyncio.get_running_loop()

        async def fetched() -> Inbound | None:
            return await loop.run_in_executor(self._executor, self._origin, origin)

        found = await self._tried("declaration", fetched)
        # The topic may have been made anew since: another declaration must not be explained.
        if found is None or alert.assessment_id != event_id(
            found, alert.bundle_id, Assessment.SCHEMA
        ):
            return None
        try:
            declaration = await self._decoded(DECLARATIONS, found, Declaration)
            rules.check(declaration, found.key)
        except Undecodable:
            return None
        return found, declaration

    async def _evidence(
        self, alert: Alert, cause: Inbound, declaration: Declaration
    ) -> tuple[DeclarationEvidence, list[list[Photo | None]], list[list[Signal]]]:
        """Gather what the declaration was scored with, and tell what is missing of it by item."""
        described = await self._described(declaration)
        (live,) = await self._tried(
            "signals", lambda: self._signals.recorded([event_id(cause, "", "signals")])
        )
        if live is not None and len(live.items) < len(described):
            live = None  # of another version of the format
        everywhere = []
        if live is None:
            everywhere.append(Signal(code=Reason.SIGNALS_UNAVAILABLE))
        if alert.bundle_id != self._explainer.bundle_id:
            everywhere.append(Signal(code=Reason.EXPLAINED_BY_ANOTHER_BUNDLE))
        evidence = DeclarationEvidence(
            declaration, tuple(one.evidence for one in described), live, self._tariff()
        )
        missing = [
            [
                *(Signal(code=lost.code, detail=lost.detail) for lost in one.degradations()),
                *everywhere,
            ]
            for one in described
        ]
        return evidence, [_files(one) for one in described], missing

    async def _described(self, declaration: Declaration) -> list[Described]:
        """Fetch and embed its evidence; waits a while for photos whose storage fails.

        Not for ever: it may be one photo alone that the storage does not give out.
        """
        for attempt in range(self._attempts):
            (found,) = await self._gatherer.described([declaration], {})
            files = [file for one in found for file in one.files]
            lost = [one for one in files if isinstance(one, NoPhoto)]
            if all(one.reason != Reason.PHOTO_UNAVAILABLE for one in lost):
                break
            if attempt < self._attempts - 1:
                await self._wait("photos", attempt, lost[0].detail)
        return found

    async def _decoded(self, topic: Topic, event: Inbound, kind: type[codec.R]) -> codec.R:
        """Decode an event, in the executor: the registry may have to be asked."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._decode, topic, event.value, kind)

    def _explained(
        self, evidence: DeclarationEvidence, photos: Sequence[Sequence[Photo | None]]
    ) -> tuple[ItemExplained, ...]:
        """Decode and explain, in the executor."""
        return self._explainer.explain(evidence, [list(map(_pixels, some)) for some in photos])

    async def _item(
        self, alert: Alert, one: ItemExplained, missing: Sequence[Signal]
    ) -> ItemExplanation:
        by_risk = alert.selection is None or alert.selection.basis == "risk"
        return replace(
            one.explanation,
            # What a profile or the draw selected stays selected, whatever its risk.
            changes=one.explanation.changes if by_risk else (),
            heat_maps=tuple([await self._written(png) for png in one.heat_maps]),
            reasons=(*one.explanation.reasons, *missing),
        )

    async def _written(self, png: bytes | None) -> str:
        """Write a heat map under its own hash; returns its reference, empty for none."""
        if png is None:
            return ""
        key = f"{hashlib.sha256(png).hexdigest()}.png"

        async def put() -> None:
            await obstore.put_async(
                self._heat_maps, key, png, attributes={"Content-Type": "image/png"}
            )

        await self._tried("heat map", put)
        return f"s3://{self._bucket}/{key}"

    async def _tried(self, what: str, act: Callable[[], Any]) -> Any:
        """Await a service; a failing one is tried again, and raises in the end."""
        for attempt in range(self._attempts):
            try:
                return await act()
            except FAILING as error:
                if attempt == self._attempts - 1:
                    raise
                await self._wait(what, attempt, type(error).__name__)
        raise AssertionError("attempts is at least 1")

    async def _wait(self, what: str, attempt: int, error: str) -> None:
        log.warning("explanation waits for a service", what=what, error=error)
        await asyncio.sleep(self._delay_s * 2**attempt)

    def _event(
        self,
        cause: Inbound,
        alert: Alert,
        items: Sequence[ItemExplanation],
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
            ),
        )

    def _dead(self, cause: Inbound, error: Exception) -> Outbound:
        log.warning(
            "dead letter",
            partition=cause.partition,
            offset=cause.offset,
            error=type(error).__name__,
        )
        return dead_letter(cause, error, stage="explain", bundle_id=self._explainer.bundle_id)


def _files(one: Described) -> list[Photo | None]:
    """Return a goods item's photos, in the order declared; None for one that cannot be had."""
    found = [file if isinstance(file, Photo) else None for file in one.files]
    return [*found, *[None] * (len(one.item.images) - len(found))]


def _pixels(photo: Photo | None) -> Pixels | None:
    if photo is None:
        return None
    try:
        return decode(photo.data)
    except BadPhoto:  # then it has no embedding either, and the item says why
        return None


def _of_alert_alone(alert: Alert) -> list[ItemExplanation]:
    """Return what the alert itself says of its goods items, in the order declared."""
    return [
        ItemExplanation(
            sequence_number=item.sequence_number,
            suggested_hs6=item.suggested_hs6,
            reasons=(
                *(Signal(code=reason.code, detail=reason.text) for reason in item.reasons),
                Signal(code=Reason.DECLARATION_GONE),
            ),
        )
        for item in sorted(alert.items, key=lambda item: item.sequence_number)
    ]
