"""Turn a declaration in JSON into its event's value: `python encode.py FILE.json > value.bin`.

The examples write decimals and times as text, which a serializer takes as such. For kcat, and for
whoever has JSON.
"""

import json
import os
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext


def encode(registry: SchemaRegistryClient, topic: str, event: dict) -> bytes:
    """Return the value of an event of a topic, under the schema that the registry has for it."""
    serialize = AvroSerializer(
        registry, conf={"auto.register.schemas": False, "use.latest.version": True}
    )
    schema = json.loads(registry.get_latest_version(f"{topic}-value").schema.schema_str)
    return serialize(typed(event, schema, {}), SerializationContext(topic, MessageField.VALUE))


def typed(value: Any, kind: Any, records: dict[str, Any]) -> Any:
    """Return JSON as a serializer takes it: decimals as Decimal, times as datetime.

    Args:
        value: of JSON, or a part of it; None for what is absent.
        kind: its type, as in the schema.
        records: name → type of the records that were defined so far; those of this one are added.
    """
    if isinstance(kind, list):  # null, or the other: which may define a record even if it is null
        other = typed(value, kind[1], records)
        return None if value is None else other
    if isinstance(kind, str):
        record = records.get(kind.rpartition(".")[2])
        return value if record is None else typed(value, record, records)
    if kind["type"] == "record":
        records[kind["name"]] = kind
        fields = {
            field["name"]: typed((value or {}).get(field["name"]), field["type"], records)
            for field in kind["fields"]
        }
        return {name: fields[name] for name in value or ()}
    if kind["type"] == "array":
        typed(None, kind["items"], records)
        return [typed(each, kind["items"], records) for each in value or ()]
    logical = kind.get("logicalType")
    if value is None or logical is None:
        return value
    return Decimal(value) if logical == "decimal" else datetime.fromisoformat(value)


if __name__ == "__main__":
    url = os.environ["REDLANE_REGISTRY_URL"]
    declaration = json.loads(Path(sys.argv[1]).read_text())
    sys.stdout.buffer.write(encode(SchemaRegistryClient({"url": url}), "declarations", declaration))
