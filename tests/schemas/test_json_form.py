"""JSON as a person writes it: what it says is read exactly, and what is wrong is named."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from schemas import codec, json_form
from schemas.examples import EVENTS, HERE, examples
from schemas.json_form import Malformed
from schemas.records import EPOCH, Alert, DecisionLogEntry, Declaration, ScreeningRecord


def declared(**item):
    """A declaration of one goods item, as JSON."""
    return json.dumps({"declaration_id": "D", "goods_items": [{"sequence_number": 1} | item]})


def read(text):
    return json_form.read(text, Declaration)


def keys(value):
    """The names in a JSON value, without what stands under them."""
    if isinstance(value, dict):
        return {name: keys(below) for name, below in value.items()}
    return [keys(one) for one in value] if isinstance(value, list) else None


@pytest.mark.parametrize(("name", "record"), list(examples()))
def test_every_example_names_every_field(name, record):
    """They are documentation too."""
    text = (HERE / "examples" / f"{name}.json").read_text()
    assert keys(json.loads(text)) == keys(record.to_avro())
    assert isinstance(record, EVENTS[name.partition("/")[0]])


def test_a_field_that_is_left_out_has_its_default():
    """And the event survives the wire."""
    record = read('{"declaration_id": "D", "seller": {"country": "CN"}, "goods_items": [{}]}')
    assert (record.version, record.acceptance_time, record.importer) == (1, EPOCH, None)
    assert record.seller.country == "CN"
    assert record.goods_items[0].net_mass is None
    writers = {7: codec.schema("declaration")}
    assert codec.decode(codec.encode(record, 7), Declaration, writers) == record


@pytest.mark.parametrize(
    ("written", "expected"),
    [('"0.85"', "0.85"), ('"12"', "12"), ("12", "12"), ("0.1", "0.1"), ('"-3.5"', "-3.5"), ('"1E+3"', "1000"), ('"9999999999.999999"', "9999999999.999999"), ('"0.10000000000"', "0.1"), ('"1e-3"', "0.001"), ("null", None)],
)  # fmt: skip
def test_a_decimal_is_read_exactly(written, expected):
    """As text or as a number; a float would not be 0.1."""
    (item,) = read(declared(net_mass=0).replace(": 0}", f": {written}}}")).goods_items
    assert item.net_mass == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("event", "text", "problem"),
    [
        (
            DecisionLogEntry,
            '{"sequence": 9223372036854775808}',
            "sequence is no integer of 64 bits",
        ),
        (ScreeningRecord, '{"capacity_unknown": 1}', "capacity_unknown is neither true nor false"),
    ],
)
def test_long_integers_and_truth_values_are_read_exactly(event, text, problem):
    """A long is no float, and 1 is not true."""
    with pytest.raises(Malformed, match=problem):
        json_form.read(text, event)
    assert json_form.read('{"sequence": 9007199254740993}', DecisionLogEntry).sequence == 2**53 + 1
    assert json_form.read('{"capacity_unknown": true}', ScreeningRecord).capacity_unknown is True


def test_a_time_has_a_zone():
    """Z or an offset."""
    for written in ("2026-11-02T10:14:03Z", "2026-11-02T11:14:03+01:00"):
        record = read(json.dumps({"acceptance_time": written}))
        assert record.acceptance_time == datetime(2026, 11, 2, 10, 14, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON: "),
        ("{", "no JSON: "),
        (b"\xff\xfe\xff", "no JSON: "),
        ('{"version": NaN}', "no JSON: NaN is no number of JSON"),
        ("[" * 100_000, "no JSON: it is nested too deeply"),
        ("1" * 10_000, "no JSON: "),
        ('{"version": 1, "version": 2}', "no JSON: version stands twice in one object"),
        (declared(seller=0).replace(": 0}", ': {"J. Doe": 1, "J. Doe": 1}}'), "no JSON: a name stands twice in one object"),
        ("[]", "the event is no object"),
        ('{"x": 1}', "the event has no field 'x'"),
        ('{"version": "1"}', "version is no integer of 32 bits"),
        ('{"version": true}', "version is no integer of 32 bits"),
        ('{"version": 2147483648}', "version is no integer of 32 bits"),
        ('{"declaration_id": 7}', "declaration_id is no text"),
        ('{"declaration_id": "\\ud800"}', "declaration_id is no text"),
        ('{"seller": "CN"}', "seller is no object"),
        ('{"goods_items": {}}', "goods_items is no list"),
        ('{"acceptance_time": "2026-11-02T10:14:03"}', "acceptance_time has no time zone"),
        ('{"acceptance_time": 0}', "acceptance_time is no time of ISO 8601, as text"),
        ('{"acceptance_time": "soon"}', "acceptance_time is no time of ISO 8601, as text"),
        (declared(price=1), "goods_items[0] has no field 'price'"),
        (declared(images=[{"uri": None}]), "goods_items[0].images[0].uri is no text"),
        (declared(net_mass="a kilo"), "goods_items[0].net_mass is no decimal number, as text"),
        (declared(net_mass=True), "goods_items[0].net_mass is no decimal number, as text"),
        (declared(net_mass="Infinity"), "goods_items[0].net_mass is no decimal number, as text"),
        (declared(net_mass="NaN"), "goods_items[0].net_mass is no decimal number, as text"),
        (declared(net_mass="1e999999999"), "goods_items[0].net_mass is no decimal number, as text"),
        (declared(net_mass="0.0000001"), "goods_items[0].net_mass has more than 16 digits, or 6 after the point"),
        (declared(net_mass="10000000000"), "goods_items[0].net_mass has more than 16 digits, or 6 after the point"),
        (declared(item_amount="9" * 5000), "goods_items[0].item_amount has more than 16 digits, or 2 after the point"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text, problem):
    """The place in the event, in one line."""
    with pytest.raises(Malformed) as caught:
        read(text)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_a_type_that_an_empty_field_defines_is_known_to_later_ones():
    """Who leaves the declarant out by a null may name an importer all the same."""
    record = read('{"declaration_id": "D", "declarant": null, "importer": {"country": "BE"}}')
    assert (record.declarant, record.importer.country) == (None, "BE")
    alert = json_form.read('{"items": [], "degraded": [{"code": "photo_absent"}]}', Alert)
    assert alert.degraded[0].code == "photo_absent"


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e400", "-1e400"])
def test_a_number_too_large_for_its_field_is_named(number):
    with pytest.raises(Malformed, match="risk is too large a number"):
        json_form.read(f'{{"risk": {number}}}', Alert)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_that_no_calendar_has_in_utc_is_named(time):
    """It could be written and never be read again."""
    with pytest.raises(Malformed, match="acceptance_time is beyond the years 1 to 9999"):
        read(f'{{"acceptance_time": "{time}"}}')
