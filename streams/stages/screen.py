"""declarations → assessments, alerts, screening-records, dead-letters.

One declaration in, exactly one fate out: an assessment (and an alert, for the yellow and red lane,
and the record of what it was screened with) or a dead letter.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import structlog

from models.scoring.evidence import Verdict
from models.scoring.scorer import Scorer
from models.scoring.slices import Slices
from models.selection.policy import GREEN
from models.selection.profiles import Matcher
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
    ScreeningRecord,
    Selection,
)
from schemas.topics import ALERTS, ASSESSMENTS, SCREENING_RECORDS, Topic
from streams import metrics
from streams.evidence.gatherer import GatheredEvidence, Gatherer, degradation
from streams.evidence.observations import Observation
from streams.evidence.recording import screening_record
from streams.kafka.dead_letter import dead_letter, reason_of
from streams.kafka.events import (
    ORIGIN,
    TIMINGS,
    Inbound,
    Outbound,
    cloud_event,
    event_id,
    fate_of,
    identification,
)
from streams.kafka.heartbeat import beat
from streams.logs import trace
from streams.metrics import timed
from streams.reference.state import Snapshot
from streams.selection.lanes import LaneDecision, LaneRequest, Lanes

S = TypeVar("S")
T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Failed:
    """An event that ends as a dead letter."""

    cause: Inbound
    error: Exception


@dataclass(frozen=True, slots=True)
class _Scored:
    """A declaration with its verdict."""

    gathered: GatheredEvidence
    verdict: Verdict

    @property
    def cause(self) -> Inbound:
        """The declaration's event."""
        return self.gathered.cause


@dataclass(frozen=True, slots=True)
class _Screened:
    """A declaration with its verdict and lane."""

    gathered: GatheredEvidence
    verdict: Verdict
    lane: LaneDecision

    @property
    def cause(self) -> Inbound:
        """The declaration's event."""
        return self.gathered.cause


class Memory(Protocol):
    """Remembers what an inspection will count for."""

    async def remember(self, assessed: Iterable[tuple[Observation, float]]) -> None:
        """Keep it of these declarations, and their risks."""


class Screen:
    """The stage; see the module."""

    def __init__(
        self,
        *,
        writers: Mapping[int, codec.Schema],
        schema_ids: Mapping[Topic, int],
        scorer: Scorer,
        gatherer: Gatherer,
        signals: Memory,
        lanes: Lanes,
        reference: Callable[[], Snapshot],
        executor: Executor,
        now: Callable[[], datetime],
    ) -> None:
        """Take the services.

        Args:
            writers: schema id → schema of declarations.
            schema_ids: of assessments and alerts, and of screening records where they are wanted.
            scorer: of the model bundle.
            gatherer: of the same bundle's evidence.
            signals: that remember what is to be inspected.
            lanes: that decide.
            reference: risk profiles and tariff as of now; asked once for a micro-batch.
            executor: of the model.
            now: the clock.
        """
        self._writers = writers
        self._schema_ids = schema_ids
        self._scorer = scorer
        self._gatherer = gatherer
        self._signals = signals
        self._lanes = lanes
        self._reference = reference
        self._executor = executor
        self._now = now

    async def __call__(self, batch: Sequence[Inbound]) -> list[tuple[Outbound, ...]]:
        """Screen a micro-batch; returns the fate of each event, in order."""
        timings: dict[str, float] = {}
        reference = self._reference()

        async def gather(
            declarations: Sequence[tuple[Inbound, Declaration]],
        ) -> Sequence[GatheredEvidence]:
            return await self._gatherer.gather(declarations, reference, timings)

        async def decide(scored: Sequence[_Scored]) -> Sequence[_Screened]:
            return await self._decide(scored, reference.matcher)

        with timed("decode", {}):
            declarations, failed = self._decoded(batch)
        gathered = await _survivors(gather, declarations, lambda pair: pair[0], failed)
        with timed("score", timings):
            scored = await _survivors(self._score, gathered, lambda each: each.cause, failed)
        with timed("decide", timings):
            screened = await _survivors(decide, scored, lambda each: each.cause, failed)
            results: dict[Inbound, _Screened | _Failed] = {each.cause: each for each in screened}
            results.update(failed)
            return [self._fate(results[cause], timings) for cause in batch]

    def weigh(self, cause: Inbound) -> int:
        """Return how heavy an event is; see `Gatherer.weight`. One that cannot be told is light."""
        try:
            return self._gatherer.weight(codec.decode(cause.value, Declaration, self._writers))
        except Exception:  # noqa: BLE001 - the stage fails on it too, and gives it its fate
            return 0

    def _decoded(
        self, batch: Sequence[Inbound]
    ) -> tuple[list[tuple[Inbound, Declaration]], dict[Inbound, _Failed]]:
        """Return the declarations, and the events that are none."""
        declarations, failed = [], dict[Inbound, _Failed]()
        for cause in batch:
            try:
                declaration = codec.decode(cause.value, Declaration, self._writers)
                declarations.append((cause, rules.check(declaration, cause.key)))
            except Exception as error:  # noqa: BLE001 - reported in its dead letter, and counted
                failed[cause] = _Failed(cause, error)
        return declarations, failed

    async def _score(self, batch: Sequence[GatheredEvidence]) -> Sequence[_Scored]:
        """Score slice by slice: between them other micro-batches get their turn."""
        slices = Slices([gathered.evidence for gathered in batch])
        loop = asyncio.get_running_loop()
        for some in slices:
            scored = await loop.run_in_executor(self._executor, self._scorer.score, some.evidence)
            slices.add(some, scored)
            beat()
        return [_Scored(*pair) for pair in zip(batch, slices.verdicts(), strict=True)]

    async def _decide(self, batch: Sequence[_Scored], profiles: Matcher) -> list[_Screened]:
        """Decide on the lanes, and remember what is to be inspected."""
        decisions = await self._lanes.decide(
            [
                LaneRequest(
                    scored.gathered.declaration,
                    scored.gathered.arrived,
                    scored.verdict.risk,
                    profiles.matching(scored.gathered.declaration, scored.gathered.arrived),
                )
                for scored in batch
            ]
        )
        screened = [
            _Screened(scored.gathered, scored.verdict, decision)
            for scored, decision in zip(batch, decisions, strict=True)
        ]
        await self._signals.remember(
            (declaration.gathered.observation, declaration.verdict.risk)
            for declaration in screened
            if declaration.lane.decision.lane != GREEN
        )
        return screened

    def _fate(
        self, result: _Screened | _Failed, timings: Mapping[str, float]
    ) -> tuple[Outbound, ...]:
        if isinstance(result, _Failed):
            return (self._dead(result.cause, result.error),)
        try:
            assessment = self._assessment(result)
            events = self._events(result, assessment, timings)
        except Exception as error:  # noqa: BLE001 - reported in its dead letter, and counted
            return (self._dead(result.cause, error),)
        metrics.count(assessment)
        metrics.LATENCY_SECONDS.observe(max(0.0, self._now().timestamp() - result.cause.timestamp))
        return events

    def _events(
        self, result: _Screened, assessment: Assessment, timings: Mapping[str, float]
    ) -> tuple[Outbound, ...]:
        """Return the assessment, the alert of the yellow and red lane, and the screening record.

        Raises:
            Exception: a number is not finite, or does not fit its field.
        """
        events = [self._event(result.cause, ASSESSMENTS, assessment, timings)]
        if assessment.lane != GREEN:
            alert = self._alert(result.gathered, assessment)
            events.append(self._event(result.cause, ALERTS, alert, timings))
        if SCREENING_RECORDS in self._schema_ids:
            record = screening_record(
                result.cause, result.gathered.inputs, result.lane, events, self._scorer.bundle_id
            )
            events.append(self._event(result.cause, SCREENING_RECORDS, record, timings))
        return tuple(events)

    def _assessment(self, screened: _Screened) -> Assessment:
        gathered, verdict, decision = screened.gathered, screened.verdict, screened.lane.decision
        degraded = gathered.degraded
        if screened.lane.degraded:
            degraded += (degradation(0, "capacity", Reason.CAPACITY_UNKNOWN),)
        return Assessment(
            declaration_id=gathered.declaration.declaration_id,
            declaration_version=gathered.declaration.version,
            declaration_event_id=gathered.cause.source_id,
            declaration_office=gathered.declaration.declaration_office,
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
            bundle_id=self._scorer.bundle_id,
        )

    def _event(
        self,
        cause: Inbound,
        topic: Topic,
        record: Assessment | Alert | ScreeningRecord,
        timings: Mapping[str, float],
    ) -> Outbound:
        milliseconds = {step: round(seconds * 1000, 1) for step, seconds in timings.items()}
        extensions = [fate_of(cause), (TIMINGS, json.dumps(milliseconds))]
        if topic is ALERTS:
            extensions.append((ORIGIN, f"{cause.topic}/{cause.partition}/{cause.offset}"))
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
                extensions=extensions,
            ),
        )

    def _alert(self, gathered: GatheredEvidence, assessment: Assessment) -> Alert:
        declaration = gathered.declaration
        pairs = zip(declaration.goods_items, assessment.items, strict=True)
        return Alert(
            declaration_id=declaration.declaration_id,
            declaration_version=declaration.version,
            assessment_id=event_id(gathered.cause, assessment.bundle_id, Assessment.SCHEMA),
            lane=assessment.lane,
            risk=assessment.risk,
            expected_revenue_at_risk=assessment.expected_revenue_at_risk,
            selection=assessment.selection,
            declaration_office=declaration.declaration_office,
            acceptance_time=declaration.acceptance_time,
            country_of_dispatch=declaration.country_of_dispatch,
            mode_of_transport=declaration.mode_of_transport,
            items=tuple(
                _alert_item(item, assessed)
                for item, assessed in sorted(pairs, key=lambda pair: -pair[1].risk)
            ),
            degraded=assessment.degraded,
            bundle_id=assessment.bundle_id,
        )

    def _dead(self, cause: Inbound, error: Exception) -> Outbound:
        metrics.DECLARATIONS.labels("dead_letter").inc()
        log.warning(
            "dead letter",
            declaration_id="" if isinstance(error, Undecodable) else identification(cause.key),
            **cause.identity,
            partition=cause.partition,
            offset=cause.offset,
            error=type(error).__name__,
            reason=reason_of(error),
        )
        return dead_letter(cause, error, stage="screen", bundle_id=self._scorer.bundle_id)


async def _survivors(
    act: Callable[[Sequence[S]], Awaitable[Sequence[T]]],
    inputs: Sequence[S],
    cause: Callable[[S], Inbound],
    failed: dict[Inbound, _Failed],
) -> Sequence[T]:
    """Act on a micro-batch; where that fails on each alone, so that no declaration fails others.

    Args:
        act: a step, which gives a result for each input. It has retried the services that it needs,
            and does without those that fail, so that an error is a bug.
        inputs: of the step.
        cause: of an input.
        failed: gets the events that fail alone, too.

    Returns:
        the results of the others, in order.
    """
    try:
        return await act(inputs)
    except Exception as error:  # noqa: BLE001 - logged; each alone tells whose fault it is
        log.warning(
            "a micro-batch failed; trying each event alone",
            error=type(error).__name__,
            trace=trace(error),
        )
    results: list[T] = []
    for each in inputs:
        try:
            results += await act([each])
        except Exception as error:  # noqa: BLE001 - reported in its dead letter, and counted
            failed[cause(each)] = _Failed(cause(each), error)
    return results


def _alert_item(item: GoodsItem, assessed: ItemAssessment) -> AlertItem:
    best = assessed.candidates[0] if assessed.candidates else None
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
        risk=assessed.risk,
        reasons=tuple(
            AlertReason(code=signal.code, text=signal.detail or TEXTS[Reason(signal.code)])
            for signal in assessed.signals
        ),
    )
