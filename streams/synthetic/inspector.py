"""Alerts and the injected truth → inspection-outcomes: the demo's inspector, who is never wrong."""

import uuid
from collections.abc import Iterable, Iterator
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
"""Kinds of irregularity → what an inspector writes; the other kinds are conforming."""


def outcomes(alerts: Iterable[Alert], truths: dict[str, Truth]) -> Iterator[InspectionOutcome]:
    """Yield the outcome of inspecting what was alerted, where the truth is known."""
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
