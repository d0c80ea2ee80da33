"""Risks of the stream → the thresholds in force, one set for all workers, through Redis.

The stream is cut into windows of the time of arrival. The first worker that meets a
declaration of a window computes its thresholds from the records of earlier windows and stores them;
other workers, late declarations and redeliveries read them there. Records are sets, so recording
twice is recording once; they are bounded: counts are estimated (HyperLogLog, to 1 %) and risks
sampled. Under `capacity_key(NAME, OFFICE, NUMBER)`, the number of the window (w) or of its week:

| name | type | holds |
|---|---|---|
| `thresholds` (w) | string | the thresholds in force |
| `risks` (w) | sorted set | a sample of the risks |
| `windows` | sorted set | the windows of the week with a declaration |
| `arrived`, `selected`, `red` | HyperLogLog | declarations of the week, by lane |

Redis may be lost at any time: then the fallback decides and the verdict is degraded. Contents that
this version did not write count as absent (streams/redis/contents.py).
"""

import asyncio
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import numpy as np
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from models.selection.policy import LANES, NOTHING, RED, YELLOW, Budget, Seen, Thresholds, adapt
from streams.redis.circuit_breaker import CircuitBreaker
from streams.redis.contents import keep_first, refused, replies
from streams.redis.keys import capacity_key
from streams.redis.records import reader

MONDAY: Final = datetime(1970, 1, 5, tzinfo=UTC)
WEEK: Final = timedelta(days=7)
KEEP: Final = 3 * WEEK
"""Wall time that records are kept; a redelivery after it may be decided otherwise."""
AT_ONCE: Final = 32
"""Windows whose risks are read in one round trip."""
REMEMBERED: Final = 1000
"""Windows whose thresholds a worker keeps in memory."""
COUNTED: Final = {"arrived": LANES, "selected": (YELLOW, RED), "red": (RED,)}
Slot = tuple[str, int]
"""Office with a budget of its own, or empty; number of the window."""
SAMPLED: Final = re.compile(rb"[0-9a-f]{12} ([0-9.e+-]{1,30})")
"""Member of a sample: hash of the declaration, and its risk."""
T = TypeVar("T")
_read = reader(Thresholds)


def read_thresholds(content: bytes | str) -> Thresholds:
    """Read thresholds as they were stored.

    Raises:
        ValueError: they are not as this version writes them.
    """
    thresholds = _read(content)
    if not all(0 <= value <= 1 for value in astuple(thresholds)):
        raise ValueError("not shares")
    return thresholds


def read_risk(member: bytes) -> float:
    """Read the risk of a member of a sample.

    Raises:
        ValueError: it is not as this version writes it.
    """
    sampled = SAMPLED.fullmatch(member)
    if sampled is None or not 0 <= (risk := float(sampled[1])) <= 1:
        raise ValueError("not a sampled risk")
    return risk


@dataclass(frozen=True, slots=True)
class ThresholdsInForce:
    """The thresholds for a declaration."""

    thresholds: Thresholds
    degraded: bool
    """They are the fallback, because Redis could not be asked."""


@dataclass(frozen=True, slots=True)
class CapacityUse:
    """A declaration with its lane, which may use the capacity."""

    declaration_id: str
    arrived: datetime
    office: str
    risk: float
    charged: str
    """As in models.selection.policy.Decision."""


class Capacity:
    """Keeps each week's selections within the budget.

    No round trip where the worker remembers the windows of a micro-batch; three for a new one, and
    more where the stream is thin. A Redis that fails, or is slow, is left alone for `pause_s`.

    Args:
        budget: of the inspectors.
        fallback: in force until a risk is recorded, and without Redis.
        window: a whole number of them makes a week.
        memory: recent risks that thresholds are computed from; see models.selection.policy.Seen.
        pause_s: without Redis after it failed.

    Raises:
        ValueError: the windows do not make a week.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        budget: Budget,
        fallback: Thresholds,
        window: timedelta = timedelta(hours=1),
        memory: int = 200,
        pause_s: float,
    ) -> None:
        if window <= timedelta(0) or WEEK % window:
            raise ValueError(f"a week is not a whole number of windows of {window}")
        self._redis = redis
        self._breaker = CircuitBreaker("capacity unknown", pause_s=pause_s)
        self._budget, self._fallback, self._memory = budget, fallback, memory
        self._window, self._windows_a_week = window, WEEK // window
        self._remembered: dict[Slot, Thresholds] = {}

    async def thresholds(self, when: Sequence[tuple[datetime, str]]) -> list[ThresholdsInForce]:
        """Return what is in force for declarations that arrived then, at that office; in order."""
        slots = [self._slot(arrived, office) for arrived, office in when]
        in_force = {slot: self._remembered[slot] for slot in slots if slot in self._remembered}
        missing = sorted({*slots} - in_force.keys())
        if missing and not self._breaker.is_open:
            with self._breaker:
                thresholds = await asyncio.gather(*map(self._window_thresholds, missing))
                in_force |= dict(zip(missing, thresholds, strict=True))
        self._remembered |= in_force
        while len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        return [
            ThresholdsInForce(in_force[slot], degraded=False)
            if slot in in_force
            else ThresholdsInForce(self._without_redis(slot), degraded=True)
            for slot in slots
        ]

    async def record(self, uses: Iterable[CapacityUse]) -> None:
        """Record lanes, in one round trip; a failure leaves them out of the account."""
        by_slot = defaultdict[Slot, list[CapacityUse]](list)
        for use in uses:
            by_slot[self._slot(use.arrived, use.office)].append(use)
        if not by_slot or self._breaker.is_open:
            return
        with self._breaker:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for slot, of_slot in by_slot.items():
                    self._add(pipeline, slot, of_slot)
                await replies(self._redis, pipeline)

    def _add(self, pipeline: Pipeline, slot: Slot, uses: Sequence[CapacityUse]) -> None:
        office, window = slot
        for name, lanes in COUNTED.items():
            ids = [use.declaration_id for use in uses if use.charged in lanes]
            pipeline.pfadd(self._week_key(name, office, window), *ids)
            pipeline.expire(self._week_key(name, office, window), KEEP)
        windows = self._week_key("windows", office, window)
        pipeline.zadd(windows, {str(window): window})
        pipeline.expire(windows, KEEP)
        risks = capacity_key("risks", office, window)
        pipeline.zadd(risks, dict(map(_ranked, uses)))
        pipeline.zremrangebyrank(risks, self._memory, -1)
        pipeline.expire(risks, self._memory * self._window + timedelta(days=1))

    def _without_redis(self, slot: Slot) -> Thresholds:
        return adapt(NOTHING, self._budget.of(slot[0]), self._fallback)

    async def _window_thresholds(self, slot: Slot) -> Thresholds:
        """Return the stored thresholds of a window; compute and store them if there are none."""
        office, window = slot
        week_before = window - self._windows_a_week
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(capacity_key("thresholds", *slot))
            for name in COUNTED:
                pipeline.pfcount(self._week_key(name, *slot))
            pipeline.pfcount(self._week_key("arrived", office, week_before))
            for in_week in (window, week_before):
                windows = self._week_key("windows", office, in_week)
                pipeline.zcard(windows)
                pipeline.zrevrangebyscore(windows, window - 1, "-inf", start=0, num=self._memory)
            stored, arrived, selected, red, arrived_before, *rest = await replies(
                self._redis, pipeline
            )
        in_force = _readable([stored] if stored else [], read_thresholds, "thresholds", slot)
        if in_force:
            return in_force[0]
        count, latest, count_before, latest_before = rest
        risks = await self._risks(office, [*latest, *latest_before])
        expected = (arrived + arrived_before) / max(1, count + count_before)
        seen = Seen(np.array(risks), arrived, selected, red, expected)
        computed = adapt(seen, self._budget.of(office), self._fallback)
        return await self._keep_first(slot, computed)

    async def _keep_first(self, slot: Slot, thresholds: Thresholds) -> Thresholds:
        """Store thresholds; return those in force, as another worker may have been first."""
        return await keep_first(
            self._redis,
            capacity_key("thresholds", *slot),
            thresholds,
            json.dumps(asdict(thresholds)),
            read_thresholds,
            seconds=int(KEEP.total_seconds()),
        )

    async def _risks(self, office: str, windows: Sequence[bytes]) -> list[float]:
        """Return enough of the risks sampled in these windows, latest first."""
        numbers = _readable(windows, int, "windows", (office, 0))
        risks: list[float] = []
        for start in range(0, len(numbers), AT_ONCE):
            if len(risks) < self._memory:
                at_once = numbers[start : start + AT_ONCE]
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for window in at_once:
                        pipeline.zrange(capacity_key("risks", office, window), 0, -1)
                    samples = await replies(self._redis, pipeline)
                for window, members in zip(at_once, samples, strict=True):
                    risks += _readable(members, read_risk, "risks", (office, window))
        return risks[: self._memory]

    def _slot(self, arrived: datetime, office: str) -> Slot:
        own = office if office in self._budget.offices else ""
        return own, (arrived - MONDAY) // self._window

    def _week_key(self, name: str, office: str, window: int) -> str:
        return capacity_key(name, office, window // self._windows_a_week)


def _readable(
    contents: Sequence[bytes], read: Callable[[bytes], T], name: str, slot: Slot
) -> list[T]:
    """Read contents, without those that cannot be read."""
    values = []
    for content in contents:
        try:
            values.append(read(content))
        except ValueError as error:
            refused(capacity_key(name, *slot), error)
    return values


def _ranked(use: CapacityUse) -> tuple[str, int]:
    """Return the member of a sample and its rank by hash; the first k are a fair sample.

    Bottom-k (Cohen & Kaplan, PODC 2007): it may be trimmed at any time, and a redelivery changes
    nothing.
    """
    digest = hashlib.blake2b(use.declaration_id.encode(), digest_size=6, person=b"sample").digest()
    return f"{digest.hex()} {float(use.risk)!r}", int.from_bytes(digest)
