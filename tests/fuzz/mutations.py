"""Choices → hostile values: bytes, texts, numbers, times, records, and records on the wire."""

import json
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final

from schemas import codec, generate
from schemas.codec import Record
from schemas.records import EPOCH
from tests.fuzz.choices import Choices

PIECES: Final = (
    "a", "", " ", "\0", "\n", "|", ":", "/", "..", "%", "'\";--", "<b>", "</b>", "<script>", "<!--",
    "<![CDATA[", "&amp;", "&#0;", "&#x110000;", "&lt;i&gt;", "\u202e", "\u200b", "\ufeff", "\u0301",
    "\u0301\u0316", "\ufdfa", "\U0001f469\u200d\U0001f692", "\U000e0100", "\ud83d", "\udfff",
    "\u2028", "ß", "İ", "ﬃ", "٣", "²", "½", "Ⅷ", "一", "\u0c1c\u0c4d\u0c1e\u200c\u0c3e", "640411",
    "EUR", "s3://goods-photos/a.jpg", "1e308", "NaN", "-0", "RISK", "{", "[", "{{7*7}}", "$(id)",
)  # fmt: skip
LENGTHS: Final = (1, 2, 3, 39, 40, 41, 64, 255, 256, 257, 512, 4096, 65_536, 300_000, 900_000)
"""Of a long text. Unit: characters, or bytes where those are limited."""
FLOATS: Final = (
    0.0, -0.0, 0.5, 1.0, -1.0, 5e-324, -5e-324, 1e-308, 1e-7, 1e17, 1e308, -1e308, 1.7976931348623157e308,
    float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
INTEGERS: Final = (
    0, 1, 2, -1, 127, 128, 255, 256, 999, 1000, 65_535, 65_536, 2**31 - 1, 2**31, -(2**31), 2**32,
    2**53, 2**62, 2**63 - 1, -(2**63), 10**30, 10**400,
)  # fmt: skip
TIMES: Final = (
    EPOCH,
    datetime(2026, 11, 2, 9, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    datetime(2016, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
)
WRITTEN: Final = (
    "2016-12-31T23:59:60Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-11-02T09:30",
    "2026-11-02T09:30:00+23:59", "2026-W45-1T09Z", "1E+999999999", "-0.00", "0." + "0" * 40, "1e-28", "Infinity", "sNaN",
)  # fmt: skip
"""Times and numbers as text."""
VARINTS: Final = (
    0,
    1,
    2,
    -1,
    -2,
    63,
    64,
    2**20,
    2**31,
    -(2**31),
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
)
"""Lengths, counts and branches that a writer may lie about."""
BITS: Final = {"int": 32, "long": 64}
SMALL: Final = 2000
"""Characters of a list that may be repeated: a case is no larger than what a border reads."""


def damaged(choices: Choices, data: bytes, *, most: int = 6) -> bytes:
    """Return bytes with some damage, or none."""
    result = bytearray(data)
    for _ in range(choices.below(most + 1)):
        place = choices.below(max(1, len(result)))
        length = 1 + choices.below(16) ** 2
        match choices.below(9):
            case 0:
                result[place : place + 1] = (
                    bytes([result[place] ^ (1 << choices.below(8))]) if result else b""
                )
            case 1:
                result[place : place + 1] = bytes([choices.pick((0, 0xFF, 0x7F, 0x80, 1, 0x3C))])
            case 2:
                result[place : place + 4] = struct.pack(
                    choices.pick((">I", "<I")),
                    choices.pick((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000)),
                )
            case 3:
                del result[place:]
            case 4:
                del result[place : place + length]
            case 5:
                result[place:place] = result[place : place + length] * choices.between(1, 200)
            case 6:
                result[place:place] = choices.bytes(min(length, 64))
            case 7:
                result[place : place + length] = choices.bytes(min(length, 64))
            case _:
                result += choices.pick((b"\0", b"\xff", b"<html>")) * choices.between(1, 5000)
    return bytes(result)


def text(choices: Choices, *, most: int = LENGTHS[-1], surrogates: bool = False) -> str:
    """Return a text of any characters; long ones repeat themselves."""
    result = "".join(choices.pick(PIECES) for _ in range(choices.below(6)))
    if choices.one_in(4):
        length = min(most, choices.pick(LENGTHS))
        result = (result * (length // max(1, len(result.encode(errors="surrogatepass"))) + 1))[
            :length
        ]
    if choices.one_in(4):
        result += choices.bytes(8).decode(errors="replace")
    result = result[:most]
    return result if surrogates else result.encode(errors="replace").decode()


def decimal(choices: Choices, precision: int, scale: int) -> Decimal:
    """Return a decimal that fits its type."""
    largest = 10**precision - 1
    unscaled = choices.pick((100 * 10**scale, 0, 1, -1, largest, -largest, 10**scale, 15_000))
    return Decimal(max(-largest, min(unscaled, largest))).scaleb(-scale)


def moment(choices: Choices) -> datetime:
    """Return a time that Avro can hold."""
    at = choices.pick(TIMES)
    if choices.one_in(3):
        try:
            at += timedelta(milliseconds=choices.between(-(2**40), 2**40))
        except OverflowError:
            return at
    return at


@cache
def schema_json(stem: str) -> Any:
    """Return an event's schema as it is registered."""
    return json.loads(codec.schema_text(stem))


@cache
def named_types(stem: str) -> dict[str, Any]:
    """Return the records that an event's schema defines, by their names."""
    return {
        f"{node['namespace']}.{node['name']}": node for node in generate.records(schema_json(stem))
    }


def record(choices: Choices, kind: type[Record], *, long_lists: int = 3, **fields: Any) -> Any:
    """Return a record with fields at their extremes.

    Args:
        choices: that decide.
        kind: of the record.
        long_lists: most members of a list, now and then.
        fields: as fastavro reads them, in place of those.
    """
    datum = _datum(choices, schema_json(kind.SCHEMA), named_types(kind.SCHEMA), long_lists)
    return kind.from_avro(datum | fields)


def _datum(choices: Choices, node: Any, named: dict[str, Any], most: int) -> Any:
    """Return what fastavro would read of a type."""
    if isinstance(node, list):
        branch = choices.pick(node[::-1])
        return None if branch == "null" else _datum(choices, branch, named, most)
    if isinstance(node, str):
        is_record = node in named
        return _datum(choices, named[node], named, most) if is_record else _primitive(choices, node)
    if node["type"] == "record":
        return {
            field["name"]: _datum(choices, field["type"], named, most) for field in node["fields"]
        }
    if node["type"] == "array":
        count = choices.between(0, 3) if not choices.one_in(20) else most
        return [_datum(choices, node["items"], named, most) for _ in range(count)]
    if node["type"] == "bytes":
        return decimal(choices, node["precision"], node["scale"])
    return moment(choices)


def _primitive(choices: Choices, kind: str) -> Any:
    if kind == "string":
        return text(choices, most=300_000 if choices.one_in(8) else 600)
    if kind == "boolean":
        return choices.one_in(2)
    if kind in BITS:
        half = 2 ** (BITS[kind] - 1)
        return max(-half, min(choices.pick(INTEGERS), half - 1))
    return choices.pick(FLOATS)


def wire(choices: Choices, kind: type[Record], value: Record, schema_id: int) -> bytes:
    """Return a record on the wire, whose writer lies about lengths, counts and branches."""
    out = bytearray(codec.PREFIX.pack(0, schema_id))
    schema, named = schema_json(kind.SCHEMA), named_types(kind.SCHEMA)
    _write(out, schema, _plain(value.to_avro()), named, choices)
    return bytes(out)


def _plain(value: Any) -> Any:
    """Return a datum with times and decimals as they are written."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return (value - EPOCH) // timedelta(milliseconds=1) if isinstance(value, datetime) else value


def _write(out: bytearray, node: Any, value: Any, named: dict[str, Any], choices: Choices) -> None:
    if isinstance(node, list):
        branch = next(n for n, each in enumerate(node) if (each == "null") == (value is None))
        out += varint(_lie(choices, branch))
        _write(out, node[branch], value, named, choices)
    elif isinstance(node, str) and node in named:
        _write(out, named[node], value, named, choices)
    elif isinstance(node, str):
        _write_primitive(out, node, value, choices)
    elif node["type"] == "record":
        for field in node["fields"]:
            _write(out, field["type"], value[field["name"]], named, choices)
    elif node["type"] == "array":
        if value:
            out += varint(_lie(choices, len(value)))
            for each in value:
                _write(out, node["items"], each, named, choices)
        out += varint(_lie(choices, 0))
    elif node["type"] == "bytes":
        unscaled = int(value.scaleb(node["scale"]))
        content = (
            unscaled.to_bytes(
                choices.pick((9, 16, 17, 1, 100_000)) if choices.one_in(30) else 9, signed=True
            )
            if unscaled.bit_length() < 8
            else unscaled.to_bytes(9, signed=True)
        )
        out += varint(_lie(choices, len(content))) + content
    else:
        out += varint(_lie(choices, value))


def _write_primitive(out: bytearray, kind: str, value: Any, choices: Choices) -> None:
    if kind == "string":
        content = value.encode()
        if choices.one_in(40):
            content += choices.pick((b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"))
        out += varint(_lie(choices, len(content))) + content
    elif kind == "double":
        out += struct.pack("<d", choices.pick(FLOATS) if choices.one_in(10) else value)
    elif kind == "boolean":
        out.append(int(value) if not choices.one_in(20) else 0xFF)
    elif kind != "null":
        out += varint(_lie(choices, value))


def _lie(choices: Choices, number: int) -> int:
    return choices.pick(VARINTS) if choices.one_in(60) else number


def varint(number: int) -> bytes:
    """Return an Avro integer: zigzag, seven bits a byte."""
    left = (number << 1) ^ (number >> 63) if number >= 0 else ((-number) << 1) - 1
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def json_value(choices: Choices, depth: int = 3) -> Any:
    """Return a value for JSON, with numbers that JSON does not know."""
    makers: Sequence[Callable[[], Any]] = (
        lambda: choices.pick(INTEGERS),
        lambda: choices.pick(FLOATS),
        lambda: choices.pick((None, True, False)),
        lambda: text(choices, most=300, surrogates=True),
        lambda: choices.pick(WRITTEN),
        lambda: [json_value(choices, depth - 1) for _ in range(choices.below(4))],
        lambda: {
            text(choices, most=20): json_value(choices, depth - 1) for _ in range(choices.below(4))
        },
    )
    return choices.pick(makers if depth else makers[:5])()


def altered(choices: Choices, value: Any) -> Any:
    """Return a JSON value of which parts are replaced, left out or added."""
    if choices.one_in(12):
        return json_value(choices)
    if isinstance(value, dict):
        kept = {
            name: altered(choices, each) for name, each in value.items() if not choices.one_in(30)
        }
        return kept | ({text(choices, most=20): json_value(choices)} if choices.one_in(30) else {})
    if isinstance(value, list):
        members = [altered(choices, each) for each in value]
        return members * 50 if choices.one_in(30) and len(repr(members)) < SMALL else members
    return value


def json_text(choices: Choices, value: Any) -> bytes:
    """Return a JSON value as text, altered and damaged."""
    written = json.dumps(altered(choices, value)).encode()
    if choices.one_in(20):
        deep = choices.pick((100, 1000, 20_000))
        written = b"[" * deep + written + b"]" * deep
    written = written[: 1 << 20]
    return damaged(choices, written, most=2) if choices.one_in(4) else written
