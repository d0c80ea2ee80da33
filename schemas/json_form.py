"""JSON as a person writes an event ↔ its record. Decimals and times stand as text.

As in examples/. A field that is left out has its default.
"""

import json
import math
from collections.abc import Container, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final, NoReturn

from schemas.codec import R, Record, schema_text
from schemas.records import EPOCH

BITS: Final = {"int": 32, "long": 64}
MAX_DIGITS: Final = 28
"""Of a decimal, zeros included: Python computes with so many exactly."""


class Malformed(ValueError):  # noqa: N818 - says what it is
    """The JSON is none, or not of the event's form; the message says where."""


def read(text: str | bytes, record_type: type[R]) -> R:
    """Read an event.

    Raises:
        Malformed: it does not have the event's form.
    """
    return record_of(parse(text, field_names(record_type)), record_type)


def parse(text: str | bytes, names: Container[str] = ()) -> Any:
    """Return the value of a JSON text; numbers with a point or an exponent are decimals.

    Args:
        text: of JSON.
        names: that an error may repeat; others may be anything.

    Raises:
        Malformed: it is no JSON, or an object has a name twice.
    """

    def object_of(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise ValueError(f"{_twice(pairs, names)} stands twice in one object")
        return members

    try:
        return json.loads(
            text,
            parse_float=Decimal,
            parse_int=_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=object_of,
        )
    except RecursionError as error:
        raise Malformed("no JSON: it is nested too deeply") from error
    except ValueError as error:  # of the JSON, of its encoding, of an integer's length
        raise Malformed(f"no JSON: {error}") from error


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # beyond what Python converts in bounded time
        raise ValueError("a number has too many digits") from None


def _twice(pairs: Sequence[tuple[str, Any]], names: Container[str]) -> str:
    """Return the first name that stands twice, where it may be repeated."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name if name in names else "a name"
        seen.add(name)
    raise AssertionError("no name stands twice")


def record_of(value: Any, record_type: type[R]) -> R:
    """Return the event of a parsed JSON value.

    Raises:
        Malformed: it does not have the event's form.
    """
    schema, named = _schema(record_type.SCHEMA)
    return record_type.from_avro(_read(value, schema, named, ""))


@cache
def field_names(record_type: type[Record]) -> frozenset[str]:
    """Return the names of all fields of an event and of its parts."""
    _, named = _schema(record_type.SCHEMA)
    return frozenset(field["name"] for each in named.values() for field in each["fields"])


@cache
def _schema(stem: str) -> tuple[Any, dict[str, Any]]:
    """Return an event's schema, and the records that it defines by their names."""
    schema = json.loads(schema_text(stem))
    return schema, {f"{each['namespace']}.{each['name']}": each for each in _records(schema)}


def _records(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the records that a type defines, wherever in it."""
    if isinstance(node, list):
        for branch in node:
            yield from _records(branch)
    elif isinstance(node, dict):
        if node["type"] == "record":
            yield node
        parts = [field["type"] for field in node.get("fields", ())] + [node.get("items")]
        for part in parts:
            yield from _records(part)


def write(record: Record, *, indent: int | None = None) -> str:
    """Return an event as `read` takes it."""
    return json.dumps(record.to_avro(), indent=indent, ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} is no type of the contract")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _read(value: Any, node: Any, named: dict[str, Any], place: str) -> Any:
    """Return what fastavro would read of an Avro type; `place` says where in the event."""
    if isinstance(node, list):
        return None if value is None else _read(value, node[1], named, place)
    if isinstance(node, str):
        if node in named:
            return _read(value, named[node], named, place)
        return _primitive(value, node, place)
    if node["type"] == "record":
        return _record(value, node, named, place)
    if node["type"] == "array":
        if not isinstance(value, list):
            raise Malformed(f"{place} is no list")
        return [
            _read(one, node["items"], named, f"{place}[{number}]")
            for number, one in enumerate(value)
        ]
    return _time(value, place) if node["type"] == "long" else _decimal(value, node, place)


def _record(value: Any, node: Any, named: dict[str, Any], place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{place or 'the event'} is no object")
    fields = {field["name"]: field for field in node["fields"]}
    if unknown := value.keys() - fields.keys():
        raise Malformed(f"{place or 'the event'} has no field {min(unknown)[:40]!r}")
    prefix = f"{place}." if place else ""
    read = {}
    for name, field in fields.items():
        if name in value:
            read[name] = _read(value[name], field["type"], named, f"{prefix}{name}")
        else:
            is_time = isinstance(field["type"], dict) and field["type"]["type"] == "long"
            read[name] = EPOCH if is_time else field["default"]
    return read


def _primitive(value: Any, kind: str, place: str) -> Any:
    if kind == "string":
        if isinstance(value, str) and value.isprintable():  # the usual case; no lone surrogates
            return value
        try:
            value.encode()
        except (AttributeError, UnicodeEncodeError) as error:
            raise Malformed(f"{place} is no text") from error
        return value
    if kind == "boolean":
        if not isinstance(value, bool):
            raise Malformed(f"{place} is neither true nor false")
        return value
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if bits := BITS.get(kind):
        if not is_integer or not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise Malformed(f"{place} is no integer of {bits} bits")
        return value
    return _double(value, place)


def _double(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Malformed(f"{place} is no number")
    try:
        number = float(value)
    except OverflowError:  # of an integer; a decimal becomes infinite
        number = math.inf
    if not math.isfinite(number):
        raise Malformed(f"{place} is too large a number")
    return number


def _time(value: Any, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise Malformed(f"{place} is no time of ISO 8601, as text") from error
    if time.tzinfo is None:
        raise Malformed(f"{place} has no time zone")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise Malformed(f"{place} is beyond the years 1 to 9999") from error


def _decimal(value: Any, node: Any, place: str) -> Decimal:
    precision, scale = node["precision"], node["scale"]
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise TypeError  # noqa: TRY301 - reported like a text that is none
        number = Decimal(value)
        if number.is_nan():
            raise ValueError  # noqa: TRY301 - reported like a text that is none
        digits = len(number.as_tuple().digits)
        written = number.quantize(Decimal(1).scaleb(-scale)) if digits <= MAX_DIGITS else None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise Malformed(f"{place} is no decimal number, as text") from error
    if written is None or written != number or abs(written.scaleb(scale)) >= 10**precision:
        raise Malformed(f"{place} has more than {precision} digits, or {scale} after the point")
    return written
