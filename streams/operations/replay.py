"""declarations, and what they were screened with → the same assessments and alerts, or not.

Each declaration is screened again by the very stage of `redlane screen`, alone, with the same
bundle and the recorded signals; texts and photos are embedded afresh. Its results are compared byte
for byte with those on the topics.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from models.progress import Say
from models.scoring.scorer import Scorer
from schemas import codec, rules
from schemas.codec import Undecodable
from schemas.records import Alert, Assessment, Declaration, ScreeningRecord
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS, Topic
from streams.evidence.photos import PhotoSource
from streams.kafka.dead_letter import OURS
from streams.kafka.events import Inbound, Outbound, event_id
from streams.operations import recorded
from streams.operations.recorded import NotAsRecorded, RecordedPhotos, RecordedSignals
from streams.operations.span import Span, place_of
from streams.stages.screen import Screen

AT_ONCE: Final = 2
"""Declarations: one is inferred while another's photos are fetched."""
RESULTS: Final[Mapping[Topic, type[Any]]] = {ASSESSMENTS: Assessment, ALERTS: Alert}
SHOWN: Final = 80
"""Characters of a value that a difference shows."""
Kind = Literal["equal", "different", "not replayable", "refused"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one declaration, or of one of its screenings where there were several."""

    declaration_id: str
    event: str
    """topic/partition/offset."""
    kind: Kind
    """refused: it is no declaration, as it was none then."""
    detail: str = ""
    """The first field that differs, or why it cannot be screened again."""


class Replay:
    """Screens declarations again."""

    def __init__(
        self,
        scorer: Scorer,
        photos: PhotoSource,
        *,
        writers: Mapping[Topic, Mapping[int, codec.Schema]],
        schema_ids: Mapping[Topic, int],
        selection_key: bytes,
        executor: Executor,
    ) -> None:
        """Take what it needs.

        Args:
            scorer: of the bundle.
            photos: as they are stored now.
            writers: of declarations, assessments and alerts: schema id → schema.
            schema_ids: with which this version writes assessments and alerts.
            selection_key: of random selections.
            executor: of the model.
        """
        self._scorer = scorer
        self._photos = photos
        self._writers = writers
        self._schema_ids = schema_ids
        self._key = selection_key
        self._executor = executor

    async def span(self, span: Span, say: Say = lambda *_: None) -> list[Replayed]:
        """Screen all declarations of a span again; returns what came of them, in order."""
        room, done = asyncio.Semaphore(AT_ONCE), 0

        async def one(event: Inbound) -> list[Replayed]:
            nonlocal done
            async with room:
                replayed = await self._declaration(event, span)
            done += 1
            say("screening again", done, len(span.declarations))
            return replayed

        outcomes = await asyncio.gather(*map(one, span.declarations))
        replayed = [each for outcome in outcomes for each in outcome]
        gone = "its declaration is no longer kept"
        return replayed + [
            Replayed(id_[:SHOWN], place, "not replayable", gone) for place, id_ in span.gone.items()
        ]

    async def _declaration(self, event: Inbound, span: Span) -> list[Replayed]:
        """Return what came of each of its screenings: more than one only after a redelivery."""
        place = place_of(event)
        id_ = (event.key or b"").decode(errors="replace")[:SHOWN]
        try:
            declaration = rules.check(
                codec.decode(event.value, Declaration, self._writers[DECLARATIONS]), event.key
            )
        except Undecodable as error:
            if place in span.records:
                detail = f"it was screened, though it is no declaration: {error.reason}"
                return [Replayed(id_, place, "different", detail)]
            return [Replayed(id_, place, "refused", error.reason)]
        records = span.records.get(place, ())
        if not records:
            detail = "it has no screening record: not screened yet, or a dead letter"
            return [Replayed(id_, place, "not replayable", detail)]
        outcomes = []
        for record in records:
            kind, detail = await self._screening(event, declaration, record, span)
            outcomes.append(Replayed(id_, place, kind, detail))
        return outcomes + self._without_record(event, id_, records, span)

    async def _screening(
        self, event: Inbound, declaration: Declaration, record: ScreeningRecord, span: Span
    ) -> tuple[Kind, str]:
        if record.bundle_id != self._scorer.bundle_id:
            return "not replayable", f"it was screened with bundle {record.bundle_id}"
        try:
            photos = RecordedPhotos(recorded.photo_fates(declaration, record), self._photos)
            screen = self._screen(declaration, record, photos)
        except NotAsRecorded as error:
            return "not replayable", f"{error} (version {record.redlane_version[:SHOWN]})"
        # It arrives when it arrived then, whoever dated it.
        again = replace(event, timestamp=record.read_at, timestamp_by_broker=True)
        (results,) = await screen([again])
        if photos.gone:
            return "not replayable", photos.gone[0]
        return self._compared(event, record, results, span)

    def _screen(
        self, declaration: Declaration, record: ScreeningRecord, photos: RecordedPhotos
    ) -> Screen:
        """Wire the stage on what is recorded.

        Raises:
            NotAsRecorded: the record does not fit.
        """
        signals = RecordedSignals(recorded.recorded_signals(declaration, record))
        snapshot = recorded.snapshot(record)
        return Screen(
            writers=self._writers[DECLARATIONS],
            schema_ids=self._schema_ids,
            scorer=self._scorer,
            gatherer=recorded.gatherer(
                record,
                photos=photos,
                signals=signals,
                scorer=self._scorer,
                executor=self._executor,
            ),
            signals=signals,
            lanes=recorded.recorded_lanes(record, self._key),
            reference=lambda: snapshot,
            executor=self._executor,
            now=lambda: datetime.now(UTC),
        )

    def _compared(
        self,
        event: Inbound,
        record: ScreeningRecord,
        results: Sequence[Outbound],
        span: Span,
    ) -> tuple[Kind, str]:
        values = {result.topic: result.value or b"" for result in results}
        if DEAD_LETTERS in values:
            reason = dict(results[0].headers).get(f"{OURS}reason", b"").decode()
            return "different", f"it was assessed, and is a dead letter now: {reason}"
        hashes = {ASSESSMENTS: record.assessment_sha256, ALERTS: record.alert_sha256}
        for topic, expected in hashes.items():
            id_ = event_id(event, record.bundle_id, RESULTS[topic].SCHEMA)
            detail = self._difference(
                topic, expected, span.results.get((topic, id_), ()), values.get(topic)
            )
            if detail:
                return "different", f"{topic.name}: {detail}"
        return "equal", ""

    def _difference(
        self, topic: Topic, expected: str, lying: Sequence[bytes], now: bytes | None
    ) -> str:
        """Return how a result differs; empty where it does not.

        Args:
            topic: of the result.
            expected: SHA-256 that was recorded; empty for none.
            lying: what lies there under its id.
            now: what came of it now; None for nothing.
        """
        if not expected:
            return "" if now is None else "there was none, and there is one now"
        if not lying:
            return "there is none under its id any more"
        as_recorded = [value for value in lying if _sha256(value) == expected]
        if now is None:
            return "there was one, and there is none now"
        then = (as_recorded or lying)[0]
        if then == now:
            return "" if as_recorded else "it is not the one that was recorded"
        return self._first_difference(topic, then, now)

    def _first_difference(self, topic: Topic, then: bytes, now: bytes) -> str:
        kind = RESULTS[topic]
        try:
            records = [
                codec.decode(value, kind, self._writers[topic], topic.max_value_mb << 20)
                for value in (then, now)
            ]
        except Undecodable as error:
            return f"it cannot be read: {error.reason}"
        path, before, after = first_difference(*(record.to_avro() for record in records))
        if not path:
            return "the same content in other bytes: it was written under another schema version"
        hint = ""
        if path.startswith(("selection", "lane")):
            hint = "; is REDLANE_SELECTION_KEY that of then?"
        return f"{path}: {_shown(before)} then, {_shown(after)} now{hint}"

    def _without_record(
        self, event: Inbound, id_: str, records: Sequence[ScreeningRecord], span: Span
    ) -> list[Replayed]:
        """Return what to say of assessments of which nothing is recorded."""
        known = {record.assessment_sha256 for record in records}
        outcomes = []
        for bundle_id in sorted({record.bundle_id for record in records}):
            id_of_event = event_id(event, bundle_id, Assessment.SCHEMA)
            values = span.results.get((ASSESSMENTS, id_of_event), ())
            # One that was altered is told already: it is compared with a record.
            others = [value for value in values if _sha256(value) not in known]
            if others and len(values) > len(others):
                detail = f"{len(others)} more assessments under its id have no record"
                outcomes.append(Replayed(id_, place_of(event), "not replayable", detail))
        return outcomes


def first_difference(then: Any, now: Any, path: str = "") -> tuple[str, Any, Any]:
    """Return where two Avro data differ first, in the order of their fields, and both values.

    The path is empty where they do not.
    """
    if isinstance(then, dict) and isinstance(now, dict):
        for name in then:
            found = first_difference(then[name], now.get(name), f"{path}.{name}".lstrip("."))
            if found[0]:
                return found
        return "", None, None
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (one, other) in enumerate(zip(then, now, strict=True)):
            found = first_difference(one, other, f"{path}[{number}]")
            if found[0]:
                return found
        return "", None, None
    return ("", None, None) if then == now else (path, then, now)


def _shown(value: object) -> str:
    text = f"{len(value)} entries" if isinstance(value, list) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _sha256(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
