"""Records ⇄ Avro in the Confluent wire format: a zero byte, four bytes of schema id, the record.

fastavro is not bounded on hostile input, so what it is given is bounded here: the size of a value,
the writers' schemas (allow-listed by the caller, none recursive, none with items of no size), the
members of lists and the length of a decimal. Then time and memory grow no faster than the value.
"""

import io
import json
import math
import struct
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar

import fastavro
from fastavro.read import LOGICAL_READERS
from fastavro.schema import parse_schema

from schemas.members import has_more_members
from schemas.reasons import Reason

MAX_VALUE_BYTES: Final = 1 << 20
"""Largest value that is decoded where nothing else is said: a declaration of 999 goods items, and
room to spare."""
MAX_DECIMAL_BYTES: Final = 16
MAX_DEPTH: Final = 16
"""Records inside each other."""
MAX_MEMBERS: Final = 100_000
"""Of all lists of a value together. Each takes up to a kilobyte of memory, and two bytes as it is
written."""
COUNTED_BYTES: Final = 1 << 18
"""Values larger than this have their lists' members counted before they are decoded."""
PREFIX: Final = struct.Struct(">bI")

Schema = dict[str, Any]
"""A parsed Avro schema."""


class Undecodable(Exception):  # noqa: N818 - says what it is
    """A value that is no event: a bad datum, with its reason code."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class NotFinite(ValueError):  # noqa: N818 - says what it is
    """A number of a record is infinite or none at all: readers could neither sort nor store it."""


class Record(Protocol):
    """What schemas.records generates."""

    SCHEMA: ClassVar[str]

    def to_avro(self) -> dict[str, Any]:
        """Return the record as fastavro writes it."""

    @classmethod
    def from_avro(cls, datum: dict[str, Any]) -> Self:
        """Build the record from what fastavro read."""


R = TypeVar("R", bound=Record)


def _read_decimal(
    data: bytes, writer: Schema | None = None, _reader: Schema | None = None
) -> Decimal:
    """Read a decimal: a long one would keep the processor busy for minutes (quadratic)."""
    if len(data) > MAX_DECIMAL_BYTES:
        raise Undecodable(Reason.VALUE_NOT_AVRO, f"a decimal of {len(data)} bytes")
    assert writer is not None  # noqa: S101 - fastavro always passes it
    return Decimal(int.from_bytes(data, signed=True)).scaleb(-writer.get("scale", 0))


LOGICAL_READERS["bytes-decimal"] = _read_decimal


def schema_id(value: bytes | None) -> int | None:
    """Return the schema id of a value; None where it has none."""
    if value is None or len(value) < PREFIX.size or value[0] != 0:
        return None
    return int(PREFIX.unpack_from(value)[1])


def schema_text(stem: str) -> str:
    """Return the Avro schema of an event as it is registered; `stem` names its file."""
    return (Path(__file__).parent / "avro" / f"{stem}.avsc").read_text()


@cache
def schema(stem: str) -> Schema:
    """Return the parsed schema of an event; `stem` names its file."""
    return vetted(json.loads(schema_text(stem)))


def vetted(text: Schema) -> Schema:
    """Parse a writer's schema, refusing what makes decoding unbounded.

    Raises:
        ValueError: the schema is recursive, nested too deeply, or has parts of no size.
    """
    _refuse_unbounded(text, (), {})
    parsed: Schema = parse_schema(text)  # type: ignore[assignment] # a record's is a dict
    return parsed


def _refuse_unbounded(node: Any, inside: tuple[str, ...], named: dict[str, int]) -> int:
    """Return the least number of bytes that a value of this type takes.

    Args:
        node: the type.
        inside: names of the records around it.
        named: names of the records and fixed types so far → their least number of bytes.
    """
    if len(inside) > MAX_DEPTH:
        raise ValueError("Records are nested too deeply: such schemas are not decoded.")
    if isinstance(node, list):
        branches = [
            0 if branch == "null" else _refuse_unbounded(branch, inside, named) for branch in node
        ]
        return 1 + min(branches, default=0)
    if isinstance(node, str):
        name = node.rpartition(".")[2]
        if name in inside:
            raise ValueError(f"{node} contains itself: recursive schemas are not decoded.")
        return named.get(name, 0 if node == "null" else 1)
    kind, name = node["type"], str(node.get("name", "")).rpartition(".")[2]
    if kind == "record":
        within = (*inside, name)
        sizes = [_refuse_unbounded(field["type"], within, named) for field in node["fields"]]
        # Such parts may be doubled by name at every level: of no bytes, and without end.
        if 0 in sizes or not sizes:
            raise ValueError(f"{name} or a field of it takes no bytes: it is not decoded.")
        named[name] = sum(sizes)
        return named[name]
    if kind in {"array", "map"}:
        items = node["items" if kind == "array" else "values"]
        if _refuse_unbounded(items, inside, named) == 0:
            raise ValueError(f"An {kind}'s items take no bytes: such schemas are not decoded.")
        return 1
    if kind == "fixed":
        named[name] = int(node["size"])
        return named[name]
    return 1 if kind == "enum" else _refuse_unbounded(kind, inside, named)


def decode(
    value: bytes | None,
    record_type: type[R],
    writers: Mapping[int, Schema],
    most: int = MAX_VALUE_BYTES,
) -> R:
    """Decode one value, written under one of the allow-listed schemas, in bounded time and memory.

    Args:
        value: a Kafka record's value.
        record_type: the record it should be.
        writers: schema id → schema that `vetted` accepted.
        most: bytes of the largest value that is decoded.

    Raises:
        Undecodable: with the reason code of the dead letter.
    """
    if not value:
        raise Undecodable(Reason.VALUE_EMPTY, "no bytes")
    if len(value) > most:
        raise Undecodable(Reason.VALUE_TOO_LARGE, f"{len(value)} bytes; at most {most} are read")
    writer = schema_id(value)
    if writer is None:
        raise Undecodable(Reason.VALUE_NOT_AVRO, "it does not begin with a zero byte and schema id")
    if writer not in writers:
        allowed = ", ".join(map(str, sorted(writers))) or "none"
        raise Undecodable(Reason.SCHEMA_UNKNOWN, f"schema id {writer}; this topic has {allowed}")
    body = io.BytesIO(value)
    body.seek(PREFIX.size)
    if len(value) > COUNTED_BYTES and has_more_members(value, writers[writer], MAX_MEMBERS):
        raise Undecodable(Reason.VALUE_TOO_LARGE, f"lists of more than {MAX_MEMBERS} members")
    try:
        datum = fastavro.schemaless_reader(body, writers[writer], schema(record_type.SCHEMA))
    except Undecodable:
        raise
    except Exception as error:  # fastavro raises whatever its parts raise: EOFError, IndexError, …
        raise Undecodable(Reason.VALUE_NOT_AVRO, type(error).__name__) from error
    if trailing := len(value) - body.tell():
        raise Undecodable(Reason.VALUE_NOT_AVRO, f"{trailing} bytes follow the record")
    if not _is_finite(datum):
        raise Undecodable(Reason.VALUE_NOT_AVRO, "a number is not finite")
    return record_type.from_avro(datum)  # type: ignore[arg-type] # a record's datum is a dict


def encode(record: Record, schema_id: int) -> bytes:
    """Encode a record under its own schema, registered as `schema_id`.

    Raises:
        NotFinite: a number is infinite or none at all.
        ValueError: a field does not fit its type (a bug, or a declaration beyond its format).
    """
    datum = record.to_avro()
    if not _is_finite(datum):
        raise NotFinite(f"A number of this {record.SCHEMA} is not finite.")
    out = io.BytesIO()
    out.write(PREFIX.pack(0, schema_id))
    fastavro.schemaless_writer(out, schema(record.SCHEMA), datum)
    return out.getvalue()


def _is_finite(datum: object) -> bool:
    """Whether all numbers in what fastavro reads or writes are finite."""
    if isinstance(datum, dict):
        return all(map(_is_finite, datum.values()))
    if isinstance(datum, list):
        return all(map(_is_finite, datum))
    return not isinstance(datum, Real) or math.isfinite(datum)  # also numpy's
