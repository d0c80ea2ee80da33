"""avro/*.avsc, topics.toml and reasons.py → records.py, json-schema/ and two documents in docs/.

`python -m schemas.generate` writes them, `--check` fails when they are out of date.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas import asyncapi, json_schema
from schemas.reasons import TEXTS
from schemas.topics import TOPICS

HERE = Path(__file__).parent
RECORDS = HERE / "records.py"
EVENTS = HERE.parent / "docs" / "events.md"
JSON_SCHEMAS = HERE / "json-schema"
ASYNCAPI = HERE.parent / "docs" / "asyncapi.yaml"
GENERATED = "by `python -m schemas.generate` from schemas/avro; do not edit."
PRIMITIVES = {"string": "str", "int": "int", "long": "int", "double": "float", "boolean": "bool"}
LOGICAL = {"timestamp-millis": "datetime", "decimal": "Decimal"}
MAX_LINE = 100

Node = Any
"""A node of an Avro schema: a name, a union's list or a type's dict."""


def event_schemas() -> dict[str, dict[str, Any]]:
    """Read every event schema, by the stem of its file."""
    return {
        path.stem: json.loads(path.read_text()) for path in sorted((HERE / "avro").glob("*.avsc"))
    }


def records(node: Node) -> Iterator[dict[str, Any]]:
    """Yield the record types that `node` defines, each after those it needs."""
    if isinstance(node, list):
        for branch in node:
            yield from records(branch)
    elif isinstance(node, dict):
        if node["type"] == "array":
            yield from records(node["items"])
        elif node["type"] == "record":
            for field in node["fields"]:
                yield from records(field["type"])
            yield node


def python_type(node: Node) -> str:
    """Name the Python type of an Avro type."""
    if isinstance(node, list):
        return f"{python_type(node[1])} | None"
    if isinstance(node, str):
        return PRIMITIVES.get(node) or node.removeprefix("redlane.")
    if node["type"] == "array":
        return f"tuple[{python_type(node['items'])}, ...]"
    if node["type"] == "record":
        return str(node["name"])
    return LOGICAL[node["logicalType"]]


def is_record(node: Node) -> bool:
    """Tell whether an Avro type is a record, defined here or named."""
    if isinstance(node, str):
        return node not in PRIMITIVES
    return isinstance(node, dict) and node["type"] == "record"


def python_default(field: dict[str, Any]) -> str:
    """Write the default of a field as Python."""
    node, default = field["type"], field["default"]
    if isinstance(node, dict) and node.get("logicalType") == "timestamp-millis":
        return "EPOCH"
    if isinstance(node, dict) and node["type"] == "array":
        return "()"
    return repr(default) if not isinstance(default, str) else f'"{default}"'


def to_avro(node: Node, value: str) -> str:
    """Write the expression that turns a field into what fastavro writes."""
    if isinstance(node, list) and is_record(node[1]):
        return f"None if {value} is None else {value}.to_avro()"
    if isinstance(node, dict) and node["type"] == "array":
        return f"[x.to_avro() for x in {value}]" if is_record(node["items"]) else f"list({value})"
    return value


def from_avro(node: Node, value: str) -> str:
    """Write the expression that turns what fastavro read into a field."""
    if isinstance(node, list) and is_record(node[1]):
        return f"None if {value} is None else {python_type(node[1])}.from_avro({value})"
    if isinstance(node, dict) and node["type"] == "array":
        items = node["items"]
        if is_record(items):
            return f"tuple({python_type(items)}.from_avro(x) for x in {value})"
        return f"tuple({value})"
    return value


def record_class(record: dict[str, Any], event: str | None) -> str:
    """Write the dataclass of one record type."""
    lines = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {record['name']}:"]
    lines += [f'    """{record["doc"]}"""', ""]
    if event:
        lines += [f'    SCHEMA: ClassVar[str] = "{event}"', ""]
    for field in record["fields"]:
        lines.append(f"    {field['name']}: {python_type(field['type'])} = {python_default(field)}")
        lines.append(f'    """{field["doc"]}"""')
    lines += ["", "    def to_avro(self) -> dict[str, Any]:"]
    lines += ['        """Return the record as fastavro writes it."""', "        return {"]
    for field in record["fields"]:
        lines.append(
            f'            "{field["name"]}": {to_avro(field["type"], "self." + field["name"])},'
        )
    lines += [
        "        }",
        "",
        "    @classmethod",
        "    def from_avro(cls, datum: dict[str, Any]) -> Self:",
    ]
    lines += ['        """Build the record from what fastavro read."""', "        return cls("]
    for field in record["fields"]:
        value = f'datum["{field["name"]}"]'
        lines.append(f"            {field['name']}={from_avro(field['type'], value)},")
    return "\n".join([*lines, "        )", ""])


def records_module() -> str:
    """Write records.py."""
    seen: dict[str, dict[str, Any]] = {}
    classes = []
    for stem, schema in event_schemas().items():
        for record in records(schema):
            name = record["name"]
            if seen.setdefault(name, record) != record:
                raise SystemExit(f"{name} is defined in two ways; {stem}.avsc has the second.")
            if seen[name] is record:
                classes.append(record_class(record, stem if record is schema else None))
    head = f'''"""Typed records of every event. Generated {GENERATED}"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Self

EPOCH = datetime.fromtimestamp(0, UTC)


'''
    return head + "\n\n".join(classes)


def markdown_type(node: Node) -> str:
    """Name an Avro type for a reader of the documentation."""
    if isinstance(node, list):
        return f"{markdown_type(node[1])}, optional"
    if isinstance(node, str):
        return node.removeprefix("redlane.")
    if node["type"] == "array":
        return f"list of {markdown_type(node['items'])}"
    if node["type"] == "record":
        return str(node["name"])
    if node["logicalType"] == "decimal":
        return f"decimal({node['precision']}, {node['scale']})"
    return str(node["logicalType"])


def events_document() -> str:
    """Write docs/events.md."""
    lines = [
        "# Events",
        "",
        f"Generated {GENERATED.replace('schemas/avro', 'schemas/')}",
        "",
        "Values are Avro in the Confluent wire format (a zero byte, the schema id in four bytes,",
        "the record). Headers follow CloudEvents' binary mode: `ce_id`, `ce_source`, `ce_type`,",
        "`ce_time`, `content-type`; `traceparent` continues the trace. Deliveries are at least",
        "once: keep the `ce_id` of what you have handled. Whatever answers the same event, an",
        "assessment or a dead letter, has the same `redlane_fate`: should there be two, the",
        "assessment counts, and the first of several.",
        "",
        "Of an event that you send, headers are bounded: a null value is empty, one of more",
        "than 4096 bytes is cut off, and a `ce_id` that is longer than 256 bytes or not",
        "printable becomes `sha256:` and its hash.",
        "",
        "Without Avro: send declarations as XML or JSON to `customs-messages`, see",
        "[customs-messages.md](customs-messages.md).",
        "",
        "## Topics",
        "",
        "| topic | value | key | partitions | kept | writers | readers | why |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for topic in TOPICS.values():
        kept = "last of each key" if topic.compacted else f"{topic.retention_days} days"
        value = f"[{topic.schema}](#{topic.schema})" if topic.schema else "as received"
        readers = ", ".join(topic.readers) or "nobody yet"
        lines.append(
            f"| `{topic.name}` | {value} | {topic.key} | {topic.partitions} | {kept} "
            f"| {', '.join(topic.writers)} | {readers} | {topic.why} |"
        )
    for stem, schema in event_schemas().items():
        lines += ["", f"## {stem}", "", schema["doc"]]
        for record in reversed(list(records(schema))):
            lines += ["", f"### {stem}: {record['name']}", "", record["doc"], ""]
            lines += ["| field | type | meaning |", "|---|---|---|"]
            for field in record["fields"]:
                lines.append(
                    f"| `{field['name']}` | {markdown_type(field['type'])} | {field['doc']} |"
                )
    lines += ["", "## Reason codes", "", "| code | text |", "|---|---|"]
    lines += [f"| `{code}` | {text} |" for code, text in TEXTS.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the generated files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a file is out of date")
    check = parser.parse_args().check
    declaration = json_schema.event(event_schemas()["declaration"])
    generated = {
        RECORDS: records_module(),
        EVENTS: events_document(),
        ASYNCAPI: asyncapi.document(event_schemas()),
        JSON_SCHEMAS / "declaration.json": json_schema.text(declaration),
        JSON_SCHEMAS / "cloud-event.json": json_schema.text(json_schema.cloud_event(declaration)),
    }
    for path, text in generated.items():
        if path.exists() and path.read_text() == text:
            continue
        if check:
            sys.exit(f"{path.name} is out of date: run `python -m schemas.generate` and commit it.")
        path.write_text(text)
        print(f"wrote {path.name}")  # noqa: T201 - a command line tool


if __name__ == "__main__":
    main()
