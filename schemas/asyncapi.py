"""topics.toml and avro/*.avsc → an AsyncAPI 3 document of the topics, for docs/asyncapi.yaml."""

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

import yaml

from schemas import json_schema
from schemas.topics import CUSTOMS_MESSAGES, TOPICS, Topic

AVRO: Final = "application/vnd.apache.avro;version=1.9.0"
OURS: Final = frozenset(
    {"intake", "screen", "explain", "learn", "console", "deliver", "dead-letters", "audit"}
)
"""Writers in topics.toml that are commands of Redlane; the others are systems around it."""
CLOUD_EVENT: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["ce_id"],
    "properties": {
        "ce_id": {"type": "string", "description": "The event's id, kept when it is sent again."},
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_source": {"type": "string", "description": "What made it."},
        "ce_type": {"type": "string", "description": "`redlane.` and the event's schema."},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"type": "string", "const": "application/avro"},
        "traceparent": {"type": "string", "description": "W3C Trace Context, carried through."},
        "redlane_fate": {
            "type": "string",
            "description": "The same for all that answers one event.",
        },
    },
}
DECLARATION: Final = {"$ref": "#/components/schemas/declaration"}
CUSTOMS_FORMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "customs-messages-xml": {
        "title": "WCO Data Model 3",
        "contentType": "application/xml",
    },
    "customs-messages-cloudevent": {
        "title": "CloudEvent in structured mode",
        "contentType": "application/cloudevents+json",
        "payload": json_schema.cloud_event(DECLARATION),
    },
    "customs-messages-json": {
        "title": "Declaration alone",
        "contentType": "application/json",
        "payload": DECLARATION,
    },
}
"""Name of each kind of message of customs-messages → what is its own."""


def document(schemas: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the document, as YAML.

    Args:
        schemas: Avro schema of each event, by the stem of its file.
    """
    topics = TOPICS.values()
    described = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Redlane",
            "version": version("redlane"),
            "description": "Customs fraud screening: declarations in, assessments, alerts and "
            "explanations out. Generated from schemas/; do not edit.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/avro",
        "servers": {
            "local": {
                "host": "127.0.0.1:9092",
                "protocol": "kafka",
                "description": "The local stack of `redlane up`.",
            }
        },
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": dict(operation for topic in topics for operation in _operations(topic)),
        "components": {
            "schemas": {"declaration": json_schema.event(schemas["declaration"])},
            "messages": {
                name: message for topic in topics for name, message in _messages(topic, schemas)
            },
            "messageTraits": {"cloudEvent": {"headers": dict(CLOUD_EVENT)}},
        },
    }
    return yaml.safe_dump(
        json.loads(json.dumps(described)), sort_keys=False, allow_unicode=True, width=100
    )


def _channel(topic: Topic) -> dict[str, Any]:
    configuration: dict[str, Any] = {"max.message.bytes": topic.max_message_mb << 20}
    if topic.compacted:
        configuration["cleanup.policy"] = ["compact"]
    else:
        configuration["retention.ms"] = topic.retention_days * 86_400_000
    return {
        "address": topic.name,
        "title": topic.name,
        "description": f"{topic.why} Written by {_list(topic.writers)}; "
        f"read by {_list(topic.readers) or 'nobody yet'}.",
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(topic)
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": configuration,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations(topic: Topic) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and description of what Redlane does with a topic that others share."""
    writers = set(topic.writers)
    channel = f"#/channels/{topic.name}"
    for action, acts in (("receive", writers - OURS), ("send", writers & OURS)):
        if acts:
            yield (
                f"{action}-{topic.name}",
                {
                    "action": action,
                    "channel": {"$ref": channel},
                    "summary": topic.why,
                    "messages": [
                        {"$ref": f"{channel}/messages/{name}"} for name in _message_names(topic)
                    ],
                },
            )


def _message_names(topic: Topic) -> list[str]:
    return list(CUSTOMS_FORMS) if topic is CUSTOMS_MESSAGES else [topic.name]


def _messages(
    topic: Topic, schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and description of each kind of message of a topic."""
    message = _message(topic, schemas)
    if topic is not CUSTOMS_MESSAGES:
        yield topic.name, message
        return
    for name, form in CUSTOMS_FORMS.items():
        yield name, {**message, "name": name, **form}


def _message(topic: Topic, schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    key = {"type": "string", "description": topic.key}
    message: dict[str, Any] = {
        "name": topic.schema or topic.name,
        "title": schemas[topic.schema]["name"] if topic.schema else topic.name,
        "summary": schemas[topic.schema]["doc"] if topic.schema else topic.why,
        "contentType": "application/avro" if topic.schema else "application/octet-stream",
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }
    if topic.schema:
        message["traits"] = [{"$ref": "#/components/messageTraits/cloudEvent"}]
        message["payload"] = {"schemaFormat": AVRO, "schema": dict(schemas[topic.schema])}
        # Confluent wire format: a zero byte and the schema's id stand before the record.
        message["bindings"]["kafka"] |= {
            "schemaIdLocation": "payload",
            "schemaIdPayloadEncoding": "confluent",
            "schemaLookupStrategy": "TopicIdStrategy",
        }
    return message


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
