"""An event of a topic → a CloudEvent in JSON (structured mode), as its receiver gets it.

The same record of Kafka always gives the same bytes, however often it is delivered.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from schemas import json_form
from schemas.records import Alert, Explanation
from streams.kafka.events import FATE, Inbound, fate_of

MEDIA_TYPE: Final = "application/cloudevents+json; charset=utf-8"
VISIBLE: Final = re.compile(r"[!-~]+")
"""What a header of HTTP can hold, whoever reads it."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An event as it is posted."""

    id: str
    """The event's id: the receiver keeps it to recognise what comes twice."""
    body: bytes


def webhook(cause: Inbound, record: Alert | Explanation) -> Webhook:
    """Return an event as a CloudEvent; its `data` is the JSON form of the contract.

    Args:
        cause: the event as received.
        record: its value.
    """
    id_ = cause.source_id if VISIBLE.fullmatch(cause.source_id) else fate_of(cause)[1]
    received = datetime.fromtimestamp(cause.timestamp, UTC).isoformat(timespec="milliseconds")
    attributes = {
        "specversion": "1.0",
        "id": id_,
        "source": cause.header("ce_source") or "redlane",
        "type": f"redlane.{record.SCHEMA}",
        "subject": record.declaration_id,
        "time": cause.header("ce_time") or received,
        "datacontenttype": "application/json",
        "redlanefate": cause.header(FATE),
        "traceparent": cause.header("traceparent"),
    }
    # CloudEvents knows no empty attributes.
    given = {name: value for name, value in attributes.items() if value}
    envelope = given | {"data": json.loads(json_form.write(record))}
    return Webhook(id_, json.dumps(envelope, ensure_ascii=False, allow_nan=False).encode())
