"""What inspectors do with a case → its state, journal and outbox, in one transaction.

A decision's id is deterministic: it follows from the declaration, its version and the number of
decisions before. So a form that is sent twice is one decision, and so is a decision that is
published twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import uuid5

from sqlalchemy import Connection, and_, func, insert, select, update

from schemas.records import Alert, Finding, InspectionOutcome
from schemas.rules import COMMODITY_CODE
from streams.console.state.ingest import DECIDED, OPEN, add_outcome, later_case, packed, unpacked
from streams.console.state.tables import (
    CASES,
    DOCUMENTS,
    JOURNAL,
    OUTBOX,
    OUTCOMES,
    Database,
    key_of,
)
from streams.console.state.users import User
from streams.kafka.events import NAMESPACE

KINDS: Final = (
    "misclassification",
    "undervaluation",
    "origin",
    "splitting",
    "photo_reuse",
    "prohibited",
    "other",
)
"""Kinds of findings; see docs/events.md."""
MAX_NOTE: Final = 2000
MAX_FINDINGS: Final = 50
MAX_REVENUE: Final = Decimal(10) ** 14
Clock = Callable[[], datetime]


class Refused(Exception):  # noqa: N818 - says what it is
    """An act that is not possible; `key` is a message id of streams/console/web/locale."""

    def __init__(self, key: str, **words: str) -> None:
        super().__init__(key)
        self.key = key
        self.words = words


class Conflict(Refused):
    """Somebody else has acted on the case, or it is no longer open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A decision to publish."""

    outcome: InspectionOutcome
    tried: int | None
    """When the first attempt began; None if there was none. Unit: milliseconds since 1970."""


def _now() -> datetime:
    return datetime.now(UTC)


class CaseActions:
    """Acts of inspectors on cases, and the decisions that wait to be published."""

    def __init__(
        self, database: Database, pseudonym_of: Callable[[str], str], now: Clock = _now
    ) -> None:
        """Take the database; `pseudonym_of` gives the name of an inspector in events."""
        self._database = database
        self._pseudonym_of = pseudonym_of
        self._now = now

    def assign(self, case_id: str, user: User) -> None:
        """Assign an open case to the user.

        Raises:
            Conflict: somebody else has it, or it is no longer open.
        """
        with self._database.writing() as (connection, number):
            case = _open_case(connection, case_id)
            if case.assignee == user.id:
                return
            if case.assignee and not user.supervises:
                raise Conflict("taken", name=case.assignee_name or "")
            _set(connection, case_id, number, assignee=user.id, assignee_name=user.name)
            self._log((connection, number), case_id, user, "assigned")

    def release(self, case_id: str, user: User) -> None:
        """Give back an open case; supervisors may give back anybody's.

        Raises:
            Conflict: somebody else has it, or it is no longer open.
        """
        with self._database.writing() as (connection, number):
            case = _open_case(connection, case_id)
            if case.assignee is None:
                return
            _check_holder(case, user)
            _set(connection, case_id, number, assignee=None, assignee_name=None)
            self._log((connection, number), case_id, user, "released")

    def snooze(self, case_id: str, user: User, until: datetime | None) -> None:
        """Take an open case out of the queue until a moment; None brings it back.

        Raises:
            Conflict: somebody else has it, or it is no longer open.
        """
        with self._database.writing() as (connection, number):
            _check_holder(_open_case(connection, case_id), user)
            moment = None if until is None else round(until.timestamp() * 1000)
            _set(connection, case_id, number, snoozed=moment)
            act = "woken" if until is None else "snoozed"
            self._log((connection, number), case_id, user, act, str(moment or ""))

    def note(self, case_id: str, user: User, text: str) -> None:
        """Write a note into a case's journal.

        Raises:
            Refused: the note is empty, or there is no such case.
        """
        text = text.strip()[:MAX_NOTE]
        if not text:
            raise Refused("note_empty")
        with self._database.writing() as (connection, number):
            _case(connection, case_id)
            _set(connection, case_id, number)
            self._log((connection, number), case_id, user, "note", text)

    def decide(
        self, case_id: str, user: User, result: str, findings: tuple[Finding, ...], note: str
    ) -> str:
        """Decide on a case; returns the outcome's id, the first one's if a decision is repeated.

        Raises:
            Conflict: there is another decision or a later version, or somebody else has the case.
            Refused: the decision breaks a rule, or there is no such case.
        """
        note = note.strip()[:MAX_NOTE]
        now = self._now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        with self._database.writing() as (connection, number):
            case = _case(connection, case_id)
            _check(result, findings, _alert(connection, case))
            if case.state == DECIDED:
                return _repeated(connection, case_id, user, (result, findings, note))
            if case.state != OPEN:
                raise Conflict("superseded")
            _check_holder(case, user)
            outcome = InspectionOutcome(
                outcome_id=_outcome_id(connection, case),
                declaration_id=case.declaration_id,
                declaration_version=case.declaration_version,
                decided_at=now,
                inspector=self._pseudonym_of(user.id),
                result=result,
                findings=findings,
                note=note,
            )
            add_outcome(connection, outcome)
            connection.execute(
                insert(OUTBOX).values(
                    outcome=key_of("outcome", outcome.outcome_id),
                    case_id=case_id,
                    user=user.id,
                    created=number,
                    content=packed(outcome),
                    claimed_until=0,
                )
            )
            _set(
                connection,
                case_id,
                number,
                state=DECIDED,
                snoozed=None,
                assignee=user.id,
                assignee_name=user.name,
            )
            self._log((connection, number), case_id, user, result, note)
            return outcome.outcome_id

    def reopen(self, case_id: str, user: User) -> None:
        """Open a decided case again, for another decision.

        Raises:
            Conflict: there is an open case of a later version.
            Refused: the user is no supervisor, or there is no such case.
        """
        if not user.supervises:
            raise Refused("not_allowed")
        with self._database.writing() as (connection, number):
            case = _case(connection, case_id)
            if case.state == OPEN:
                return
            later = later_case(connection, case.declaration, case.declaration_version)
            if case.state != DECIDED or later:
                raise Conflict("superseded")
            _set(connection, case_id, number, state=OPEN, assignee=None, assignee_name=None)
            self._log((connection, number), case_id, user, "reopened")

    def wake(self) -> int:
        """Bring back the cases that were snoozed until now; returns how many."""
        due = and_(CASES.c.snoozed.is_not(None), CASES.c.snoozed <= self._milliseconds())
        with self._database.reading() as connection:
            if connection.execute(select(CASES.c.id).where(due).limit(1)).first() is None:
                return 0
        with self._database.writing() as (connection, number):
            done = connection.execute(update(CASES).where(due).values(snoozed=None, changed=number))
            return int(done.rowcount)

    def claim(self, lease_ms: int) -> Pending | None:
        """Claim the oldest decision to publish for `lease_ms`; None if there is none."""
        now = self._milliseconds()
        waiting = and_(OUTBOX.c.sent.is_(None), OUTBOX.c.claimed_until <= now)
        query = select(OUTBOX).where(waiting).order_by(OUTBOX.c.created).limit(1)
        with self._database.reading() as connection:
            if connection.execute(query).first() is None:
                return None
        with self._database.writing() as (connection, _):
            row = connection.execute(query).first()
            if row is None:
                return None
            connection.execute(
                update(OUTBOX)
                .where(OUTBOX.c.outcome == row.outcome)
                .values(claimed_until=now + lease_ms, tried=now if row.tried is None else row.tried)
            )
            return Pending(outcome=unpacked(row.content, InspectionOutcome), tried=row.tried)

    def sent(self, outcome_id: str) -> None:
        """Record that a decision was published."""
        with self._database.writing() as (connection, number):
            where = OUTBOX.c.outcome == key_of("outcome", outcome_id)
            row = connection.execute(select(OUTBOX.c.case_id).where(where)).one()
            connection.execute(update(OUTBOX).where(where).values(sent=self._milliseconds()))
            _set(connection, row.case_id, number)

    def retry(self, outcome_id: str, delay_ms: int) -> None:
        """End the claim on a decision that could not be published, `delay_ms` from now."""
        with self._database.writing() as (connection, _):
            connection.execute(
                update(OUTBOX)
                .where(OUTBOX.c.outcome == key_of("outcome", outcome_id))
                .values(claimed_until=self._milliseconds() + delay_ms)
            )

    def unsent(self, case_id: str = "") -> int:
        """Return how many decisions wait to be published, on one case or on all."""
        query = select(func.count()).select_from(OUTBOX).where(OUTBOX.c.sent.is_(None))
        if case_id:
            query = query.where(OUTBOX.c.case_id == case_id)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def _milliseconds(self) -> int:
        return round(self._now().timestamp() * 1000)

    def _log(
        self,
        transaction: tuple[Connection, int],
        case_id: str,
        user: User,
        act: str,
        text: str = "",
    ) -> None:
        connection, number = transaction
        connection.execute(
            insert(JOURNAL).values(
                id=number,
                case_id=case_id,
                at=self._milliseconds(),
                user=user.id,
                name=user.name,
                act=act,
                text=text,
            )
        )


def amount(text: str) -> Decimal | None:
    """Return an amount in euro as an inspector typed it; None for none.

    Raises:
        Refused: the text is no amount.
    """
    text = text.strip().removeprefix("€").removesuffix("€").replace("\xa0", "").replace(" ", "")
    if not text:
        return None
    # The last comma or point is the decimal one; three digits after it are ambiguous.
    point = max(text.rfind(","), text.rfind("."))
    whole, cents = (text, "") if point < 0 else (text[:point], text[point + 1 :])
    if len(cents) > 2:  # noqa: PLR2004 - "1.234" is 1234 in some countries
        raise Refused("amount_wrong")
    try:
        value = Decimal(f"{whole.replace(',', '').replace('.', '') or '0'}.{cents or '0'}")
    except InvalidOperation as error:
        raise Refused("amount_wrong") from error
    if not value.is_finite() or not 0 <= value < MAX_REVENUE:
        raise Refused("amount_wrong")
    return value.quantize(Decimal("0.01"))


def _check(result: str, findings: tuple[Finding, ...], alert: Alert) -> None:
    """Refuse a decision that the contract forbids or an inspector cannot mean."""
    declared = {item.sequence_number: item.commodity_code for item in alert.items}
    if result == "conforming":
        if findings:
            raise Refused("findings_unexpected")
        return
    if result != "irregular":
        raise Refused("result_missing")
    if not 1 <= len(findings) <= MAX_FINDINGS:
        raise Refused("finding_missing")
    for finding in findings:
        code = finding.established_code
        if finding.kind not in KINDS or finding.sequence_number not in declared:
            raise Refused("finding_missing")
        if code and not COMMODITY_CODE.fullmatch(code):
            raise Refused("code_wrong")
        if finding.kind == "misclassification" and code in {"", declared[finding.sequence_number]}:
            raise Refused("code_missing")


def _repeated(connection: Connection, case_id: str, user: User, decision: tuple[Any, ...]) -> str:
    """Return the id of the last decision, if the user repeats exactly that one."""
    row = connection.execute(
        select(OUTBOX).where(OUTBOX.c.case_id == case_id).order_by(OUTBOX.c.created.desc()).limit(1)
    ).first()
    if row is not None and row.user == user.id:
        last = unpacked(row.content, InspectionOutcome)
        if (last.result, last.findings, last.note) == decision:
            return last.outcome_id
    raise Conflict("decided_already")


def _outcome_id(connection: Connection, case: Any) -> str:
    before = connection.execute(
        select(func.count()).where(OUTCOMES.c.case_id == case.id)
    ).scalar_one()
    decision = f"{case.declaration_id}|{case.declaration_version}|decision|{before}"
    return str(uuid5(NAMESPACE, decision))


def _alert(connection: Connection, case: Any) -> Alert:
    content = connection.execute(
        select(DOCUMENTS.c.content).where(
            DOCUMENTS.c.case_id == case.id, DOCUMENTS.c.kind == "alert"
        )
    ).scalar_one()
    return unpacked(content, Alert)


def _case(connection: Connection, case_id: str) -> Any:
    row = connection.execute(select(CASES).where(CASES.c.id == case_id)).one_or_none()
    if row is None:
        raise Refused("no_case")
    return row


def _open_case(connection: Connection, case_id: str) -> Any:
    case = _case(connection, case_id)
    if case.state != OPEN:
        raise Conflict("decided_already" if case.state == DECIDED else "superseded")
    return case


def _check_holder(case: Any, user: User) -> None:
    if case.assignee not in {None, user.id} and not user.supervises:
        raise Conflict("taken", name=case.assignee_name or "")


def _set(connection: Connection, case_id: str, number: int, **values: Any) -> None:
    connection.execute(update(CASES).where(CASES.c.id == case_id).values(changed=number, **values))
