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

from models.scorer import DeclarationEvidence, ItemEvidence, Scorer, Verdict
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
)
from schemas.topics import ALERTS, ASSESSMENTS, Topic
from streams import metrics
from streams.dead_letter import dead_letter
from streams.embed import Embedder
from streams.events import Inbound, Outbound, cloud_event, event_id
from streams.images import NoPhoto, Photo, Photos

GREEN = "green"
TIMINGS = "redlane_timings"
"""Header with the milliseconds each step took: a header, for equal input must give equal bytes."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Case:
    """A declaration that was decoded, with what could not be had of its evidence."""

    cause: Inbound
    evidence: DeclarationEvidence
    degraded: tuple[Degradation, ...]


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
        executor: Executor,
        photos_per_item: int,
        now: Callable[[], datetime],
    ) -> None:
        self._writers = writers
        self._schema_ids = schema_ids
        self._scorer = scorer
        self._photos = photos
        self._embedder = embedder
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
        cases = await self._cases(
            [(batch[number], found) for number, found in good.items()], timings
        )
        with _timed("score", timings):
            verdicts = await self._score([case.evidence for case in cases])
        fates = {
            number: self._fate(case, verdict, timings)
            for number, case, verdict in zip(good, cases, verdicts, strict=True)
        }
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
        self, found: Sequence[tuple[Inbound, Declaration]], timings: dict[str, float]
    ) -> list[_Case]:
        """Gather the evidence of every goods item: its text's and its photos' embeddings."""
        items = [item for _, declaration in found for item in declaration.goods_items]
        references = [item.images[: self._photos_per_item] for item in items]
        with _timed("fetch", timings):
            fetched = await asyncio.gather(
                *(self._photos.fetch(reference) for some in references for reference in some)
            )
        with _timed("embed", timings):
            photos = [photo for photo in fetched if isinstance(photo, Photo)]
            embedded = iter(await self._embedder.photos(photos))
            described = [item.description for item in items if item.description.strip()]
            texts = iter(await self._embedder.texts(described))
        looked_at = iter(
            [next(embedded) if isinstance(photo, Photo) else photo for photo in fetched]
        )
        cases = []
        for cause, declaration in found:
            evidence, degraded = [], list[Degradation]()
            for item in declaration.goods_items:
                seen = [next(looked_at) for _ in item.images[: self._photos_per_item]]
                vectors = tuple(photo for photo in seen if not isinstance(photo, NoPhoto))
                text = next(texts) if item.description.strip() else None
                evidence.append(ItemEvidence(item, text, vectors))
                missing = [photo for photo in seen if isinstance(photo, NoPhoto)]
                degraded += self._degradations(item, missing)
            cases.append(
                _Case(cause, DeclarationEvidence(declaration, tuple(evidence)), tuple(degraded))
            )
        return cases

    def _degradations(self, item: GoodsItem, missing: Sequence[NoPhoto]) -> Iterator[Degradation]:
        def degradation(evidence: str, reason: Reason, detail: str = "") -> Degradation:
            metrics.DEGRADATIONS.labels(reason).inc()
            return Degradation(
                sequence_number=item.sequence_number, evidence=evidence, code=reason, detail=detail
            )

        for photo in missing:
            yield degradation("image", photo.reason, photo.detail)
        if not item.images:
            yield degradation("image", Reason.PHOTO_ABSENT)
        if len(item.images) > self._photos_per_item:
            detail = f"{len(item.images)} declared, {self._photos_per_item} looked at"
            yield degradation("image", Reason.PHOTOS_TOO_MANY, detail)
        if not item.description.strip():
            yield degradation("text", Reason.TEXT_ABSENT)

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

    def _fate(
        self, case: _Case, verdict: Verdict | Exception, timings: Mapping[str, float]
    ) -> tuple[Outbound, ...]:
        if isinstance(verdict, Exception):
            return self._dead(case.cause, verdict)
        declaration, bundle_id = case.evidence.declaration, self._scorer.bundle_id
        assessment = Assessment(
            declaration_id=declaration.declaration_id,
            declaration_version=declaration.version,
            declaration_event_id=case.cause.source_id,
            declaration_office=declaration.declaration_office,
            lane=verdict.lane,
            risk=verdict.risk,
            expected_revenue_at_risk=verdict.expected_revenue_at_risk,
            selection=verdict.selection,
            items=verdict.items,
            degraded=case.degraded,
            bundle_id=bundle_id,
        )
        metrics.DECLARATIONS.labels(verdict.lane).inc()
        metrics.LATENCY_SECONDS.observe(max(0.0, self._now().timestamp() - case.cause.timestamp))
        events = [self._event(case.cause, ASSESSMENTS, assessment, timings)]
        if verdict.lane != GREEN:
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
            degraded=case.degraded,
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
