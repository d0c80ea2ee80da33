"""Every metric of Redlane, in one list. Names: redlane_<thing>_<unit>, _total for counters."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from schemas.records import Assessment
from streams import steps

DECLARATIONS = Counter("redlane_declarations_total", "Declarations assessed or refused.", ["fate"])
"""fate: green, yellow, red or dead_letter."""
CUSTOMS_MESSAGES = Counter("redlane_customs_messages_total", "Customs messages read.", ["fate"])
"""fate: declaration, amendment, cancellation, waiting (for its original) or dead_letter."""
DEGRADATIONS = Counter(
    "redlane_degradations_total", "Missing evidence of declarations.", ["evidence", "code"]
)
"""evidence: image, text, price, signals or capacity."""
DEGRADED = Counter(
    "redlane_degraded_declarations_total", "Declarations assessed without some of the evidence."
)
RISKS = Counter("redlane_risks_total", "Declarations assessed, by their risk.", ["band"])
"""band: see `risk_band`. A counter of its own for each, so that queries can compare shares."""
SETS = Counter(
    "redlane_hs_sets_total", "Goods items, by the level of the codes in their set.", ["level"]
)
"""level: subheading, heading or chapter; none where the code cannot be told."""
REASONS = Counter("redlane_reasons_total", "Reasons given for goods items.", ["code"])
BUDGET = Gauge(
    "redlane_lane_budget_ratio", "Share of declarations that inspectors can take.", ["lane"]
)
"""lane: yellow, red or random, of all offices without a budget of their own; none without one."""
CACHE = Counter("redlane_cache_lookups_total", "Embeddings looked up in Redis.", ["result"])
"""result: hit, miss or unavailable."""
REDIS_REFUSED = Counter(
    "redlane_redis_contents_refused_total",
    "Contents of Redis that this version did not write; they count as absent.",
    ["contents"],
)
"""contents: what should lie there, such as `signals price` or `capacity thresholds`."""
INFERENCE_FAULTS = Counter(
    "redlane_inference_faults_total",
    "Runs of a network that failed, or were not finite.",
    ["remedy"],
)
"""remedy: halved (a batch), row_on_cpu, cpu_for_good (the GPU is lost) or none."""
PHOTO_BYTES = Counter("redlane_photo_bytes_total", "Bytes of photos fetched.")
STAGE_SECONDS = Histogram(
    "redlane_stage_seconds",
    "Time of a micro-batch, or of a slice of it, in a step of a stage.",
    ["step"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
"""step: decode, fetch, embed, signals, score, decide and publish; of `explain` also declaration,
explanation and heat_maps."""
OUTCOMES = Counter("redlane_outcomes_total", "Inspection outcomes that were read.", ["fate"])
"""fate: conforming, irregular, known (already recorded), unknown (not selected here) or
dead_letter."""
INSPECTED = Counter(
    "redlane_inspected_total",
    "Inspected declarations, by the risk that they were assessed with.",
    ["band", "result"],
)
"""band: see `risk_band`. result: conforming or irregular."""
INSPECTED_RISK = Counter(
    "redlane_inspected_risk_total", "Sum of the risks of inspected declarations.", ["band"]
)
WEBHOOKS = Counter(
    "redlane_webhooks_total", "Attempts to post events to case management.", ["topic", "result"]
)
"""result: delivered, retried (it failed, and is made again) or refused (a dead letter)."""
WEBHOOK_SECONDS = Histogram(
    "redlane_webhook_seconds",
    "From an attempt to post an event to the receiver's answer, or to its failure.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
EVENTS = Counter("redlane_events_total", "Events that are done.", ["stage"])
DEAD_LETTERS = Counter(
    "redlane_dead_letters_total", "Events that could not be processed.", ["stage", "reason"]
)
BATCH_EVENTS = Histogram(
    "redlane_batch_events",
    "Events of a micro-batch.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
LAG = Gauge(
    "redlane_lag_events",
    "Events of a partition of this worker that are not done.",
    ["topic", "partition"],
)
LATENCY_SECONDS = Histogram(
    "redlane_declaration_latency_seconds",
    "From the declaration's Kafka timestamp to its verdict.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
UNDER_WAY = Gauge("redlane_declarations_under_way", "Events received and not yet done.")
OLDEST_SECONDS = Gauge("redlane_oldest_under_way_seconds", "Age of the oldest of them.")
EXPIRED = Counter(
    "redlane_expired_events_total",
    "Events that retention removed before they were read.",
    ["topic", "partition"],
)
REFERENCE_SKIPPED = Counter(
    "redlane_reference_events_skipped_total",
    "Events of the reference topics that are no record; the last good one of each key stays.",
    ["topic"],
)
DECISIONS_LOGGED = Counter(
    "redlane_decisions_logged_total", "Events appended to the decision log.", ["topic"]
)
ANCHORS = Counter("redlane_anchors_total", "Anchors of the decision log.", ["result"])
"""result: told or failed."""
ASSIGNED = Gauge("redlane_assigned_partitions", "Partitions of this worker.")


@contextmanager
def timed(step: str, timings: dict[str, float]) -> Iterator[None]:
    """Measure a step of a stage, or a slice of it; `timings` gets the sum. Unit: s."""
    start = time.perf_counter()
    yield
    duration = time.perf_counter() - start
    timings[step] = timings.get(step, 0.0) + duration
    STAGE_SECONDS.labels(step).observe(duration)
    steps.add(step, duration)


def set_lag(lags: Mapping[tuple[str, int], int]) -> None:
    """Set the lag of this worker's partitions.

    Args:
        lags: topic and partition → events that are not done; others are no longer its own.
    """
    given = {(topic, str(partition)): lag for (topic, partition), lag in lags.items()}
    for labels in _lagging - given.keys():
        LAG.remove(*labels)
    for labels, lag in given.items():
        LAG.labels(*labels).set(lag)
    _lagging.clear()
    _lagging.update(given)


_lagging: set[tuple[str, str]] = set()


def count(assessment: Assessment) -> None:
    """Count an assessment: its lane, risk, reasons, and what was missing."""
    DECLARATIONS.labels(assessment.lane).inc()
    RISKS.labels(risk_band(assessment.risk)).inc()
    if assessment.degraded:
        DEGRADED.inc()
    for missing in assessment.degraded:
        DEGRADATIONS.labels(missing.evidence, missing.code).inc()
    for item in assessment.items:
        SETS.labels(LEVELS[len(item.hs_set[0])] if item.hs_set else "none").inc()
        for signal in item.signals:
            REASONS.labels(signal.code).inc()


BANDS: Final = 10
LEVELS: Final = {6: "subheading", 4: "heading", 2: "chapter"}
"""Digits of a code → level of a set."""
_BAND_NAMES: Final = tuple(f"{n / BANDS:.1f}-{(n + 1) / BANDS:.1f}" for n in range(BANDS))


def risk_band(risk: float) -> str:
    """Return the tenth that a risk lies in, such as 0.3-0.4.

    Args:
        risk: calibrated probability, 0 to 1.
    """
    return _BAND_NAMES[min(int(risk * BANDS), BANDS - 1)]


# From the first scrape on, so that shares of all compare the same bands.
for _band in _BAND_NAMES:
    RISKS.labels(_band)
    INSPECTED_RISK.labels(_band)
    for _result in ("conforming", "irregular"):
        INSPECTED.labels(_band, _result)
for _level in (*LEVELS.values(), "none"):
    SETS.labels(_level)
