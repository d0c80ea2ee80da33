"""deploy/connect: Kafka Connect's sinks name topics, fields, users and properties that exist."""

import json
import re

import pytest

from schemas.codec import schema_text
from schemas.topics import TOPICS
from streams.operations.access import user_of
from tests.deploy.conftest import ROOT

SINKS = sorted((ROOT / "deploy" / "connect").glob("*.json"))
OF_CONNECT = {
    "connector.class",
    "tasks.max",
    "topics",
    "key.converter",
    "value.converter",
    "transforms",
    "errors.tolerance",
    "errors.log.enable",
    "errors.log.include.messages",
    "errors.deadletterqueue.topic.name",
    "errors.deadletterqueue.topic.replication.factor",
    "errors.deadletterqueue.context.headers.enable",
}
OF_SINK = {
    "connection.url",
    "connection.user",
    "connection.password",
    "table.name.format",
    "insert.mode",
    "pk.mode",
    "pk.fields",
    "auto.create",
    "auto.evolve",
    "max.retries",
    "retry.backoff.ms",
}
"""That Aiven's and Confluent's have alike."""
OF_CONVERTERS = {"value.converter.schema.registry.url"}
OF_TRANSFORMS = {
    "ReplaceField$Value": {"exclude"},
    "Flatten$Value": {"delimiter"},
    "InsertField$Value": {"timestamp.field"},
}
OF_CONSUMER = {
    "group.id",
    "auto.offset.reset",
    "security.protocol",
    "sasl.mechanism",
    "sasl.jaas.config",
}
OVERRIDE = "consumer.override."


@pytest.fixture(params=SINKS, ids=lambda path: path.stem)
def sink(request):
    """The configuration of a connector."""
    named = json.loads(request.param.read_text())
    assert named.keys() == {"name", "config"}
    return named["config"]


def fields(sink):
    """Name → Avro type of the values that the sink reads."""
    schema = json.loads(schema_text(TOPICS[sink["topics"]].schema))
    return {field["name"]: field["type"] for field in schema["fields"]}


def test_every_property_is_one_of_its_part(sink):
    """A misspelt one would be ignored."""
    assert all(isinstance(value, str) and value for value in sink.values())
    names = set(sink) - OF_CONNECT - OF_SINK - OF_CONVERTERS
    names -= {f"{OVERRIDE}{name}" for name in OF_CONSUMER}
    for step in sink["transforms"].split(","):
        kind = sink[f"transforms.{step}.type"].removeprefix("org.apache.kafka.connect.transforms.")
        names -= {f"transforms.{step}.{name}" for name in {"type", *OF_TRANSFORMS[kind]}}
    assert not names


def test_a_database_can_store_every_column(sink):
    """A list has no column: each is left out, also one that is added to the schema."""
    lists = {name for name, kind in fields(sink).items() if isinstance(kind, dict) and kind["type"] == "array"}  # fmt: skip
    assert set(sink["transforms.scalars.exclude"].split(",")) == lists
    assert sink["transforms.time.timestamp.field"] not in fields(sink)


def test_a_row_has_the_id_of_its_event_as_key(sink):
    """So what comes twice is one row."""
    assert (sink["insert.mode"], sink["pk.mode"]) == ("upsert", "record_value")
    assert fields(sink)[sink["pk.fields"]] == "string"
    assert sink["pk.fields"].endswith("_id")


def test_it_reads_as_a_user_that_may(sink):
    """In the one group that this user has; nothing secret is in the file."""
    group = sink[f"{OVERRIDE}group.id"]
    assert group in {user_of(reader) for reader in TOPICS[sink["topics"]].readers}
    assert f'username="{group}"' in sink[f"{OVERRIDE}sasl.jaas.config"]
    from_file = r"\$\{file:[^}]+\}"
    assert re.fullmatch(from_file, sink["connection.password"])
    assert re.search(rf'password="{from_file}"', sink[f"{OVERRIDE}sasl.jaas.config"])


def test_what_it_cannot_read_does_not_go_where_our_dead_letters_are(sink):
    """They have other headers, and `redlane dead-letters` could not send them again."""
    assert sink["errors.tolerance"] == "all"
    assert sink["errors.deadletterqueue.topic.name"] not in TOPICS
