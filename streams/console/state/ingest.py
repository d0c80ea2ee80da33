"""alerts, assessments, explanations, inspection-outcomes → the console's tables.

A repeated event changes nothing: every event has a natural key, and the first one stays. Events
come in any order, because they are on different topics. The offsets are stored in the same
transaction, so a new or restored database reads what it lacks.
"""

import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import fastavro
from sqlalchemy import ColumnElement, Connection, Select, and_, func, insert, select, update

from schemas import codec
from schemas.codec import R, Record
from schemas.records import Alert, Assessment, Explanation, InspectionOutcome
from streams.console.state.tables import (
    AMENDMENTS,
    CASES,
    DOCUMENTS,
    OUTBOX,
    OUTCOMES,
    PHOTOS,
    POSITIONS,
    Database,
    key_of,
)

OPEN: Final = "open"
DECIDED: Final = "decided"
SUPERSEDED: Final = "superseded"
"""An amendment has an alert too: a declaration has at most one open case."""
Event = Alert | Assessment | Explanation | InspectionOutcome


def ingest(
    database: Database, events: Iterable[Event], positions: Mapping[tuple[str, int], int]
) -> None:
    """Store events and the position of each partition; all or nothing.

    Args:
        database: with the console's tables.
        events: in the order that they were read.
        positions: topic and partition → next offset to read.
    """
    with database.writing() as (connection, number):
        ingestor = EventIngestor(connection, number)
        for event in events:
            if isinstance(event, Alert):
                ingestor.alert(event)
            elif isinstance(event, Assessment):
                ingestor.assessment(event)
            elif isinstance(event, Explanation):
                ingestor.explanation(event)
            else:
                ingestor.outcome(event)
        for (topic, partition), offset in positions.items():
            _advance(connection, topic, partition, offset)


def position(database: Database, topic: str, partition: int) -> int | None:
    """Return the next offset to read of a partition; None if none was read yet."""
    with database.reading() as connection:
        return _next_offset(connection, _is_partition(topic, partition))


def case_id_of(declaration_id: str, version: int) -> str:
    """Return the id of a case."""
    return key_of("case", declaration_id, version)


def packed(record: Record) -> bytes:
    """Return a record as an Avro container file, which every later schema can read."""
    out = io.BytesIO()
    fastavro.writer(out, codec.schema(record.SCHEMA), [record.to_avro()])
    return out.getvalue()


def unpacked(content: bytes, kind: type[R]) -> R:
    """Return the record of a container file made by `packed`."""
    datum = next(fastavro.reader(io.BytesIO(content), codec.schema(kind.SCHEMA)))
    return kind.from_avro(datum)  # type: ignore[arg-type] # a record's datum is a dict


def add_outcome(connection: Connection, outcome: InspectionOutcome) -> bool:
    """Store a decision; returns whether it is new."""
    key = key_of("outcome", outcome.outcome_id)
    stored = select(OUTCOMES.c.outcome).where(OUTCOMES.c.outcome == key)
    if connection.execute(stored).first() is not None:
        return False
    connection.execute(
        insert(OUTCOMES).values(
            outcome=key,
            case_id=case_id_of(outcome.declaration_id, outcome.declaration_version),
            decided=_milliseconds(outcome.decided_at),
            content=packed(outcome),
        )
    )
    return True


def later_case(connection: Connection, declaration: str, version: int) -> int | None:
    """Return the latest version with a case, if it is later than this one; else None."""
    return connection.execute(
        select(func.max(CASES.c.declaration_version)).where(
            CASES.c.declaration == declaration, CASES.c.declaration_version > version
        )
    ).scalar()


class EventIngestor:
    """Stores events within one transaction; `number` is that of its change."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = number

    def alert(self, alert: Alert) -> None:
        """Open the case of an alert, and supersede those of earlier versions."""
        if not alert.items or not self._keep(alert, "alert"):
            return
        first, case_id = alert.items[0], case_id_of(alert.declaration_id, alert.declaration_version)
        declaration = key_of("declaration", alert.declaration_id)
        later = later_case(self._connection, declaration, alert.declaration_version)
        later_green = self._value(
            select(AMENDMENTS.c.version).where(
                AMENDMENTS.c.declaration == declaration,
                AMENDMENTS.c.version > alert.declaration_version,
            )
        )
        self._connection.execute(
            insert(CASES).values(
                id=case_id,
                changed=self._number,
                state=self._state(case_id, later),
                declaration=declaration,
                declaration_id=alert.declaration_id,
                declaration_version=alert.declaration_version,
                lane=alert.lane,
                risk=alert.risk,
                revenue=alert.expected_revenue_at_risk,
                office=alert.declaration_office,
                accepted=_milliseconds(alert.acceptance_time),
                goods=first.description[:300],
                declared=first.commodity_code,
                suggested=first.suggested_hs6,
                suggested_probability=first.suggested_probability,
                origin=first.country_of_origin,
                items=len(alert.items),
                photos=sum(len(item.images) for item in alert.items),
                degraded=len(alert.degraded),
                reasons=_between_blanks(
                    reason.code for item in alert.items for reason in item.reasons
                ),
                amended=max(later or 0, later_green or 0),
            )
        )
        for photo in sorted({key_of("photo", uri) for item in alert.items for uri in item.images}):
            self._connection.execute(insert(PHOTOS).values(photo=photo, case_id=case_id))
        self._mark_amended(declaration, alert.declaration_version)
        self._connection.execute(
            update(CASES)
            .where(
                CASES.c.declaration == declaration,
                CASES.c.declaration_version < alert.declaration_version,
                CASES.c.state == OPEN,
            )
            .values(state=SUPERSEDED, changed=self._number)
        )

    def assessment(self, assessment: Assessment) -> None:
        """Keep the assessment of an alert, or that an amendment turned a declaration green."""
        if assessment.lane == "green":  # has no case, unless it amends one that has
            self._turned_green(assessment)
        elif self._keep(assessment, "assessment"):
            self._touch(assessment)

    def explanation(self, explanation: Explanation) -> None:
        """Keep the explanation of an alert."""
        if self._keep(explanation, "explanation"):
            self._touch(explanation)

    def outcome(self, outcome: InspectionOutcome) -> None:
        """Close the case that an outcome decides on."""
        # A decision of ours is on the topic, so it was sent, whatever a restored database says.
        sent = self._connection.execute(
            update(OUTBOX)
            .where(
                OUTBOX.c.outcome == key_of("outcome", outcome.outcome_id), OUTBOX.c.sent.is_(None)
            )
            .values(sent=_milliseconds(datetime.now(UTC)))
        ).rowcount
        if add_outcome(self._connection, outcome):
            self._touch(outcome, state=DECIDED, snoozed=None)
        elif sent:
            self._touch(outcome)

    def _state(self, case_id: str, later: int | None) -> str:
        if self._value(select(func.count()).where(OUTCOMES.c.case_id == case_id)):
            return DECIDED
        return SUPERSEDED if later else OPEN

    def _turned_green(self, assessment: Assessment) -> None:
        if assessment.declaration_version < 2:  # noqa: PLR2004 - the first version amends nothing
            return
        declaration = key_of("declaration", assessment.declaration_id)
        where = AMENDMENTS.c.declaration == declaration
        stored = self._value(select(AMENDMENTS.c.version).where(where))
        if stored is None:
            self._connection.execute(
                insert(AMENDMENTS).values(
                    declaration=declaration, version=assessment.declaration_version
                )
            )
        elif stored < assessment.declaration_version:
            self._connection.execute(
                update(AMENDMENTS).where(where).values(version=assessment.declaration_version)
            )
        self._mark_amended(declaration, assessment.declaration_version)

    def _mark_amended(self, declaration: str, version: int) -> None:
        """Store the amendment with the cases of earlier versions."""
        self._connection.execute(
            update(CASES)
            .where(
                CASES.c.declaration == declaration,
                CASES.c.declaration_version < version,
                CASES.c.amended < version,
            )
            .values(amended=version, changed=self._number)
        )

    def _keep(self, document: Alert | Assessment | Explanation, kind: str) -> bool:
        """Store a document of a case; returns whether it is the first of its kind."""
        case_id = case_id_of(document.declaration_id, document.declaration_version)
        stored = select(func.count()).where(
            DOCUMENTS.c.case_id == case_id, DOCUMENTS.c.kind == kind
        )
        if self._value(stored):
            return False
        self._connection.execute(
            insert(DOCUMENTS).values(case_id=case_id, kind=kind, content=packed(document))
        )
        return True

    def _touch(self, document: Event, **values: Any) -> None:
        """Mark the case of an event as changed."""
        self._connection.execute(
            update(CASES)
            .where(CASES.c.id == case_id_of(document.declaration_id, document.declaration_version))
            .values(changed=self._number, **values)
        )

    def _value(self, query: Select[Any]) -> Any:
        return self._connection.execute(query).scalar()


def _advance(connection: Connection, topic: str, partition: int, offset: int) -> None:
    where = _is_partition(topic, partition)
    stored = _next_offset(connection, where)
    # Never back: a replica that lost the partition may still be storing its last batch.
    if stored is not None:
        connection.execute(update(POSITIONS).where(where).values(next=max(stored, offset)))
    else:
        connection.execute(insert(POSITIONS).values(topic=topic, partition=partition, next=offset))


def _is_partition(topic: str, partition: int) -> ColumnElement[bool]:
    return and_(POSITIONS.c.topic == topic, POSITIONS.c.partition == partition)


def _next_offset(connection: Connection, where: ColumnElement[bool]) -> int | None:
    offset = connection.execute(select(POSITIONS.c.next).where(where)).scalar()
    return None if offset is None else int(offset)


def _between_blanks(codes: Iterable[str]) -> str:
    return f" {' '.join(dict.fromkeys(codes))} "


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
