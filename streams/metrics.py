"""Every metric of Redlane, in one list. Names: redlane_<thing>_<unit>, _total for counters."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

DECLARATIONS = Counter("redlane_declarations_total", "Declarations assessed or refused.", ["fate"])
"""fate: green, yellow, red or dead_letter."""
DEGRADATIONS = Counter("redlane_degradations_total", "Missing evidence of declarations.", ["code"])
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
"""step: decode, fetch, embed, signals, score or decide."""
OUTCOMES = Counter("redlane_outcomes_total", "Inspection outcomes that were read.", ["fate"])
"""fate: conforming, irregular, known (already recorded), unknown (not selected here) or
dead_letter."""
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
