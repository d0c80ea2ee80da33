"""Alerts and the injected truth → inspection-outcomes: the demo's inspector, who is never wrong."""

import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from schemas.records import Alert, Finding, InspectionOutcome
from streams.kafka.events import NAMESPACE
from streams.synthetic.irregularities import Truth

FINDINGS: Final = {
    "wrong_code": "misclassification",
    "wrong_photo": "other",
    "photo_reuse": "photo_reuse",
    "undervaluation": "undervaluation",
    "splitting": "splitting",
    "vague_text": "other",
}
"""Kinds of irregularity → what an inspector writes; declarations of other kinds conform."""
INSPECTS_ONE_OF: Final = 3
"""One in so many alerts is decided by the demo's inspector."""


def is_inspected(alert: Alert) -> bool:
    """Return whether the demo's inspector decides on it; the others wait for you, in the console.

    The same for every delivery of one alert.
    """
    return zlib.crc32(alert.declaration_id.encode()) % INSPECTS_ONE_OF == 0


def outcomes(alerts: Iterable[Alert], truths: Mapping[str, Truth]) -> Iterator[InspectionOutcome]:
    """Yield the outcome of inspecting each alert whose truth is known.

    Args:
        alerts: to be inspected.
        truths: declaration → what is irregular about it.
    """
    for alert in alerts:
        truth = truths.get(alert.declaration_id)
        if truth is None:
            continue
        kind = FINDINGS.get(truth.kind)
        decision = f"{alert.declaration_id}/{alert.declaration_version}/inspected"
        yield InspectionOutcome(
            outcome_id=str(uuid.uuid5(NAMESPACE, decision)),
            declaration_id=alert.declaration_id,
            declaration_version=alert.declaration_version,
            decided_at=datetime.now(UTC),
            inspector="demo",
            result="irregular" if kind else "conforming",
            findings=(Finding(sequence_number=truth.item, kind=kind),) if kind else (),
        )
