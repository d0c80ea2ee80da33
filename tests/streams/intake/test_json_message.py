"""Declarations in JSON: what is read, under which identity, and what each mistake is called."""

import json
import time
from decimal import Decimal

import pytest

from schemas import json_form, rules
from schemas.codec import Undecodable
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.records import Declaration
from streams.intake import json_message
from streams.intake.json_message import STRUCTURED, is_json, kind_of, parse
from tests.fakes import inbound

DECLARATIONS = [(name, one) for name, one in examples() if isinstance(one, Declaration)]
TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


def declared(*, items=None, **fields):
    """A declaration as JSON has it."""
    items = [{"sequence_number": 1, "item_amount": "12.50"}] if items is None else items
    return {"declaration_id": "D", "goods_items": items} | fields


def event(data=None, **attributes):
    """A CloudEvent, as bytes."""
    envelope = {
        "specversion": "1.0",
        "id": "1",
        "source": "/customs",
        "type": "redlane.declaration",
    }
    return json.dumps(envelope | {"data": data or declared()} | attributes).encode()


def refused(value, content_type=None):
    """Return reason code and detail of a message that is refused."""
    with pytest.raises(Undecodable) as error:
        parse(value, content_type).declaration()
    return error.value.reason, error.value.detail


@pytest.mark.parametrize(("_name", "declaration"), DECLARATIONS)
def test_every_example_is_read_in_an_envelope_and_alone(_name, declaration):
    """As the sender says, version and status too."""
    written = json_form.write(declaration)
    for value in (written.encode(), event(json.loads(written)), b"\xef\xbb\xbf" + written.encode()):
        assert parse(value).declaration() == rules.check(
            declaration, declaration.declaration_id.encode()
        )


def test_amounts_are_exact():
    """As text and as numbers, which are never floats."""
    items = '{"sequence_number": 1, "item_amount": 12345678901234.56, "net_mass": "0.000001"}'
    (item,) = (
        parse(f'{{"declaration_id": "D", "goods_items": [{items}]}}'.encode())
        .declaration()
        .goods_items
    )
    assert (item.item_amount, item.net_mass) == (Decimal("12345678901234.56"), Decimal("0.000001"))


@pytest.mark.parametrize(
    ("value", "content_type", "expected"),
    [
        (b"{}", None, True), (b'\xef\xbb\xbf \n{"', None, True), (b"<a/>", None, False), (b"", None, False),
        (b"[]", None, False), (b"<a/>", STRUCTURED, True), (b"{}", "application/xml", False),
        (b"<a/>", "Application/JSON; charset=utf-8", True), (b"{", "application/octet-stream", True),
    ],
)  # fmt: skip
def test_what_counts_as_json(value, content_type, expected):
    """The content type decides, else the first sign."""
    assert is_json(value, content_type) is expected


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (b"", Reason.VALUE_EMPTY, "the message is empty"),
        (b" \n", Reason.VALUE_EMPTY, "the message is empty"),
        (b"{" + b" " * json_message.MAX_BYTES, Reason.VALUE_TOO_LARGE, "the message has more than 4194304 bytes"),
        (b'{"a": [' + b"1," * 200_000 + b"1]}", Reason.VALUE_TOO_LARGE, "the message has more than 200000 members"),
        (b"{", Reason.MESSAGE_NOT_JSON, "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b'{"a": NaN}', Reason.MESSAGE_NOT_JSON, "NaN is no number of JSON"),
        (b'{"a": -Infinity}', Reason.MESSAGE_NOT_JSON, "-Infinity is no number of JSON"),
        (b'{"a": "\xff"}', Reason.MESSAGE_NOT_JSON, "it is no UTF-8, from byte 8"),
        ('{"a": 1}'.encode("utf-16"), Reason.MESSAGE_NOT_JSON, "it is no UTF-8, from byte 1"),
        (b'{"a": ' * 100_000, Reason.MESSAGE_NOT_JSON, "it is nested too deeply"),
        (b'{"a": ' * 400 + b"1" + b"}" * 400, Reason.MESSAGE_INVALID, "the message has no declaration_id"),
        (b'{"version": 1, "version": 2}', Reason.MESSAGE_NOT_JSON, "version stands twice in one object"),
        (b'{"J. Doe": 1, "J. Doe": 2}', Reason.MESSAGE_NOT_JSON, "a name stands twice in one object"),
        (b"[]", Reason.MESSAGE_INVALID, "the message is no object"),
        (b"{}", Reason.MESSAGE_INVALID, "the message has no declaration_id"),
        (b'{"specversion": "0.3"}', Reason.MESSAGE_INVALID, "the message has no id"),
        (event(specversion="0.3"), Reason.MESSAGE_INVALID, "specversion is not 1.0"),
        (event(id=""), Reason.MESSAGE_INVALID, "id is empty"),
        (event(id=7), Reason.MESSAGE_INVALID, "id is not of type string"),
        (event(time="today"), Reason.MESSAGE_INVALID, "time is not written like 2026-11-26T09:30:00Z"),
        (event(extension={"J. Doe": 1}), Reason.MESSAGE_INVALID, "… is not of type string or integer or boolean or null"),
        (event(data="RG9l"), Reason.MESSAGE_INVALID, "data is not of type object"),
        (event(declared(items=[])), Reason.MESSAGE_INVALID, "data.goods_items has fewer than 1 members"),
        (event(declared(version=0)), Reason.MESSAGE_INVALID, "data.version is below 1"),
        (event(declared(version=2**31)), Reason.MESSAGE_INVALID, "data.version is above 2147483647"),
        (event(declared(acceptance_time="2026-02-30T00:00:00Z")), Reason.MESSAGE_INVALID, "data: acceptance_time is no time of ISO 8601, as text"),
        (event(declared(importer={"name": ["J. Doe"]})), Reason.MESSAGE_INVALID, "data.importer.name is not of type string"),
        (event(declared(importer={"name": "\ud800"})), Reason.MESSAGE_INVALID, "data: importer.name is no text"),
        (event(declared(items=[{"sequence_number": 1, "images": [{"uri": 7}]}])), Reason.MESSAGE_INVALID, "data.goods_items[0].images[0].uri is not of type string"),
        (event(declared(items=[{"sequence_number": 1, "item_amont": "1"}])), Reason.MESSAGE_INVALID, "data.goods_items[0] has a field that there is none of, its 2.; item_amount is meant?"),
        (event(declared(items=[{"sequence_number": 1, "J. Doe": "1"}])), Reason.MESSAGE_INVALID, "data.goods_items[0] has a field that there is none of, its 2."),
        (event(declared(items=[{"sequence_number": 1, "item_amount": "1,50"}])), Reason.MESSAGE_INVALID, "data.goods_items[0].item_amount is not written like 1234.56"),
        (event(declared(items=[{"sequence_number": 1, "item_amount": 1e30}])), Reason.MESSAGE_INVALID, "data.goods_items[0].item_amount is not below 100000000000000"),
        (event(declared(items=[{"sequence_number": 1, "item_amount": 0.125}])), Reason.MESSAGE_INVALID, "data: goods_items[0].item_amount has more than 16 digits, or 2 after the point"),
        (event(declared(items=[{}])), Reason.MESSAGE_INVALID, "data.goods_items[0] has no sequence_number"),
        (event(declared(items=[{"sequence_number": 1}] * 2)), Reason.DECLARATION_INVALID, "sequence numbers of the goods items are not distinct and from 1"),
        (event(declared(items=[{"sequence_number": 1, "commodity_code": "J. Doe"}])), Reason.DECLARATION_INVALID, "goods item 1: its commodity_code is not 6, 8 or 10 digits"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_not_repeated(value, reason, detail):
    """Its place, in one line; whatever it holds may be personal."""
    assert refused(value) == (reason, detail)


def test_a_batch_is_refused():
    """Its events would share one place in Kafka."""
    assert refused(b"[]", "application/cloudevents-batch+json") == (
        Reason.MESSAGE_INVALID,
        "it is a batch: send each event as a message",
    )


def test_the_key_is_the_declaration_id():
    """Else versions of one declaration would overtake each other."""
    assert parse(event()).declaration(b"D").declaration_id == "D"
    with pytest.raises(Undecodable, match="declaration_invalid: the event's key is not"):
        parse(event()).declaration(b"")


def test_the_envelope_identifies_the_event():
    """Its source and id stand before a header, and its trace where there is none."""
    value = event(traceparent=TRACE)
    named = parse(value).identified(inbound(value=value, headers=(("ce_id", b"other"),)))
    assert named.source_id == "/customs#1"
    assert named.header("traceparent") == TRACE
    known = parse(value).identified(inbound(value=value, headers=(("traceparent", b""),)))
    assert known.header("traceparent") == TRACE
    assert inbound(value=b"{}", headers=(("ce_id", b"e"),)) == parse(b"{}").identified(
        inbound(value=b"{}", headers=(("ce_id", b"e"),))
    )
    long = parse(event(id="x" * 5000)).identified(inbound(value=b""))
    assert long.source_id.startswith("sha256:")
    assert parse(event(id="\ud800")).identified(inbound(value=b"")).source_id == "/customs#?"


def test_what_a_message_makes_of_its_declaration():
    """By its version and status."""
    kinds = [parse(event(declared(**said))).declaration() for said in ({}, {"version": 3}, {"version": 2, "status": "cancelled"})]  # fmt: skip
    assert list(map(kind_of, kinds)) == ["declaration", "amendment", "cancellation"]


def test_999_goods_items_take_less_than_a_second():
    """Of all fields; and nothing is quadratic."""
    item = json.loads(json_form.write(DECLARATIONS[-1][1]))["goods_items"][0]
    value = event(declared(items=[item | {"sequence_number": n} for n in range(1, 1000)]))
    start = time.process_time()
    assert len(parse(value).declaration().goods_items) == 999
    assert time.process_time() - start < 1
