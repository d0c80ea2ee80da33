"""alerts, assessments, explanations, inspection-outcomes → the state that the pages show.

Whatever comes again changes nothing: every event has a natural key, and the first one stays. They
may come in any order, for they lie on different topics. The offsets read are kept in the same
transaction, so a database that is new or restored reads what it lacks.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import fastavro
from sqlalchemy import Connection, Row, Select, and_, func, insert, select, update

from schemas import codec
from schemas.codec import R, Record
from schemas.records import Alert, Assessment, Explanation, InspectionOutcome
from streams.console.tables import (
    AMENDMENTS,
    CASES,
    DOCUMENTS,
    JOURNAL,
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
"""An amendment was alerted as well: there is one open case of a declaration."""
SHOWN: Final = 200
"""Most cases that the queue shows at a time."""
RELATED: Final = 20
Event = Alert | Assessment | Explanation | InspectionOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One alert in the queue."""

    id: str
    changed: int
    state: str
    declaration_id: str
    declaration_version: int
    lane: str
    risk: float
    revenue: float
    office: str
    accepted: int
    goods: str
    declared: str
    suggested: str
    suggested_probability: float
    origin: str
    items: int
    photos: int
    degraded: int
    reasons: tuple[str, ...]
    amended: int
    assignee: str | None
    assignee_name: str | None
    snoozed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What of the queue is wanted."""

    lane: str = ""
    office: str = ""
    reason: str = ""
    view: str = "all"
    """all, mine, free (nobody's), snoozed or decided."""
    sort: str = "risk"
    """risk, time or revenue; the highest or latest first."""
    user: str = ""

    def keeps(self, case: Case) -> bool:
        """Tell whether a case belongs to this queue: what `_where` says in SQL."""
        views = {
            "all": case.state == OPEN and not case.snoozed,
            "mine": case.state == OPEN and not case.snoozed and case.assignee == self.user,
            "free": case.state == OPEN and not case.snoozed and case.assignee is None,
            "snoozed": case.state == OPEN and bool(case.snoozed),
            "decided": case.state == DECIDED,
        }
        return (
            views.get(self.view, False)
            and self.lane in {"", case.lane}
            and self.office in {"", case.office}
            and (not self.reason or self.reason in case.reasons)
        )

    def key(self, case: Case) -> float:
        """Return what the queue is sorted by, falling."""
        return {"time": float(case.accepted), "revenue": case.revenue}.get(self.sort, case.risk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of a case's journal."""

    at: int
    name: str
    act: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """All that is known of one case."""

    case: Case
    alert: Alert
    assessment: Assessment | None
    explanation: Explanation | None
    outcomes: tuple[InspectionOutcome, ...]
    """Of this version, in the order decided."""
    journal: tuple[Entry, ...]
    versions: tuple[Case, ...]
    """Other cases of the same declaration."""
    same_photo: tuple[Case, ...]
    """Other declarations' cases with one of its photos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue, and how it stands."""

    change: int
    """Every change up to this number is in it."""
    cases: tuple[Case, ...]
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """How many cases it has, shown or not."""
        return self.counts["total"]


@dataclass(slots=True)
class Store:
    """The console's state."""

    database: Database

    def take(self, events: Iterable[Event], positions: dict[tuple[str, int], int]) -> None:
        """Take events, and remember how far each partition was read; all or nothing."""
        with self.database.writing() as (connection, number):
            for event in events:
                take = _Taking(connection, number)
                if isinstance(event, Alert):
                    take.alert(event)
                elif isinstance(event, Assessment):
                    take.assessment(event)
                elif isinstance(event, Explanation):
                    take.explanation(event)
                else:
                    take.outcome(event)
            for (topic, partition), offset in positions.items():
                _reached(connection, topic, partition, offset)

    def position(self, topic: str, partition: int) -> int | None:
        """Return the next offset of a partition; None where nothing was read."""
        where = and_(POSITIONS.c.topic == topic, POSITIONS.c.partition == partition)
        with self.database.reading() as connection:
            found = connection.execute(select(POSITIONS.c.next).where(where)).scalar()
            return None if found is None else int(found)

    def queue(self, wanted: Filter) -> Queue:
        """Return the first cases of a queue."""
        change = self.database.change()  # before the cases: what changes between is told again
        order = {"time": CASES.c.accepted, "revenue": CASES.c.revenue}.get(
            wanted.sort, CASES.c.risk
        )
        where = _where(wanted)
        with self.database.reading() as connection:
            rows = connection.execute(
                select(CASES).where(where).order_by(order.desc(), CASES.c.id).limit(SHOWN)
            ).all()
        return Queue(
            change=change,
            cases=tuple(map(_case, rows)),
            counts=self.counts(wanted),
        )

    def counts(self, wanted: Filter) -> dict[str, int]:
        """Return how many cases are in each view, of the open ones in each lane, and wanted."""
        waiting = and_(CASES.c.state == OPEN, CASES.c.snoozed.is_(None))
        query = select(
            *(
                func.count().filter(condition).label(name)
                for name, condition in {
                    "all": waiting,
                    "red": and_(waiting, CASES.c.lane == "red"),
                    "yellow": and_(waiting, CASES.c.lane == "yellow"),
                    "mine": and_(waiting, CASES.c.assignee == wanted.user),
                    "free": and_(waiting, CASES.c.assignee.is_(None)),
                    "snoozed": and_(CASES.c.state == OPEN, CASES.c.snoozed.is_not(None)),
                    "decided": CASES.c.state == DECIDED,
                    "total": _where(wanted),
                }.items()
            )
        ).select_from(CASES)
        with self.database.reading() as connection:
            return {name: int(n) for name, n in connection.execute(query).mappings().one().items()}

    def offices(self) -> list[str]:
        """Return the declaration offices of all cases."""
        with self.database.reading() as connection:
            query = select(CASES.c.office).distinct().order_by(CASES.c.office)
            return list(connection.execute(query).scalars())

    def changes(self, after: int, case_id: str = "", limit: int = 100) -> list[Case]:
        """Return what changed after a change, each case once, in the order of its last change."""
        query = select(CASES).where(CASES.c.changed > after)
        if case_id:
            query = query.where(CASES.c.id == case_id)
        with self.database.reading() as connection:
            # All of one change, or none: its number is where the reader goes on.
            rows = connection.execute(query.order_by(CASES.c.changed).limit(limit)).all()
            if len(rows) == limit:
                last = rows[-1].changed
                some = [row for row in rows if row.changed < last]
                rows = [*some, *connection.execute(query.where(CASES.c.changed == last)).all()]
        return [_case(row) for row in rows]

    def detail(self, case_id: str) -> Detail | None:
        """Return all that is known of a case; None if there is none."""
        with self.database.reading() as connection:
            row = connection.execute(select(CASES).where(CASES.c.id == case_id)).one_or_none()
            if row is None:
                return None
            case = _case(row)
            found = connection.execute(
                select(DOCUMENTS.c.kind, DOCUMENTS.c.content).where(DOCUMENTS.c.case_id == case_id)
            )
            documents: dict[str, bytes] = {row.kind: row.content for row in found}
            outcomes = connection.execute(
                select(OUTCOMES.c.content)
                .where(OUTCOMES.c.case_id == case_id)
                .order_by(OUTCOMES.c.decided)
            ).scalars()
            journal = connection.execute(
                select(JOURNAL).where(JOURNAL.c.case_id == case_id).order_by(JOURNAL.c.id)
            )
            return Detail(
                case=case,
                alert=unpacked(documents["alert"], Alert),
                assessment=_optional(documents.get("assessment"), Assessment),
                explanation=_optional(documents.get("explanation"), Explanation),
                outcomes=tuple(unpacked(one, InspectionOutcome) for one in outcomes),
                journal=tuple(
                    Entry(at=one.at, name=one.name, act=one.act, text=one.text) for one in journal
                ),
                versions=_related(
                    connection,
                    select(CASES).where(
                        CASES.c.declaration == row.declaration, CASES.c.id != case.id
                    ),
                ),
                same_photo=_related(
                    connection,
                    select(CASES).where(
                        CASES.c.declaration != row.declaration,
                        CASES.c.id.in_(
                            select(PHOTOS.c.case_id).where(
                                PHOTOS.c.photo.in_(
                                    select(PHOTOS.c.photo).where(PHOTOS.c.case_id == case.id)
                                )
                            )
                        ),
                    ),
                ),
            )

    def alert(self, case_id: str) -> Alert | None:
        """Return a case's alert; None if there is none."""
        found = self._document(case_id, "alert")
        return None if found is None else unpacked(found, Alert)

    def explanation(self, case_id: str) -> Explanation | None:
        """Return a case's explanation; None while there is none."""
        found = self._document(case_id, "explanation")
        return None if found is None else unpacked(found, Explanation)

    def _document(self, case_id: str, kind: str) -> bytes | None:
        query = select(DOCUMENTS.c.content).where(
            DOCUMENTS.c.case_id == case_id, DOCUMENTS.c.kind == kind
        )
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()


def case_id_of(declaration_id: str, version: int) -> str:
    """Return the id of a case."""
    return key_of("case", declaration_id, version)


def packed(record: Record) -> bytes:
    """Return a record as an Avro container file: readable under every later schema."""
    out = io.BytesIO()
    fastavro.writer(out, codec.schema(record.SCHEMA), [record.to_avro()])
    return out.getvalue()


def unpacked(content: bytes, kind: type[R]) -> R:
    """Return the record of a container file that `packed` wrote."""
    datum = next(fastavro.reader(io.BytesIO(content), codec.schema(kind.SCHEMA)))
    return kind.from_avro(datum)  # type: ignore[arg-type] # a record's datum is a dict


def add_outcome(connection: Connection, outcome: InspectionOutcome) -> bool:
    """Remember a decision; returns whether it is new."""
    key = key_of("outcome", outcome.outcome_id)
    known = select(OUTCOMES.c.outcome).where(OUTCOMES.c.outcome == key)
    if connection.execute(known).first() is not None:
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
    """Return the latest version with a case, where there is one after this version."""
    return connection.execute(
        select(func.max(CASES.c.declaration_version)).where(
            CASES.c.declaration == declaration, CASES.c.declaration_version > version
        )
    ).scalar()


class _Taking:
    """One event into the tables, within a transaction."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = number

    def alert(self, alert: Alert) -> None:
        if not alert.items or not self._keep(alert, "alert"):
            return
        first, id_ = alert.items[0], case_id_of(alert.declaration_id, alert.declaration_version)
        declaration = key_of("declaration", alert.declaration_id)
        later = later_case(self._connection, declaration, alert.declaration_version)
        green = self._one(
            select(AMENDMENTS.c.version).where(
                AMENDMENTS.c.declaration == declaration,
                AMENDMENTS.c.version > alert.declaration_version,
            )
        )
        self._connection.execute(
            insert(CASES).values(
                id=id_,
                changed=self._number,
                state=self._state(id_, later),
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
                reasons=_words(reason.code for item in alert.items for reason in item.reasons),
                amended=max(later or 0, green or 0),
            )
        )
        for photo in sorted({key_of("photo", uri) for item in alert.items for uri in item.images}):
            self._connection.execute(insert(PHOTOS).values(photo=photo, case_id=id_))
        self._connection.execute(
            update(CASES)
            .where(
                CASES.c.declaration == declaration,
                CASES.c.declaration_version < alert.declaration_version,
                CASES.c.state == OPEN,
            )
            .values(state=SUPERSEDED, amended=alert.declaration_version, changed=self._number)
        )

    def assessment(self, assessment: Assessment) -> None:
        if assessment.lane == "green":  # nobody's case, unless an amendment of one
            self._amended(assessment)
        elif self._keep(assessment, "assessment"):
            self._touch(assessment)

    def explanation(self, explanation: Explanation) -> None:
        if self._keep(explanation, "explanation"):
            self._touch(explanation)

    def outcome(self, outcome: InspectionOutcome) -> None:
        # One of our own is on the topic: sent, whatever a restored database knows of it.
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

    def _state(self, id_: str, later: int | None) -> str:
        if self._one(select(func.count()).where(OUTCOMES.c.case_id == id_)):
            return DECIDED
        return SUPERSEDED if later else OPEN

    def _amended(self, assessment: Assessment) -> None:
        if assessment.declaration_version < 2:  # noqa: PLR2004 - the first amends nothing
            return
        declaration = key_of("declaration", assessment.declaration_id)
        where = AMENDMENTS.c.declaration == declaration
        known = self._one(select(AMENDMENTS.c.version).where(where))
        if known is None:
            self._connection.execute(
                insert(AMENDMENTS).values(
                    declaration=declaration, version=assessment.declaration_version
                )
            )
        elif known < assessment.declaration_version:
            self._connection.execute(
                update(AMENDMENTS).where(where).values(version=assessment.declaration_version)
            )
        self._connection.execute(
            update(CASES)
            .where(
                CASES.c.declaration == declaration,
                CASES.c.declaration_version < assessment.declaration_version,
                CASES.c.amended < assessment.declaration_version,
            )
            .values(amended=assessment.declaration_version, changed=self._number)
        )

    def _keep(self, document: Alert | Assessment | Explanation, kind: str) -> bool:
        id_ = case_id_of(document.declaration_id, document.declaration_version)
        known = select(func.count()).where(DOCUMENTS.c.case_id == id_, DOCUMENTS.c.kind == kind)
        if self._one(known):
            return False
        self._connection.execute(
            insert(DOCUMENTS).values(case_id=id_, kind=kind, content=packed(document))
        )
        return True

    def _touch(self, document: Event, **values: Any) -> None:
        self._connection.execute(
            update(CASES)
            .where(CASES.c.id == case_id_of(document.declaration_id, document.declaration_version))
            .values(changed=self._number, **values)
        )

    def _one(self, query: Select[Any]) -> Any:
        return self._connection.execute(query).scalar()


def _reached(connection: Connection, topic: str, partition: int, offset: int) -> None:
    where = and_(POSITIONS.c.topic == topic, POSITIONS.c.partition == partition)
    known = connection.execute(select(POSITIONS.c.next).where(where)).scalar()
    # Never back: a replica that lost the partition may still be at its last batch.
    if known is not None:
        connection.execute(update(POSITIONS).where(where).values(next=max(known, offset)))
    else:
        connection.execute(insert(POSITIONS).values(topic=topic, partition=partition, next=offset))


def _where(wanted: Filter) -> Any:
    waiting = and_(CASES.c.state == OPEN, CASES.c.snoozed.is_(None))
    views = {
        "all": waiting,
        "mine": and_(waiting, CASES.c.assignee == wanted.user),
        "free": and_(waiting, CASES.c.assignee.is_(None)),
        "snoozed": and_(CASES.c.state == OPEN, CASES.c.snoozed.is_not(None)),
        "decided": CASES.c.state == DECIDED,
    }
    conditions = [views.get(wanted.view, waiting)]
    if wanted.lane:
        conditions.append(CASES.c.lane == wanted.lane)
    if wanted.office:
        conditions.append(CASES.c.office == wanted.office)
    if wanted.reason:
        conditions.append(CASES.c.reasons.contains(f" {wanted.reason} ", autoescape=True))
    return and_(*conditions)


def _related(connection: Connection, query: Select[Any]) -> tuple[Case, ...]:
    rows = connection.execute(query.order_by(CASES.c.accepted.desc()).limit(RELATED))
    return tuple(map(_case, rows))


def _case(row: Row[Any]) -> Case:
    fields = dict(row._mapping)  # noqa: SLF001 - its documented name
    del fields["declaration"]
    return Case(**fields | {"reasons": tuple(fields["reasons"].split())})


def _words(codes: Iterable[str]) -> str:
    return f" {' '.join(dict.fromkeys(codes))} "


def _optional(content: bytes | None, kind: type[R]) -> R | None:
    return None if content is None else unpacked(content, kind)


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
