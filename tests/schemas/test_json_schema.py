"""The published JSON Schemas: what they accept is what the reader of JSON accepts."""

import json

import pytest
from jsonschema import Draft7Validator

from schemas import json_form
from schemas.examples import examples
from schemas.generate import JSON_SCHEMAS, event_schemas
from schemas.json_form import Malformed
from schemas.json_schema import event
from schemas.records import Declaration

FILES = sorted(JSON_SCHEMAS.iterdir())
DECLARATION = Draft7Validator(json.loads((JSON_SCHEMAS / "declaration.json").read_text()))


def declared(**item):
    return {"declaration_id": "D", "goods_items": [{"sequence_number": 1} | item]}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_they_are_schemas(file):
    """Of draft 7, without references, so that every validator reads them."""
    schema = json.loads(file.read_text())
    Draft7Validator.check_schema(schema)
    assert "$ref" not in file.read_text()


@pytest.mark.parametrize(("name", "record"), list(examples()))
def test_every_example_follows_the_schema_of_its_event(name, record):
    """Of every event: no type of the Avro is missing."""
    schema = event(event_schemas()[name.partition("/")[0]])
    Draft7Validator(schema).validate(json.loads(json_form.write(record)))


@pytest.mark.parametrize(
    ("item", "accepted"),
    [
        ({"net_mass": "0.000001"}, True), ({"net_mass": 12}, True), ({"net_mass": None}, True),
        ({"net_mass": "-9999999999.999999"}, True), ({"net_mass": "10000000000"}, False),
        ({"net_mass": "0.0000001"}, False), ({"net_mass": "1,5"}, False), ({"net_mass": True}, False),
        ({"net_mass": 1e10}, False), ({"description": None}, False), ({"images": [{}]}, True),
        ({"images": None}, False), ({"sequence_number": 2**31}, False), ({"price": 1}, False),
    ],
)  # fmt: skip
def test_it_accepts_what_the_reader_accepts(item, accepted):
    """For all but what a schema cannot say: digits of a number, days of a calendar."""
    value = declared(**item)
    assert DECLARATION.is_valid(value) is accepted
    try:
        json_form.read(json.dumps(value), Declaration)
    except Malformed:
        assert not accepted
    else:
        assert accepted


@pytest.mark.parametrize(
    "broken",
    [{}, {"declaration_id": "D"}, declared() | {"declaration_id": ""}, declared() | {"version": 0},
     declared() | {"goods_items": []}, declared() | {"goods_items": [{}]}, declared(sequence_number=0)],
)  # fmt: skip
def test_it_says_the_rules_that_it_can(broken):
    """Those of schemas/rules.py."""
    assert DECLARATION.is_valid(declared())
    assert not DECLARATION.is_valid(broken)
