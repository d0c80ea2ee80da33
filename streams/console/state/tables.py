"""A database URL → the console's tables, on SQLite or PostgreSQL.

Every writing transaction first takes the next number of one counter. So writers wait for each
other, as they do on SQLite anyway, and changes become visible in the order of their numbers: a
reader who has seen change n has missed none before it.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from uuid import uuid5

import stamina
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from streams.kafka.events import NAMESPACE

P = ParamSpec("P")
T = TypeVar("T")
ATTEMPTS: Final = 4
"""Of a database that does not answer, with waits of 0.5, 2 and 8 s between them."""

METADATA: Final = MetaData()
"""Times are milliseconds since 1970-01-01T00:00Z.

Text from events has any length and may contain NUL; PostgreSQL does not index long text and does
not accept NUL. So such text is in columns of `SanitisedText`, and keys are hashes: see `key_of`.
"""


class SanitisedText(TypeDecorator[str]):
    """Text from outside, without NUL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Return the text with U+FFFD for each NUL."""
        return None if value is None else value.replace("\0", "\ufffd")


def key_of(kind: str, *parts: object) -> str:
    """Return the key of a thing that events name: the same everywhere, and safe in an address."""
    return uuid5(NAMESPACE, "|".join((kind, *map(str, parts)))).hex


CASES: Final = Table(
    "cases",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("changed", BigInteger, nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("declaration", String(32), nullable=False),
    Column("declaration_id", SanitisedText, nullable=False),
    Column("declaration_version", Integer, nullable=False),
    Column("lane", SanitisedText, nullable=False),
    Column("risk", Float, nullable=False),
    Column("revenue", Float, nullable=False),
    Column("office", SanitisedText, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("goods", SanitisedText, nullable=False),
    Column("declared", SanitisedText, nullable=False),
    Column("suggested", SanitisedText, nullable=False),
    Column("suggested_probability", Float, nullable=False),
    Column("origin", SanitisedText, nullable=False),
    Column("items", Integer, nullable=False),
    Column("photos", Integer, nullable=False),
    Column("degraded", Integer, nullable=False),
    Column("reasons", SanitisedText, nullable=False),
    Column("amended", Integer, nullable=False),
    Column("assignee", SanitisedText),
    Column("assignee_name", SanitisedText),
    Column("snoozed", BigInteger, index=True),
    Index("cases_declaration", "declaration", "declaration_version"),
    Index("cases_queue", "state", "risk"),
)
"""One row for each alert. `declaration` is the key of the declaration's id; `reasons` are codes,
each between blanks; `amended` is a later version of the declaration, or 0."""

DOCUMENTS: Final = Table(
    "documents",
    METADATA,
    Column("case_id", String(32), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""The first alert, assessment and explanation of each version, as Avro container files."""

AMENDMENTS: Final = Table(
    "amendments",
    METADATA,
    Column("declaration", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
)
"""The latest version in the green lane, of declarations that were amended."""

PHOTOS: Final = Table(
    "photos",
    METADATA,
    Column("photo", String(32), primary_key=True),
    Column("case_id", String(32), primary_key=True, index=True),
)
"""The cases with each photo; `photo` is the key of its reference."""

OUTCOMES: Final = Table(
    "outcomes",
    METADATA,
    Column("outcome", String(32), primary_key=True),
    Column("case_id", String(32), nullable=False, index=True),
    Column("decided", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""Every decision, ours and others'; `outcome` is the key of its id."""

OUTBOX: Final = Table(
    "outbox",
    METADATA,
    Column("outcome", String(32), primary_key=True),
    Column("case_id", String(32), nullable=False, index=True),
    Column("user", SanitisedText, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("tried", BigInteger),
    Column("claimed_until", BigInteger, nullable=False),
    Column("sent", BigInteger),
    Index("outbox_waiting", "sent", "created"),
)
"""Decisions made here; `tried` is when the first attempt to publish began."""

JOURNAL: Final = Table(
    "journal",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("case_id", String(32), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("user", SanitisedText, nullable=False),
    Column("name", SanitisedText, nullable=False),
    Column("act", String(16), nullable=False),
    Column("text", SanitisedText, nullable=False),
)
"""Who did what with a case."""

POSITIONS: Final = Table(
    "positions",
    METADATA,
    Column("topic", String(64), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next", BigInteger, nullable=False),
)
"""The next offset to read of each partition, in one transaction with what was read before it."""

COUNTER: Final = Table(
    "counter", METADATA, Column("id", Integer, primary_key=True), Column("value", BigInteger)
)
SECRETS: Final = Table(
    "secrets", METADATA, Column("name", String(16), primary_key=True), Column("value", Text)
)
"""Keys that restarts keep and replicas share."""

LOCKED_S: Final = 30
"""Longest wait for a SQLite file that another process writes to."""
CREATING: Final = 0x5EED1A2E
"""Key of the lock that a replica holds while it creates the tables."""


def default_url() -> str:
    """Return the URL of a SQLite file in the user's state directory (XDG), which is created."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "redlane"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return f"sqlite:///{state / 'console.db'}"


class Unusable(Exception):  # noqa: N818 - says what it is
    """The database does not answer, or belongs to another version of the console."""


class Database:
    """Connections, and transactions of two kinds."""

    def __init__(self, url: str) -> None:
        """Connect, and create the missing tables.

        Raises:
            Unusable: it does not answer, or belongs to another version of the console.
        """
        try:
            self._engine = _engine(url)
        except (ArgumentError, NoSuchModuleError, ValueError) as error:
            raise Unusable(
                "The console's database cannot be used: write sqlite:///FILE or postgresql://…"
            ) from error
        try:
            with self._engine.begin() as connection:
                _create(connection)
        except OperationalError as error:
            first, *_ = str(error.orig).splitlines()
            raise Unusable(f"The console's database cannot be used: {first}") from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction for reading only."""
        with self._engine.connect().execution_options(redlane_read_only=True) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[tuple[Connection, int]]:
        """Open a transaction for writing; yields it with the number of its change."""
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


def with_retries(act: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Return what `act` returns; while the database does not answer, try a few times.

    Raises:
        OperationalError: it did not answer the last attempt either.
    """
    # A context, not a decorator: that would log the arguments, which hold what traders declared.
    for attempt in stamina.retry_context(
        OperationalError,
        attempts=ATTEMPTS,
        timeout=None,
        wait_initial=0.5,
        wait_exp_base=4,
        wait_max=8,
        wait_jitter=0,
    ):
        with attempt:
            return act(*args, **options)
    raise AssertionError("the last attempt returns or raises")


def _create(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # replicas may start together
        connection.execute(select(func.pg_advisory_xact_lock(CREATING)))
    METADATA.create_all(connection)
    inspector = inspect(connection)
    for name, table in METADATA.tables.items():
        columns = {column["name"] for column in inspector.get_columns(name)}
        if columns != set(table.columns.keys()):
            raise Unusable(
                f"The table {name} is of another version of the console. Give it an empty "
                "database: alerts and decisions are read again from the topics; assignments, "
                "notes and decisions that were not sent yet stay in the old one."
            )
    if connection.execute(select(COUNTER.c.id)).first() is None:
        connection.execute(insert(COUNTER).values(id=1, value=0))


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": LOCKED_S})

    @event.listens_for(engine, "connect")
    def on_connect(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # the driver would begin transactions too late
        # The change to WAL needs the file for itself, and SQLite's own timeout does not cover that:
        # of two replicas that start on a new file, one would fail.
        for attempt in stamina.retry_context(
            sqlite3.OperationalError,
            attempts=None,
            timeout=LOCKED_S,
            wait_initial=0.01,
            wait_max=0.2,
        ):
            with attempt:
                raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")  # what a page confirmed must survive a crash

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("redlane_read_only")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
