"""Risks of the stream → the thresholds in force, one set for all workers, through Redis.

The stream is cut into windows of event time (acceptance time). The first worker that meets a
declaration of a window computes its thresholds from what was recorded of earlier ones and writes
them down; other workers, late declarations and redeliveries find them there. Records are sets, so
recording twice is recording once; they are bounded: counts are estimated (HyperLogLog, to 1 %) and
risks sampled.

Redis may be lost at any time: then the fallback decides and the verdict is degraded.
"""

import asyncio
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.selection.policy import LANES, NOTHING, RED, YELLOW, Budget, Seen, Thresholds, adapt

MONDAY: Final = datetime(1970, 1, 5, tzinfo=UTC)
WEEK: Final = timedelta(days=7)
KEEP: Final = 3 * WEEK
"""Wall time that records are kept; a redelivery after it may be decided otherwise."""
AT_ONCE: Final = 32
"""Windows whose risks are read in one round trip."""
KNOWN: Final = 1000
"""Windows whose thresholds a worker remembers."""
COUNTED: Final = {"arrived": LANES, "selected": (YELLOW, RED), "red": (RED,)}
Slot = tuple[str, int]
"""Office with a budget of its own, or empty; number of the window."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InForce:
    """The thresholds for a declaration."""

    thresholds: Thresholds
    degraded: bool
    """They are the fallback, for Redis could not be asked."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A declaration that got its lane."""

    declaration_id: str
    accepted: datetime
    office: str
    risk: float
    charged: str
    """As in models.selection.policy.Decision."""


class Capacity:
    """Keeps each week's selections within the budget.

    No round trip where the windows of a micro-batch are known; three for a new one, and more where
    the stream is thin. A Redis that fails, or is slow, is left alone for `pause_s`.

    Args:
        window: a whole number of them makes a week.
        memory: recent risks that thresholds are computed from; see models.selection.policy.Seen.
        fallback: in force until a risk was recorded, and without Redis.
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
        self._redis, self._pause_s, self._paused_until = redis, pause_s, 0.0
        self._budget, self._fallback, self._memory = budget, fallback, memory
        self._window, self._windows_a_week = window, WEEK // window
        self._known: dict[Slot, Thresholds] = {}

    async def thresholds(self, when: Sequence[tuple[datetime, str]]) -> list[InForce]:
        """Return what is in force for declarations accepted then, at that office."""
        slots = [self._slot(accepted, office) for accepted, office in when]
        missing = {*slots} - self._known.keys()
        found = {slot: self._known[slot] for slot in {*slots} - missing}
        if missing and not self._paused:
            try:
                ready = await asyncio.gather(*(self._freeze(slot) for slot in sorted(missing)))
                found |= dict(zip(sorted(missing), ready, strict=True))
            except (RedisError, OSError) as error:
                self._pause(error)
        self._known |= found
        while len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        lost = {slot: adapt(NOTHING, self._budget.of(slot[0]), self._fallback) for slot in slots}
        return [InForce((lost | found)[slot], slot not in found) for slot in slots]

    async def record(self, decided: Iterable[Decided]) -> None:
        """Record decisions, in one round trip; a failure leaves them out of the account."""
        by_slot = defaultdict[Slot, list[Decided]](list)
        for one in decided:
            by_slot[self._slot(one.accepted, one.office)].append(one)
        if not by_slot or self._paused:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for (office, window), some in by_slot.items():
                    for name, lanes in COUNTED.items():
                        ids = [one.declaration_id for one in some if one.charged in lanes]
                        pipeline.pfadd(self._of_week(name, office, window), *ids)
                        pipeline.expire(self._of_week(name, office, window), KEEP)
                    windows = self._of_week("windows", office, window)
                    pipeline.zadd(windows, {str(window): window})
                    pipeline.expire(windows, KEEP)
                    risks = _key("risks", office, window)
                    pipeline.zadd(risks, dict(_ranked(one) for one in some))
                    pipeline.zremrangebyrank(risks, self._memory, -1)
                    pipeline.expire(risks, self._memory * self._window + timedelta(days=1))
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._pause(error)

    async def _freeze(self, slot: Slot) -> Thresholds:
        """Return the thresholds written down for a window; write them if none are."""
        office, window = slot
        before = window - self._windows_a_week
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(_key("thresholds", *slot))
            for name in COUNTED:
                pipeline.pfcount(self._of_week(name, *slot))
            pipeline.pfcount(self._of_week("arrived", office, before))
            for at in (window, before):
                windows = self._of_week("windows", office, at)
                pipeline.zcard(windows)
                pipeline.zrevrangebyscore(windows, window - 1, "-inf", start=0, num=self._memory)
            written, arrived, selected, red, arrived_before, *rest = await pipeline.execute()
        if written is None:
            count, latest, count_before, latest_before = rest
            risks = await self._risks(office, [*latest, *latest_before])
            expected = (arrived + arrived_before) / max(1, count + count_before)
            seen = Seen(np.array(risks), arrived, selected, red, expected)
            mine = adapt(seen, self._budget.of(office), self._fallback)
            key, value = _key("thresholds", *slot), json.dumps(asdict(mine))
            # Another worker may have been first; then its thresholds are everyone's.
            written = await self._redis.set(key, value, nx=True, get=True, ex=KEEP)
            written = value if written is None else written
        return Thresholds(**json.loads(written))

    async def _risks(self, office: str, windows: Sequence[bytes]) -> list[float]:
        """Return enough of the risks sampled in these windows, latest first."""
        risks: list[float] = []
        for start in range(0, len(windows), AT_ONCE):
            if len(risks) < self._memory:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for window in windows[start : start + AT_ONCE]:
                        pipeline.zrange(_key("risks", office, int(window)), 0, -1)
                    for members in await pipeline.execute():
                        risks += [float(member.split()[1]) for member in members]
        return risks[: self._memory]

    def _slot(self, accepted: datetime, office: str) -> Slot:
        own = office if office in self._budget.offices else ""
        return own, (accepted - MONDAY) // self._window

    def _of_week(self, name: str, office: str, window: int) -> str:
        return _key(name, office, window // self._windows_a_week)

    @property
    def _paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _pause(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + self._pause_s
        log.warning("capacity unknown", error=type(error).__name__, pause_s=self._pause_s)


def _key(name: str, office: str, number: int) -> str:
    return f"capacity:{name}:{office}:{number}"


def _ranked(one: Decided) -> tuple[str, int]:
    """Return the member of a sample and its rank by hash; the first k are a fair sample.

    Bottom-k (Cohen & Kaplan, PODC 2007): it may be trimmed at any time, and redelivery is idle.
    """
    digest = hashlib.blake2b(one.declaration_id.encode(), digest_size=6, person=b"sample").digest()
    return f"{digest.hex()} {float(one.risk)!r}", int.from_bytes(digest)
