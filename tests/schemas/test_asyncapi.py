"""docs/asyncapi.yaml: what the official parser makes of it."""

import json
from pathlib import Path

import pytest
import yaml

from schemas.topics import TOPICS
from tests import node

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
PROGRAM = """
import { Parser } from '@asyncapi/parser';
import { AvroSchemaParser } from '@asyncapi/avro-schema-parser';
import { readFileSync } from 'fs';
const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
const { document, diagnostics } = await parser.parse(readFileSync(process.argv[2], 'utf8'));
console.log(JSON.stringify({
  problems: diagnostics.filter(one => one.severity < 2).map(one => `${one.path.join('.')}: ${one.message}`),
  channels: document ? document.channels().all().map(one => one.address()) : [],
  payloads: document ? document.messages().all().filter(one => one.payload()).length : 0,
}));
"""


@pytest.mark.heavy
def test_the_official_parser_accepts_it(tmp_path):
    """No error, no warning; every topic, and every Avro schema understood."""
    folder = node.modules("@asyncapi/parser@3.6.6", "@asyncapi/avro-schema-parser@3.1.0")
    program = folder / "validate.mjs"
    program.write_text(PROGRAM)
    found = json.loads(node.run("node", program, DOCUMENT, cwd=tmp_path))
    assert found["problems"] == []
    assert set(found["channels"]) == set(TOPICS)
    in_avro = sum(topic.schema is not None for topic in TOPICS.values())
    assert found["payloads"] == in_avro + len(["a CloudEvent", "a declaration alone"])


def test_customs_messages_name_what_they_may_be():
    """XML, and JSON with and without an envelope; the JSON with its schema."""
    document = yaml.safe_load(DOCUMENT.read_text())
    messages = document["components"]["messages"]
    channel = document["channels"]["customs-messages"]["messages"]
    assert {messages[name]["contentType"]: "payload" in messages[name] for name in channel} == {
        "application/xml": False,
        "application/cloudevents+json": True,
        "application/json": True,
    }
    assert "goods_items" in document["components"]["schemas"]["declaration"]["properties"]


def test_who_sends_and_who_receives():
    """As topics.toml says: Redlane sends what its commands write, and receives the rest."""
    operations = yaml.safe_load(DOCUMENT.read_text())["operations"]
    assert {"receive-declarations", "send-assessments", "send-dead-letters"} <= set(operations)
    assert {"receive-risk-profiles", "send-declarations"} <= set(operations)
    assert {"receive-inspection-outcomes", "send-inspection-outcomes"} <= set(operations)
    assert {name.partition("-")[2] for name in operations} == set(TOPICS)
