"""The console's tables → what the pages show."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, func, select

from schemas.codec import R
from schemas.records import Alert, Assessment, Explanation, InspectionOutcome
from streams.console.state.ingest import DECIDED, OPEN, unpacked
from streams.console.state.tables import CASES, DOCUMENTS, JOURNAL, OUTCOMES, PHOTOS, Database

SHOWN: Final = 200
"""Most cases that the queue shows at a time."""
RELATED: Final = 20
"""Most other cases that a case's page lists of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCase:
    """One alert in the queue: a row of the table `cases`, without its `declaration`."""

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
    """Which cases a queue shows, and in which order."""

    lane: str = ""
    office: str = ""
    reason: str = ""
    view: str = "all"
    """all, mine, free (assigned to nobody), snoozed or decided."""
    sort: str = "risk"
    """risk, time or revenue; the highest or latest first."""
    user: str = ""

    def keeps(self, case: AlertCase) -> bool:
        """Tell whether a case belongs to this queue; `_where` says the same in SQL."""
        views = {
            "all": case.state == OPEN and not case.snoozed,
            "mine": case.state == OPEN and not case.snoozed and case.assignee == self.user,
            "free": case.state == OPEN and not case.snoozed and case.assignee is None,
            "snoozed": case.state == OPEN and bool(case.snoozed),
            "decided": case.state == DECIDED,
        }
        return (
            views.get(self.view, views["all"])
            and self.lane in {"", case.lane}
            and self.office in {"", case.office}
            and (not self.reason or self.reason in case.reasons)
        )

    def key(self, case: AlertCase) -> float:
        """Return the value that the queue is sorted by, descending."""
        return {"time": float(case.accepted), "revenue": case.revenue}.get(self.sort, case.risk)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """A line of a case's journal."""

    at: int
    name: str
    act: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseDetail:
    """Everything stored of one case."""

    case: AlertCase
    alert: Alert
    assessment: Assessment | None
    explanation: Explanation | None
    outcomes: tuple[InspectionOutcome, ...]
    """Of this version, in the order of decision."""
    journal: tuple[JournalEntry, ...]
    versions: tuple[AlertCase, ...]
    """Other cases of the same declaration."""
    same_photo: tuple[AlertCase, ...]
    """Other declarations' cases with one of its photos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue as it is shown."""

    change: int
    """It contains every change up to this number."""
    cases: tuple[AlertCase, ...]
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """Number of its cases, shown or not."""
        return self.counts["total"]


@dataclass(slots=True)
class Store:
    """Queries of the console's database."""

    database: Database

    def queue(self, queue_filter: Filter) -> Queue:
        """Return the first cases of a queue."""
        change = self.database.change()  # before the cases: the stream repeats later changes
        order = {"time": CASES.c.accepted, "revenue": CASES.c.revenue}.get(
            queue_filter.sort, CASES.c.risk
        )
        where = _where(queue_filter)
        with self.database.reading() as connection:
            rows = connection.execute(
                select(CASES).where(where).order_by(order.desc(), CASES.c.id).limit(SHOWN)
            ).all()
        return Queue(
            change=change,
            cases=tuple(map(_case, rows)),
            counts=self.counts(queue_filter),
        )

    def counts(self, queue_filter: Filter) -> dict[str, int]:
        """Return how many cases are in each view, open in each lane, and in the queue itself."""
        waiting = and_(CASES.c.state == OPEN, CASES.c.snoozed.is_(None))
        query = select(
            *(
                func.count().filter(condition).label(name)
                for name, condition in {
                    "all": waiting,
                    "red": and_(waiting, CASES.c.lane == "red"),
                    "yellow": and_(waiting, CASES.c.lane == "yellow"),
                    "mine": and_(waiting, CASES.c.assignee == queue_filter.user),
                    "free": and_(waiting, CASES.c.assignee.is_(None)),
                    "snoozed": and_(CASES.c.state == OPEN, CASES.c.snoozed.is_not(None)),
                    "decided": CASES.c.state == DECIDED,
                    "total": _where(queue_filter),
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

    def changes(self, after: int, case_id: str = "", limit: int = 100) -> list[AlertCase]:
        """Return the cases that changed after a change, in the order of their last changes.

        All cases of one change come together, so there may be more than `limit`.
        """
        query = select(CASES).where(CASES.c.changed > after)
        if case_id:
            query = query.where(CASES.c.id == case_id)
        with self.database.reading() as connection:
            # All cases of a change or none: the reader continues after its number.
            rows = connection.execute(query.order_by(CASES.c.changed).limit(limit)).all()
            if len(rows) == limit:
                last = rows[-1].changed
                some = [row for row in rows if row.changed < last]
                rows = [*some, *connection.execute(query.where(CASES.c.changed == last)).all()]
        return [_case(row) for row in rows]

    def detail(self, case_id: str) -> CaseDetail | None:
        """Return everything stored of a case; None if there is none."""
        with self.database.reading() as connection:
            row = connection.execute(select(CASES).where(CASES.c.id == case_id)).one_or_none()
            if row is None:
                return None
            case = _case(row)
            contents = connection.execute(
                select(DOCUMENTS.c.kind, DOCUMENTS.c.content).where(DOCUMENTS.c.case_id == case_id)
            )
            documents: dict[str, bytes] = {row.kind: row.content for row in contents}
            outcomes = connection.execute(
                select(OUTCOMES.c.content)
                .where(OUTCOMES.c.case_id == case_id)
                .order_by(OUTCOMES.c.decided)
            ).scalars()
            journal = connection.execute(
                select(JOURNAL).where(JOURNAL.c.case_id == case_id).order_by(JOURNAL.c.id)
            )
            return CaseDetail(
                case=case,
                alert=unpacked(documents["alert"], Alert),
                assessment=_optional(documents.get("assessment"), Assessment),
                explanation=_optional(documents.get("explanation"), Explanation),
                outcomes=tuple(unpacked(content, InspectionOutcome) for content in outcomes),
                journal=tuple(
                    JournalEntry(at=entry.at, name=entry.name, act=entry.act, text=entry.text)
                    for entry in journal
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
        return _optional(self._document(case_id, "alert"), Alert)

    def explanation(self, case_id: str) -> Explanation | None:
        """Return a case's explanation; None while there is none."""
        return _optional(self._document(case_id, "explanation"), Explanation)

    def _document(self, case_id: str, kind: str) -> bytes | None:
        query = select(DOCUMENTS.c.content).where(
            DOCUMENTS.c.case_id == case_id, DOCUMENTS.c.kind == kind
        )
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()


def _where(queue_filter: Filter) -> Any:
    waiting = and_(CASES.c.state == OPEN, CASES.c.snoozed.is_(None))
    views = {
        "all": waiting,
        "mine": and_(waiting, CASES.c.assignee == queue_filter.user),
        "free": and_(waiting, CASES.c.assignee.is_(None)),
        "snoozed": and_(CASES.c.state == OPEN, CASES.c.snoozed.is_not(None)),
        "decided": CASES.c.state == DECIDED,
    }
    conditions = [views.get(queue_filter.view, waiting)]
    if queue_filter.lane:
        conditions.append(CASES.c.lane == queue_filter.lane)
    if queue_filter.office:
        conditions.append(CASES.c.office == queue_filter.office)
    if queue_filter.reason:
        conditions.append(CASES.c.reasons.contains(f" {queue_filter.reason} ", autoescape=True))
    return and_(*conditions)


def _related(connection: Connection, query: Select[Any]) -> tuple[AlertCase, ...]:
    rows = connection.execute(query.order_by(CASES.c.accepted.desc()).limit(RELATED))
    return tuple(map(_case, rows))


def _case(row: Row[Any]) -> AlertCase:
    fields = dict(row._mapping)  # noqa: SLF001 - its documented name
    del fields["declaration"]
    return AlertCase(**fields | {"reasons": tuple(fields["reasons"].split())})


def _optional(content: bytes | None, kind: type[R]) -> R | None:
    return None if content is None else unpacked(content, kind)
