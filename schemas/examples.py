"""examples/<event>/*.json → records: one corpus for tests, documentation and demo.

Decimals and times stand as text, as a person writes them.
"""

from collections.abc import Iterator
from pathlib import Path

from schemas import json_form, records
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
        yield f"{stem}/{path.stem}", json_form.read(path.read_bytes(), EVENTS[stem])
