"""A database URL → the console's tables, on SQLite or PostgreSQL.

Every writing transaction first takes the next number of one counter. That puts writers in a row,
as SQLite does by itself, and so the numbers of changes become visible in their order: whoever has
seen change n has missed none before it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

METADATA: Final = MetaData()
"""Times are milliseconds since 1970-01-01T00:00Z."""

CASES: Final = Table(
    "cases",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("changed", BigInteger, nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("declaration_id", Text, nullable=False),
    Column("declaration_version", Integer, nullable=False),
    Column("lane", String(16), nullable=False),
    Column("risk", Float, nullable=False),
    Column("revenue", Float, nullable=False),
    Column("office", String(16), nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("goods", Text, nullable=False),
    Column("declared", String(16), nullable=False),
    Column("suggested", String(16), nullable=False),
    Column("suggested_probability", Float, nullable=False),
    Column("origin", String(8), nullable=False),
    Column("items", Integer, nullable=False),
    Column("photos", Integer, nullable=False),
    Column("degraded", Integer, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("amended", Integer, nullable=False),
    Column("assignee", Text),
    Column("assignee_name", Text),
    Column("snoozed", BigInteger),
    Index("cases_declaration", "declaration_id", "declaration_version"),
    Index("cases_queue", "state", "risk"),
)
"""One for each alert. `reasons` are codes between blanks; `amended` is a later version, or 0."""

DOCUMENTS: Final = Table(
    "documents",
    METADATA,
    Column("declaration_id", Text, primary_key=True),
    Column("declaration_version", Integer, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""The first alert, assessment and explanation of each version, as Avro container files."""

PHOTOS: Final = Table(
    "photos",
    METADATA,
    Column("uri", Text, primary_key=True),
    Column("case_id", String(32), primary_key=True),
)
"""Which cases have a photo."""

OUTCOMES: Final = Table(
    "outcomes",
    METADATA,
    Column("outcome_id", String(64), primary_key=True),
    Column("declaration_id", Text, nullable=False),
    Column("declaration_version", Integer, nullable=False),
    Column("decided", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("outcomes_declaration", "declaration_id", "declaration_version"),
)
"""Every decision that is known, ours and others'."""

OUTBOX: Final = Table(
    "outbox",
    METADATA,
    Column("outcome_id", String(64), primary_key=True),
    Column("case_id", String(32), nullable=False),
    Column("user", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("tried", BigInteger),
    Column("claimed_until", BigInteger, nullable=False),
    Column("sent", BigInteger),
    Index("outbox_waiting", "sent", "created"),
)
"""Decisions made here; `tried` is when the first attempt to send began."""

JOURNAL: Final = Table(
    "journal",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("case_id", String(32), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("user", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("act", String(16), nullable=False),
    Column("text", Text, nullable=False),
)
"""Who did what with a case."""

POSITIONS: Final = Table(
    "positions",
    METADATA,
    Column("topic", String(64), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next", BigInteger, nullable=False),
)
"""The next offset of each partition: kept with what was read, so that they never disagree."""

COUNTER: Final = Table(
    "counter", METADATA, Column("id", Integer, primary_key=True), Column("value", BigInteger)
)
SECRETS: Final = Table(
    "secrets", METADATA, Column("name", String(16), primary_key=True), Column("value", Text)
)
"""Of this console, the same after a restart and for every replica."""


def default_url() -> str:
    """Return the URL of a SQLite file in the user's state directory (XDG), which is made."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "redlane"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return f"sqlite:///{state / 'console.db'}"


class Database:
    """Connections, and transactions of two kinds."""

    def __init__(self, url: str) -> None:
        """Connect, and create the tables that are missing."""
        self._engine = _engine(url)
        METADATA.create_all(self._engine)
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(COUNTER).values(id=1, value=0))
        except IntegrityError:
            pass  # it is there

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._engine.connect().execution_options(redlane_reads=True) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[tuple[Connection, int]]:
        """Open a transaction that may write; gives the number of its change."""
        with self._engine.begin() as connection:
            number = connection.execute(
                update(COUNTER)
                .where(COUNTER.c.id == 1)
                .values(value=COUNTER.c.value + 1)
                .returning(COUNTER.c.value)
            ).scalar_one()
            yield connection, int(number)

    def change(self) -> int:
        """Return the number of the last change."""
        with self.reading() as connection:
            return int(connection.execute(select(COUNTER.c.value)).scalar_one())

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def connected(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # the driver's own transactions begin too late
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")  # what an inspector was told must outlive a crash

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        reads = connection.get_execution_options().get("redlane_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
