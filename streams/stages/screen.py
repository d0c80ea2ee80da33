"""declarations → assessments, alerts, dead-letters.

One declaration in, exactly one fate out: an assessment (and an alert, for the yellow and red lane)
or a dead letter.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime

import structlog

from models.scoring.scorer import DeclarationEvidence, Scorer, Verdict
from models.selection.policy import GREEN
from schemas import codec, rules
from schemas.codec import Undecodable
from schemas.reasons import TEXTS, Reason
from schemas.records import (
    Alert,
    AlertItem,
    AlertReason,
    Assessment,
    Declaration,
    GoodsItem,
    ItemAssessment,
    Selection,
)
from schemas.topics import ALERTS, ASSESSMENTS, Topic
from streams import metrics
from streams.evidence.gatherer import Gathered, Gatherer, degradation
from streams.evidence.signals import Signals
from streams.kafka.dead_letter import dead_letter
from streams.kafka.events import ORIGIN, TIMINGS, Inbound, Outbound, cloud_event, event_id
from streams.metrics import timed
from streams.reference.state import Snapshot
from streams.selection.lanes import InLane, Judged, Lanes

log = structlog.get_logger(__name__)


class Screen:
    """The stage; see the module."""

    def __init__(
        self,
        *,
        writers: Mapping[int, codec.Schema],
        schema_ids: Mapping[Topic, int],
        scorer: Scorer,
        gatherer: Gatherer,
        signals: Signals,
        lanes: Lanes,
        known: Callable[[], Snapshot],
        executor: Executor,
        now: Callable[[], datetime],
    ) -> None:
        self._writers = writers
        self._schema_ids = schema_ids
        self._scorer = scorer
        self._gatherer = gatherer
        self._signals = signals
        self._lanes = lanes
        self._known = known
        self._executor = executor
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
        cases = await self._gatherer.gather(
            [(batch[number], found) for number, found in good.items()], known.tariff, timings
        )
        with timed("score", timings):
            verdicts = await self._score([case.evidence for case in cases])
        with timed("decide", timings):
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
        cases: Sequence[Gathered],
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
        case: Gathered,
        verdict: Verdict,
        decided: InLane,
        timings: Mapping[str, float],
    ) -> tuple[Outbound, ...]:
        declaration, bundle_id = case.evidence.declaration, self._scorer.bundle_id
        degraded = case.degraded
        if decided.degraded:
            degraded += (degradation(0, "capacity", Reason.CAPACITY_UNKNOWN),)
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
        more = [(TIMINGS, json.dumps({k: round(v * 1000, 1) for k, v in timings.items()}))]
        if topic is ALERTS:
            more.append((ORIGIN, f"{cause.topic}/{cause.partition}/{cause.offset}"))
        return Outbound(
            topic=topic,
            key=record.declaration_id.encode(),
            value=codec.encode(record, self._schema_ids[topic]),
            headers=cloud_event(
                record.SCHEMA,
                id_=event_id(cause, self._scorer.bundle_id, record.SCHEMA),
                source="redlane/screen",
                time=self._now(),
                traceparent=cause.header("traceparent"),
                extensions=more,
            ),
        )

    def _alert(self, case: Gathered, assessment: Assessment) -> Alert:
        declaration = case.evidence.declaration
        pairs = zip(declaration.goods_items, assessment.items, strict=True)
        return Alert(
            declaration_id=declaration.declaration_id,
            declaration_version=declaration.version,
            assessment_id=event_id(case.cause, assessment.bundle_id, Assessment.SCHEMA),
            lane=assessment.lane,
            risk=assessment.risk,
            expected_revenue_at_risk=assessment.expected_revenue_at_risk,
            selection=assessment.selection,
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
