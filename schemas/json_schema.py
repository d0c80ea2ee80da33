"""Avro schemas of events → JSON Schema (draft 7) of their JSON form, for who has no Avro.

What json_form.py reads, and the rules of rules.py that such a schema can say. Times are RFC 3339;
decimals are text, or numbers that are read exactly, never as a float.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from schemas.json_form import BITS
from schemas.rules import MAX_GOODS_ITEMS

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
WHEN: Final = {
    "format": "date-time",
    "pattern": (
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
        r"(Z|[+-][0-9]{2}:[0-9]{2})$"
    ),
    "examples": ["2026-11-26T09:30:00Z"],
}
"""A time with its zone."""
REQUIRED: Final[Mapping[str, list[str]]] = {
    "Declaration": ["declaration_id", "goods_items"],
    "GoodsItem": ["sequence_number"],
}
"""Record → fields without which it breaks a rule of rules.py."""
RULES: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("Declaration", "declaration_id"): {"minLength": 1},
    ("Declaration", "version"): {"minimum": 1},
    ("Declaration", "goods_items"): {"minItems": 1, "maxItems": MAX_GOODS_ITEMS},
    ("GoodsItem", "sequence_number"): {"minimum": 1},
}
"""Record and field → what rules.py asks of it."""
PLAIN: Final[Mapping[str, Mapping[str, Any]]] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "double": {"type": "number"},
    **{
        name: {"type": "integer", "minimum": -(1 << bits - 1), "maximum": (1 << bits - 1) - 1}
        for name, bits in BITS.items()
    },
}
TEXT: Final = {"type": "string", "minLength": 1}
OPTIONAL: Final = {"type": ["string", "null"]}


def event(avro: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of an event."""
    return _type(avro, {})


def cloud_event(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a CloudEvent in structured mode (CloudEvents 1.0, JSON format).

    Args:
        data: JSON Schema of what it carries.
    """
    return {
        "title": "CloudEvent",
        "description": "CloudEvents 1.0 in structured mode. Further attributes are extensions.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": TEXT | {"description": "With the source, the event's own: kept when sent again."},
            "source": TEXT | {"description": "What made it; a URI reference."},
            "type": TEXT | {"description": "For example redlane.declaration."},
            "time": OPTIONAL | WHEN,
            "datacontenttype": OPTIONAL | {"pattern": "^application/json *(;.*)?$"},
            "dataschema": OPTIONAL,
            "subject": OPTIONAL,
            "traceparent": OPTIONAL | {"description": "W3C Trace Context, carried through."},
            "data": dict(data),
        },
        "additionalProperties": {"type": ["string", "integer", "boolean", "null"]},
    }


def text(schema: Mapping[str, Any]) -> str:
    """Return a JSON Schema as its file."""
    return json.dumps({"$schema": DRAFT} | dict(schema), indent=2, ensure_ascii=False) + "\n"


def _type(node: Any, named: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of an Avro type; `named` gathers the records by their names."""
    if isinstance(node, list):  # of null and another type
        inner = _type(node[1], named)
        kinds = inner["type"] if isinstance(inner["type"], list) else [inner["type"]]
        return inner | {"type": [*kinds, "null"]}
    if isinstance(node, str):
        return dict(PLAIN[node]) if node in PLAIN else _type(named[node], named)
    if node["type"] == "array":
        return {"type": "array", "items": _type(node["items"], named)}
    if node["type"] == "record":
        named[f"{node['namespace']}.{node['name']}"] = node
        return _record(node, named)
    if node["logicalType"] == "timestamp-millis":
        return {"type": "string"} | WHEN
    whole, scale = node["precision"] - node["scale"], node["scale"]
    return {
        "type": ["string", "number"],
        "pattern": rf"^-?[0-9]{{1,{whole}}}(\.[0-9]{{1,{scale}}})?$",
        "exclusiveMinimum": -(10**whole),
        "exclusiveMaximum": 10**whole,
        "examples": ["1234." + "567890"[:scale]],
    }


def _record(node: Mapping[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    name = node["name"]
    properties = {}
    for field in node["fields"]:
        property_ = _type(field["type"], named) | dict(RULES.get((name, field["name"]), {}))
        # A description beside that of the record: the field's, which says what it is here.
        properties[field["name"]] = property_ | {"description": field["doc"]}
    return {
        "title": name,
        "description": node["doc"],
        "type": "object",
        "properties": properties,
        **({"required": REQUIRED[name]} if name in REQUIRED else {}),
        "additionalProperties": False,
    }
