"""docs/asyncapi.yaml → a page to read it on: channels, operations, messages, headers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

DOCUMENT: Final = Path(__file__).parents[1] / "asyncapi.yaml"
DOES: Final = {"send": "publishes", "receive": "reads"}


def markdown() -> str:
    """Return the page."""
    document = yaml.safe_load(DOCUMENT.read_text())
    return "".join(_parts(document))


def _parts(document: Mapping[str, Any]) -> Iterator[str]:
    info, components = document["info"], document["components"]
    yield (
        f"# AsyncAPI\n\n{info['description']}\n\nVersion {info['version']}, AsyncAPI "
        f"{document['asyncapi']}. For programs: [asyncapi.yaml](asyncapi.yaml){{download}}. "
        "Every field in words: [Events](events.md).\n\n"
    )
    yield "## Servers\n\n| server | address | protocol | what |\n|---|---|---|---|\n"
    for name, server in document["servers"].items():
        yield (
            f"| {name} | `{server['host']}` | {server['protocol']} | {server['description']} |\n"
        )
    for trait in components["messageTraits"].values():
        yield "\n## Headers\n\nOf every event that has a schema.\n\n"
        yield "| header | required | meaning |\n|---|---|---|\n"
        for name, header in trait["headers"]["properties"].items():
            required = "yes" if name in trait["headers"]["required"] else ""
            yield f"| `{name}` | {required} | {_meaning(header)} |\n"
    operations: dict[str, list[str]] = {name: [] for name in document["channels"]}
    for operation in document["operations"].values():
        name = operation["channel"]["$ref"].rpartition("/")[2]
        operations[name].append(f"{DOES[operation['action']]} (`{operation['action']}`)")
    yield "\n"
    for name, channel in document["channels"].items():
        messages = [
            _with_payload(components["messages"][message], components["schemas"])
            for message in channel["messages"]
        ]
        yield from _channel(name, channel, operations[name], messages)


def _meaning(header: Mapping[str, Any]) -> str:
    if "const" in header:
        return f"always `{header['const']}`"
    return header.get("description") or header["format"]


def _with_payload(message: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message with its payload's schema in place of a reference to it."""
    reference = message.get("payload", {}).get("$ref", "")
    return {**message, "payload": schemas[reference.rpartition("/")[2]]} if reference else message


def _channel(
    name: str,
    channel: Mapping[str, Any],
    operations: Sequence[str],
    messages: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    kafka = channel["bindings"]["kafka"]
    yield f"## {name}\n\n{channel['description']}\n\n"
    if operations:
        yield f"- Redlane {' and '.join(operations)}\n"
    for message in messages:
        avro = "schema" in message.get("payload", {})
        title = message["title"]
        title = f"[{title}](events.md#{message['name']})" if avro else title
        yield f"- message: {title}, `{message['contentType']}`. {message['summary']}\n"
    yield f"- key: {messages[0]['bindings']['kafka']['key']['description']}\n"
    yield f"- partitions: {kafka['partitions']}\n"
    for setting, value in kafka["topicConfiguration"].items():
        yield f"- `{setting}`: {', '.join(value) if isinstance(value, list) else value}\n"
    for message in messages:
        payload = message.get("payload", {})
        yield from _schema("Avro schema", payload.get("schema"))
        if "schema" not in payload:
            yield from _schema(f"JSON Schema: {message['title']}", payload)
    yield "\n"


def _schema(title: str, schema: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield a block that unfolds."""
    if schema:
        yield f'\n??? abstract "{title}"\n\n'
        block = f"```json\n{json.dumps(schema, indent=2, ensure_ascii=False)}\n```"
        yield "".join(f"    {line}\n" for line in block.splitlines())
