"""declarations → assessments, alerts, dead-letters.

One declaration in, exactly one fate out: an assessment (and an alert, for the yellow and red lane)
or a dead letter.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from models.attributes import Attributes
from models.encoders import Vector
from models.photo_hash import BLANK
from models.policy import GREEN
from models.scorer import DeclarationEvidence, ItemEvidence, Scorer, Verdict
from models.tariff import Tariff
from schemas import codec, rules
from schemas.codec import Undecodable
from schemas.reasons import TEXTS, Reason
from schemas.records import (
    Alert,
    AlertItem,
    AlertReason,
    Assessment,
    Declaration,
    Degradation,
    GoodsItem,
    ItemAssessment,
    Selection,
)
from schemas.topics import ALERTS, ASSESSMENTS, Topic
from streams import metrics
from streams.dead_letter import dead_letter
from streams.embed import EmbeddedPhoto, Embedder
from streams.events import Inbound, Outbound, cloud_event, event_id
from streams.images import NoPhoto, Photo, Photos
from streams.known import Snapshot
from streams.lanes import InLane, Judged, Lanes
from streams.observations import Observed
from streams.signals import Signals

TIMINGS = "redlane_timings"
"""Header with the milliseconds each step took: a header, for equal input must give equal bytes."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Case:
    """A declaration that was decoded, with what could not be had of its evidence."""

    cause: Inbound
    observed: Observed
    evidence: DeclarationEvidence
    degraded: tuple[Degradation, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A photo that was fetched and embedded."""

    sha256: str
    vector: Vector
    perceptual_hash: int

    @classmethod
    def of(cls, photo: Photo, embedded: EmbeddedPhoto | NoPhoto) -> "_Seen | NoPhoto":
        if isinstance(embedded, NoPhoto):
            return embedded
        return cls(photo.sha256, embedded.vector, embedded.perceptual_hash)


class Screen:
    """The stage; see the module."""

    def __init__(
        self,
        *,
        writers: Mapping[int, codec.Schema],
        schema_ids: Mapping[Topic, int],
        scorer: Scorer,
        photos: Photos,
        embedder: Embedder,
        signals: Signals,
        lanes: Lanes,
        known: Callable[[], Snapshot],
        executor: Executor,
        photos_per_item: int,
        now: Callable[[], datetime],
    ) -> None:
        self._writers = writers
        self._schema_ids = schema_ids
        self._scorer = scorer
        self._photos = photos
        self._embedder = embedder
        self._signals = signals
        self._lanes = lanes
        self._known = known
        self._executor = executor
        self._photos_per_item = photos_per_item
        self._now = now

    async def __call__(self, batch: Sequence[Inbound]) -> list[tuple[Outbound, ...]]:
        """Screen a micro-batch; returns the fate of each event, in order."""
        timings: dict[str, float] = {}
        declarations = [self._decode(cause) for cause in batch]
        good = {
            number: declaration
            for number, declaration in enumerate(declarations)
            if isinstance(declaration, Declaration)
        }
        known = self._known()
        cases = await self._cases(
            [(batch[number], found) for number, found in good.items()], known.tariff, timings
        )
        with _timed("score", timings):
            verdicts = await self._score([case.evidence for case in cases])
        with _timed("decide", timings):
            fates = dict(zip(good, await self._fates(cases, verdicts, known, timings), strict=True))
        return [
            fates[number] if isinstance(found, Declaration) else self._dead(cause, found)
            for number, (cause, found) in enumerate(zip(batch, declarations, strict=True))
        ]

    def _decode(self, cause: Inbound) -> Declaration | Undecodable:
        try:
            declaration = codec.decode(cause.value, Declaration, self._writers)
            rules.check(declaration, cause.key)
        except Undecodable as error:
            return error
        return declaration

    async def _cases(
        self,
        found: Sequence[tuple[Inbound, Declaration]],
        tariff: Tariff,
        timings: dict[str, float],
    ) -> list[_Case]:
        """Gather the evidence: embeddings of texts and photos, and signals of the stream."""
        items = [item for _, declaration in found for item in declaration.goods_items]
        with _timed("fetch", timings):
            references = [ref for item in items for ref in item.images[: self._photos_per_item]]
            fetched = await asyncio.gather(*map(self._photos.fetch, references))
        with _timed("embed", timings):
            photos = [photo for photo in fetched if isinstance(photo, Photo)]
            embedded = iter(await self._embedder.photos(photos))
            described = [item.description for item in items if item.description.strip()]
            texts = iter(await self._embedder.texts(described))
        looked_at = iter(
            [_Seen.of(one, next(embedded)) if isinstance(one, Photo) else one for one in fetched]
        )
        seen = [
            [
                [next(looked_at) for _ in item.images[: self._photos_per_item]]
                for item in one.goods_items
            ]
            for _, one in found
        ]
        with _timed("signals", timings):
            observed = [
                _observed(*one, shown, tariff) for one, shown in zip(found, seen, strict=True)
            ]
            signals = await self._signals.gather(observed)
        cases = []
        for (cause, declaration), shown, of, live in zip(
            found, seen, observed, signals, strict=True
        ):
            evidence = tuple(
                ItemEvidence(
                    item,
                    next(texts) if item.description.strip() else None,
                    tuple(one.vector for one in some if isinstance(one, _Seen)),
                )
                for item, some in zip(declaration.goods_items, shown, strict=True)
            )
            degraded = [
                degradation
                for item, some in zip(declaration.goods_items, shown, strict=True)
                for degradation in self._degradations(item, some)
            ]
            if live is None:
                degraded.append(_degradation(0, "signals", Reason.SIGNALS_UNAVAILABLE))
            cases.append(
                _Case(
                    cause,
                    of,
                    DeclarationEvidence(declaration, evidence, live, tariff),
                    tuple(degraded),
                )
            )
        return cases

    def _degradations(
        self, item: GoodsItem, seen: Sequence[_Seen | NoPhoto]
    ) -> Iterator[Degradation]:
        number = item.sequence_number
        for photo in seen:
            if isinstance(photo, NoPhoto):
                yield _degradation(number, "image", photo.reason, photo.detail)
        if not item.images:
            yield _degradation(number, "image", Reason.PHOTO_ABSENT)
        if len(item.images) > self._photos_per_item:
            detail = f"{len(item.images)} declared, {self._photos_per_item} looked at"
            yield _degradation(number, "image", Reason.PHOTOS_TOO_MANY, detail)
        if not item.description.strip():
            yield _degradation(number, "text", Reason.TEXT_ABSENT)

    async def _score(self, evidence: Sequence[DeclarationEvidence]) -> list[Verdict | Exception]:
        """Score all at once; where that fails each alone, so that one cannot fail the others."""
        loop = asyncio.get_running_loop()
        try:
            return [*await loop.run_in_executor(self._executor, self._scorer.score, evidence)]
        except Exception:
            log.exception("scoring a micro-batch failed; trying each declaration alone")
        alone: list[Verdict | Exception] = []
        for one in evidence:
            try:
                alone += await loop.run_in_executor(self._executor, self._scorer.score, [one])
            except Exception as error:  # noqa: BLE001 - told in its dead letter, and counted
                alone.append(error)
        return alone

    async def _fates(
        self,
        cases: Sequence[_Case],
        verdicts: Sequence[Verdict | Exception],
        known: Snapshot,
        timings: Mapping[str, float],
    ) -> list[tuple[Outbound, ...]]:
        scored = [
            (case, verdict)
            for case, verdict in zip(cases, verdicts, strict=True)
            if isinstance(verdict, Verdict)
        ]
        in_lanes = await self._lanes.decide(
            [
                Judged(
                    case.evidence.declaration,
                    verdict.risk,
                    known.matcher.matching(case.evidence.declaration),
                )
                for case, verdict in scored
            ]
        )
        await self._signals.remember(
            case.observed
            for (case, _), one in zip(scored, in_lanes, strict=True)
            if one.decision.lane != GREEN
        )
        decided = iter(in_lanes)
        return [
            self._fate(case, verdict, next(decided), timings)
            if isinstance(verdict, Verdict)
            else self._dead(case.cause, verdict)
            for case, verdict in zip(cases, verdicts, strict=True)
        ]

    def _fate(
        self,
        case: _Case,
        verdict: Verdict,
        decided: InLane,
        timings: Mapping[str, float],
    ) -> tuple[Outbound, ...]:
        declaration, bundle_id = case.evidence.declaration, self._scorer.bundle_id
        degraded = case.degraded
        if decided.degraded:
            degraded += (_degradation(0, "capacity", Reason.CAPACITY_UNKNOWN),)
        decision = decided.decision
        assessment = Assessment(
            declaration_id=declaration.declaration_id,
            declaration_version=declaration.version,
            declaration_event_id=case.cause.source_id,
            declaration_office=declaration.declaration_office,
            lane=decision.lane,
            risk=verdict.risk,
            expected_revenue_at_risk=verdict.expected_revenue_at_risk,
            selection=Selection(
                basis=decision.basis,
                probability=decision.probability,
                profile_id=decision.profile_id,
            ),
            items=verdict.items,
            degraded=degraded,
            bundle_id=bundle_id,
        )
        metrics.DECLARATIONS.labels(decision.lane).inc()
        metrics.LATENCY_SECONDS.observe(max(0.0, self._now().timestamp() - case.cause.timestamp))
        events = [self._event(case.cause, ASSESSMENTS, assessment, timings)]
        if decision.lane != GREEN:
            events.append(self._event(case.cause, ALERTS, self._alert(case, assessment), timings))
        return tuple(events)

    def _event(
        self, cause: Inbound, topic: Topic, record: Assessment | Alert, timings: Mapping[str, float]
    ) -> Outbound:
        return Outbound(
            topic=topic,
            key=record.declaration_id.encode(),
            value=codec.encode(record, self._schema_ids[topic]),
            headers=cloud_event(
                cause,
                event_id(cause, self._scorer.bundle_id, record.SCHEMA),
                record.SCHEMA,
                self._now(),
                [(TIMINGS, json.dumps({k: round(v * 1000, 1) for k, v in timings.items()}))],
            ),
        )

    def _alert(self, case: _Case, assessment: Assessment) -> Alert:
        declaration = case.evidence.declaration
        pairs = zip(declaration.goods_items, assessment.items, strict=True)
        return Alert(
            declaration_id=declaration.declaration_id,
            declaration_version=declaration.version,
            assessment_id=event_id(case.cause, assessment.bundle_id, Assessment.SCHEMA),
            lane=assessment.lane,
            risk=assessment.risk,
            expected_revenue_at_risk=assessment.expected_revenue_at_risk,
            declaration_office=declaration.declaration_office,
            acceptance_time=declaration.acceptance_time,
            country_of_dispatch=declaration.country_of_dispatch,
            mode_of_transport=declaration.mode_of_transport,
            items=tuple(
                _alert_item(item, judged)
                for item, judged in sorted(pairs, key=lambda pair: -pair[1].risk)
            ),
            degraded=assessment.degraded,
            bundle_id=assessment.bundle_id,
        )

    def _dead(self, cause: Inbound, error: Exception) -> tuple[Outbound, ...]:
        metrics.DECLARATIONS.labels("dead_letter").inc()
        letter = dead_letter(cause, error, stage="screen", bundle_id=self._scorer.bundle_id)
        log.warning(
            "dead letter",
            partition=cause.partition,
            offset=cause.offset,
            error=type(error).__name__,
            reason=error.reason if isinstance(error, Undecodable) else Reason.SCREENING_FAILED,
        )
        return (letter,)


def _observed(
    cause: Inbound,
    declaration: Declaration,
    seen: Sequence[Sequence[_Seen | NoPhoto]],
    tariff: Tariff,
) -> Observed:
    at = declaration.acceptance_time
    return Observed(
        event_id(cause, "", "signals"),
        declaration,
        tuple(
            Attributes.of(
                declaration, item, tariff.duty(item.commodity_code, item.country_of_origin, at)
            )
            for item in declaration.goods_items
        ),
        tuple(
            tuple(
                one.perceptual_hash
                for one in some
                if isinstance(one, _Seen) and one.perceptual_hash != BLANK
            )
            for some in seen
        ),
    )


def _degradation(item: int, evidence: str, reason: Reason, detail: str = "") -> Degradation:
    metrics.DEGRADATIONS.labels(reason).inc()
    return Degradation(sequence_number=item, evidence=evidence, code=reason, detail=detail)


def _alert_item(item: GoodsItem, judged: ItemAssessment) -> AlertItem:
    best = judged.candidates[0] if judged.candidates else None
    return AlertItem(
        sequence_number=item.sequence_number,
        description=item.description,
        commodity_code=item.commodity_code,
        suggested_hs6=best.hs6 if best else "",
        suggested_probability=best.probability if best else 0.0,
        country_of_origin=item.country_of_origin,
        item_amount=item.item_amount,
        item_currency=item.item_currency,
        net_mass=item.net_mass,
        images=tuple(image.uri for image in item.images),
        risk=judged.risk,
        reasons=tuple(
            AlertReason(code=signal.code, text=signal.detail or TEXTS[Reason(signal.code)])
            for signal in judged.signals
        ),
    )


@contextmanager
def _timed(step: str, timings: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[step] = time.perf_counter() - start
    metrics.STAGE_SECONDS.labels(step).observe(timings[step])
