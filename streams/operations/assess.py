"""One declaration → its assessment without any service, by the very stage of `redlane screen`.

What only services know is missing, and the assessment says so: other declarations, past
inspections, risk profiles, the tariff, the inspectors' capacity.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from models.risk.signals import LiveSignals
from models.risk.tariff import Tariff
from models.scoring.scorer import Scorer
from models.selection.profiles import Matcher
from schemas import codec, rules
from schemas.reasons import Reason
from schemas.records import EPOCH, Assessment, Declaration
from schemas.topics import ALERTS, ASSESSMENTS, DECLARATIONS
from streams.evidence.embedding import Embedder
from streams.evidence.gatherer import Gatherer
from streams.evidence.observations import Observation
from streams.evidence.photos import PhotoSource
from streams.kafka.events import Inbound
from streams.reference.state import Snapshot
from streams.selection.lanes import Lanes
from streams.stages.screen import Screen

SCHEMA_ID: Final = 0
"""Of every event: no registry gives one."""
NO_KEY: Final = b"none"
"""Of random selections: a bundle's thresholds make none."""
DECLARATION_WRITERS: Final = {SCHEMA_ID: codec.schema(Declaration.SCHEMA)}


class Failed(Exception):  # noqa: N818 - says what happened
    """The declaration would end as a dead letter, by a fault of the program."""


def event_of(declaration: Declaration) -> Inbound:
    """Return a declaration as its event.

    Raises:
        Undecodable: a worker would refuse it.
    """
    key = declaration.declaration_id.encode()
    value = codec.encode(declaration, SCHEMA_ID)
    rules.check(codec.decode(value, Declaration, DECLARATION_WRITERS), key)
    # As if it had come when it was accepted; one without such a time, or dated ahead, comes now.
    now, declared = datetime.now(UTC), declaration.acceptance_time
    arrived = declared if EPOCH < declared <= now else now
    return Inbound(
        topic=DECLARATIONS.name,
        partition=0,
        offset=0,
        key=key,
        value=value,
        timestamp=arrived.timestamp(),
        timestamp_by_broker=True,
    )


def assess(
    event: Inbound, scorer: Scorer, photos: PhotoSource, *, photos_per_item: int
) -> Assessment:
    """Assess a declaration.

    Args:
        event: as `event_of` returns it.
        scorer: of the bundle, whose thresholds decide on the lane.
        photos: where they come from.
        photos_per_item: that are looked at, at most.

    Raises:
        Failed: the program has a fault; its log names it.
    """
    with ThreadPoolExecutor(1) as executor:
        screen = _screen(scorer, photos, photos_per_item, executor)
        ((fate, *_),) = asyncio.run(screen([event]))
    if fate.topic is not ASSESSMENTS:
        raise Failed(f"{Reason.SCREENING_FAILED}: see the log")
    return codec.decode(fate.value, Assessment, {SCHEMA_ID: codec.schema(Assessment.SCHEMA)})


def _screen(
    scorer: Scorer, photos: PhotoSource, photos_per_item: int, executor: Executor
) -> Screen:
    signals = _NoSignals()
    return Screen(
        writers=DECLARATION_WRITERS,
        schema_ids={ASSESSMENTS: SCHEMA_ID, ALERTS: SCHEMA_ID},
        scorer=scorer,
        gatherer=Gatherer(
            photos=photos,
            embedder=Embedder(scorer, NoCache(), executor),
            signals=signals,
            photos_per_item=photos_per_item,
            now=lambda: datetime.now(UTC),
        ),
        signals=signals,
        lanes=Lanes(scorer.thresholds, None, key=NO_KEY),
        reference=lambda: Snapshot((), Matcher(()), Tariff()),
        executor=executor,
        now=lambda: datetime.now(UTC),
    )


class _NoSignals:
    """Knows no other declaration."""

    async def gather(self, observations: Sequence[Observation]) -> list[LiveSignals | None]:
        return [None] * len(observations)

    async def remember(self, observations: Iterable[Observation]) -> None:
        pass


class NoCache:
    """Keeps nothing."""

    async def get(self, keys: Sequence[str], length: int) -> dict[str, bytes]:  # noqa: ARG002 - of its protocol
        """Return nothing."""
        return {}

    async def put(self, embeddings: Mapping[str, bytes]) -> None:
        """Do nothing."""
