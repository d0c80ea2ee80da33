"""examples/<event>/*.json → records: one corpus for tests, documentation and demo.

Decimals and times stand as text, as a person writes them.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from schemas import records
from schemas.codec import Record

HERE = Path(__file__).parent
EVENTS: dict[str, type[Record]] = {
    kind.SCHEMA: kind
    for kind in vars(records).values()
    if isinstance(kind, type) and hasattr(kind, "SCHEMA")
}
"""Event records by the stem of their schema's file."""


def examples(event: str | None = None) -> Iterator[tuple[str, Record]]:
    """Yield the name and record of every example, or of one event's."""
    for path in sorted((HERE / "examples").glob(f"{event or '*'}/*.json")):
        stem = path.parent.name
        schema = json.loads((HERE / "avro" / f"{stem}.avsc").read_text())
        datum = _read(json.loads(path.read_text()), schema, {})
        yield f"{stem}/{path.stem}", EVENTS[stem].from_avro(datum)


def _read(value: Any, node: Any, named: dict[str, Any]) -> Any:
    """Turn what JSON cannot say (decimals, times) into what fastavro would read."""
    if isinstance(node, list):
        return None if value is None else _read(value, node[1], named)
    if isinstance(node, str):
        return _read(value, named[node], named) if node in named else value
    if node["type"] == "record":
        named[f"{node['namespace']}.{node['name']}"] = node
        fields = {field["name"]: field["type"] for field in node["fields"]}
        if unknown := value.keys() - fields.keys():
            raise ValueError(f"{node['name']} has no field {', '.join(sorted(unknown))}")
        return {name: _read(value[name], type_, named) for name, type_ in fields.items()}
    if node["type"] == "array":
        return [_read(item, node["items"], named) for item in value]
    return datetime.fromisoformat(value) if node["type"] == "long" else Decimal(value)
