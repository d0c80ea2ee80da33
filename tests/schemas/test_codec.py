"""The codec refuses hostile input in bounded time and memory."""

import io
import json
import time
import tracemalloc
from decimal import Decimal

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, rules
from schemas.codec import NotFinite, Undecodable, vetted
from schemas.examples import examples
from schemas.members import has_more_members
from schemas.reasons import Reason
from schemas.records import (
    Alert,
    Assessment,
    Declaration,
    GoodsItem,
    ImageReference,
    Party,
    Signal,
    TariffMeasure,
)
from schemas.records import ItemAssessment as AssessedItem

WRITERS = {7: codec.schema("declaration")}
GOOD = dict(examples("declaration"))["declaration/low-value"]
VALUE = codec.encode(GOOD, 7)


def reason_of(value):
    with pytest.raises(Undecodable) as caught:
        codec.decode(value, Declaration, WRITERS)
    return caught.value.reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.VALUE_EMPTY),
        (b"", Reason.VALUE_EMPTY),
        (b"\0\0", Reason.VALUE_NOT_AVRO),
        (b'{"declaration_id": "x"}', Reason.VALUE_NOT_AVRO),
        (b"\0\0\0\0\x63" + VALUE[5:], Reason.SCHEMA_UNKNOWN),
        (VALUE[:-4], Reason.VALUE_NOT_AVRO),
        (VALUE + b"\0", Reason.VALUE_NOT_AVRO),
        (VALUE[:5] + b"\xff" * 400, Reason.VALUE_NOT_AVRO),
        (b"\0" * (codec.MAX_VALUE_BYTES + 1), Reason.VALUE_TOO_LARGE),
    ],
)
def test_what_is_no_declaration_is_refused_with_its_reason(value, reason):
    """Every kind of damage has its own code, so that a sender knows what to mend."""
    assert reason_of(value) == reason


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_any_bytes_are_decoded_or_refused(body):
    """No byte string makes the codec raise anything else."""
    try:
        codec.decode(VALUE[:5] + body, Declaration, WRITERS)
    except Undecodable as error:
        assert error.reason == Reason.VALUE_NOT_AVRO


@given(st.data())
@settings(max_examples=300)
def test_a_damaged_event_is_decoded_or_refused(data):
    """Flipping bytes of a good event does no harm."""
    damaged = bytearray(VALUE)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(5, len(VALUE) - 1))] = data.draw(st.integers(0, 255))
    try:
        codec.decode(bytes(damaged), Declaration, WRITERS)
    except Undecodable as error:
        assert error.reason == Reason.VALUE_NOT_AVRO


def test_a_length_that_lies_takes_no_memory():
    """A string of 2^40 bytes is promised; nothing is allocated for it."""
    length = bytes([0x80 | 0, 0x80, 0x80, 0x80, 0x80, 0x40])
    tracemalloc.start()
    assert reason_of(VALUE[:5] + length) == Reason.VALUE_NOT_AVRO
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_decimal_of_a_megabyte_is_refused_at_once():
    """Its conversion would be quadratic: minutes of one core for one event."""
    plain = json.loads(codec.schema_text("declaration"), object_hook=without_logical_type)
    datum = GOOD.to_avro() | {"acceptance_time": 0}
    item = datum["goods_items"][0]
    datum["goods_items"] = [item | dict.fromkeys(DECIMALS) | {"net_mass": b"\x7f" * 1_000_000}]
    body = io.BytesIO()
    fastavro.schemaless_writer(body, plain, datum)
    with pytest.raises(Undecodable, match="a decimal of 1000000 bytes"):
        codec.decode(VALUE[:5] + body.getvalue(), Declaration, WRITERS)


DECIMALS = ("gross_mass", "supplementary_quantity", "item_amount")


def without_logical_type(node):
    """The same bytes on the wire, written without a decimal's checks."""
    return {key: value for key, value in node.items() if key != "logicalType"}


RECURSIVE = {
    "type": "record",
    "name": "Tree",
    "fields": [{"name": "left", "type": ["null", "Tree"]}],
}
NO_SIZE = {
    "type": "record",
    "name": "None_",
    "fields": [{"name": "x", "type": {"type": "array", "items": "null"}}],
}
EMPTY = {
    "type": "record",
    "name": "Outer",
    "fields": [
        {
            "name": "x",
            "type": {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}},
        }
    ],
}


EMPTY_BY_NAME = {
    "type": "record",
    "name": "Outer",
    "fields": [
        {"name": "one", "type": {"type": "fixed", "name": "Nothing", "size": 0}},
        {"name": "many", "type": {"type": "array", "items": "Nothing"}},
    ],
}


def doubled(levels):
    """A record of 2^levels fields that takes as many bytes as its innermost ones."""
    node = {"type": "record", "name": "R0", "fields": [{"name": "x", "type": "null"}]}
    for level in range(1, levels):
        again = {"name": "again", "type": f"R{level - 1}"}
        node = {
            "type": "record",
            "name": f"R{level}",
            "fields": [{"name": "x", "type": node}, again],
        }
    return node


@pytest.mark.parametrize(
    "schema", [RECURSIVE, NO_SIZE, EMPTY, EMPTY_BY_NAME, doubled(4), doubled(24)]
)
def test_a_schema_that_cannot_be_bounded_is_refused(schema):
    """Recursion crashes the interpreter, and items of no size fill memory from five bytes."""
    fastavro.parse_schema(schema)
    with pytest.raises(ValueError, match="not decoded"):
        vetted(schema)


def changed(**fields):
    return Declaration.from_avro(GOOD.to_avro() | fields)


@pytest.mark.parametrize(
    ("declaration", "broken"),
    [
        (changed(declaration_id=""), "declaration_id is empty"),
        (changed(declaration_id="other"), "the event's key is not the declaration_id"),
        (changed(version=0), "version is below 1"),
        (changed(goods_items=[]), "there are 0 goods items, not 1 to 999"),
        (
            changed(goods_items=GOOD.to_avro()["goods_items"] * 2),
            "sequence numbers of the goods items are not distinct and from 1",
        ),
        (
            changed(goods_items=[GOOD.to_avro()["goods_items"][0] | {"commodity_code": "64O411"}]),
            "goods item 1: its commodity_code is not 6, 8 or 10 digits",
        ),
    ],
)
def test_a_declaration_that_breaks_a_rule_says_which(declaration, broken):
    """Customs IT reads the rule in the dead letter."""
    with pytest.raises(Undecodable) as caught:
        rules.check(declaration, GOOD.declaration_id.encode())
    assert caught.value.reason == Reason.DECLARATION_INVALID
    assert caught.value.detail == broken


def coded(*codes):
    """The good declaration, with a goods item for each code; numbered 1, 3, 5, ..."""
    item = GOOD.to_avro()["goods_items"][0]
    return changed(
        goods_items=[
            item | {"sequence_number": 2 * place + 1, "commodity_code": code}
            for place, code in enumerate(codes)
        ]
    )


@pytest.mark.parametrize(
    ("written", "bare"),
    [
        ("640411", "640411"),
        ("64041100", "64041100"),
        ("6404110010", "6404110010"),
        ("6404.11", "640411"),
        ("6404.11.00.10", "6404110010"),
        ("6404 11 00", "64041100"),
        (" 6404\u00a011\u202f00 ", "64041100"),
        ("6404.11 00 10", "6404110010"),
        ("64041100105", "64041100105"),  # an eleventh digit of a national line
        ("6404110010 C123", "6404110010C123"),  # an additional code
        ("6404.11.00.10.4099.V999", "64041100104099V999"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_a_code_is_taken_as_the_world_writes_it(written, bare):
    """Dots and blanks do not count, and none is none."""
    checked = rules.check(coded("640411", written), GOOD.declaration_id.encode())
    assert [item.commodity_code for item in checked.goods_items] == ["640411", bare]
    assert rules.check(checked, GOOD.declaration_id.encode()) == checked


@pytest.mark.parametrize(
    "hostile",
    [
        "6", "64041", "6404111", "640411001", "-640411", "64O411", "640411\x00", "٦٤٠٤١١",
        "６４０４１１", "640411'; DROP TABLE", "6" * 40, "6" * 100_000, "6." * 30, "640411ABCD",
        "64041100100c123", "Jane Doe",
    ],
)  # fmt: skip
def test_a_hostile_code_is_refused_and_its_goods_item_named(hostile):
    """By number; what stands there is not repeated."""
    with pytest.raises(Undecodable) as caught:
        rules.check(coded("640411", hostile, "x"), GOOD.declaration_id.encode())
    assert caught.value.reason == Reason.DECLARATION_INVALID
    assert caught.value.detail == "goods item 3: its commodity_code is not 6, 8 or 10 digits"


@pytest.mark.parametrize(("name", "example"), list(examples("declaration")))
def test_the_examples_keep_every_rule(name, example):
    """The corpus is good."""
    rules.check(example, example.declaration_id.encode())


NUMBERS = [float("nan"), float("inf"), float("-inf"), np.float32("nan")]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_is_not_finite_is_never_published(number):
    """At any depth: readers could neither sort nor store it."""
    item = AssessedItem(signals=(Signal(weight=number),))
    for record in (Alert(risk=number), Assessment(items=(item,)), TariffMeasure(duty_rate=number)):
        with pytest.raises(NotFinite, match=record.SCHEMA):
            codec.encode(record, 7)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_is_not_finite_is_no_event(number):
    """It may lie on a topic from before, or from another program."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, codec.schema("alert"), Alert(risk=float(number)).to_avro())
    with pytest.raises(Undecodable, match="not finite") as caught:
        codec.decode(VALUE[:5] + out.getvalue(), Alert, {7: codec.schema("alert")})
    assert caught.value.reason == Reason.VALUE_NOT_AVRO


@pytest.mark.parametrize(
    "lists",
    [
        {"goods_items": (GoodsItem(images=(ImageReference(),) * 300_000),)},
        {
            "goods_items": (GoodsItem(),) * 60_000
            + (GoodsItem(images=(ImageReference(),) * 60_000),)
        },
    ],
)
def test_lists_of_too_many_members_are_refused_before_they_are_decoded(lists):
    """Half a million members fit into a megabyte, and took 130 MB."""
    value = codec.encode(Declaration(**lists), 7)
    tracemalloc.start()
    assert reason_of(value) == Reason.VALUE_TOO_LARGE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_largest_declarations_have_fewer_members():
    """What is counted is what was written, of all types."""
    items = [GoodsItem(sequence_number=n, images=(ImageReference(uri="s3://b/k"),) * 20, net_mass=Decimal(1)) for n in range(999)]  # fmt: skip
    declaration = Declaration(importer=Party(), goods_items=tuple(items), declaration_id="D" * 300_000)  # fmt: skip
    value = codec.encode(declaration, 7)
    assert codec.decode(value, Declaration, WRITERS) == declaration
    members = 999 * 21
    assert has_more_members(value, WRITERS[7], members - 1)
    assert not has_more_members(value, WRITERS[7], members)


def test_a_number_without_an_end_is_refused_at_once():
    """A megabyte of bytes that all promise another one."""
    start = time.process_time()
    assert reason_of(VALUE[:5] + b"\xff" * 1_000_000) == Reason.VALUE_NOT_AVRO
    assert time.process_time() - start < 1
