"""docs/integrating/python/encode.py: the examples as they stand, through Confluent's serializer."""

import importlib.util
import json
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from schemas import codec
from schemas.examples import HERE, examples

PROGRAM = Path(__file__).parents[2] / "docs" / "integrating" / "python" / "encode.py"


@pytest.fixture(scope="module")
def encode():
    spec = importlib.util.spec_from_file_location("encode", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.encode


@pytest.fixture
def registry():
    return SchemaRegistryClient.new_client({"url": "mock://"})


@pytest.mark.parametrize(("name", "record"), list(examples()))
def test_every_example_is_serialised_as_it_stands(encode, registry, name, record):
    """To the bytes that Redlane's own codec writes."""
    topic = record.SCHEMA
    id_ = registry.register_schema(f"{topic}-value", Schema(codec.schema_text(topic), "AVRO"))
    event = json.loads((HERE / "examples" / f"{name}.json").read_text())
    assert encode(registry, topic, event) == codec.encode(record, id_)


def test_fields_may_be_left_out_and_misspelt_ones_are_named(encode, registry):
    """A serializer would pass over them without a word."""
    registry.register_schema("declarations-value", Schema(codec.schema_text("declaration"), "AVRO"))
    value = encode(registry, "declarations", {"declaration_id": "D", "goods_items": [{}]})
    assert value[codec.PREFIX.size :].startswith(b"\x02D")
    with pytest.raises(KeyError, match="weight"):
        encode(registry, "declarations", {"goods_items": [{"weight": "0.4"}]})
