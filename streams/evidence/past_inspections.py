"""Inspection outcomes → past inspections in Redis, which later declarations are rated by.

A declaration counts once in each history, whatever the number of its goods items that are alike,
and of one trader only the latest declarations count, but in histories of his own: else what was
found of one would be said of all who import such goods.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final, TypeVar

from pydantic import TypeAdapter
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from schemas.records import InspectionOutcome
from streams.evidence.observations import Observation, inspection_histories
from streams.evidence.signal_query import YEAR
from streams.redis.contents import MOST_SECONDS, discard, refused, replies, within
from streams.redis.keys import SignalKeys, inspection_keys, trader_inspections
from streams.redis.records import reader

T = TypeVar("T")
HISTORY: Final = re.compile(r"[a-z_]+:[0-9a-f]{24}")
DIGEST: Final = re.compile(r"[0-9a-f]{24}")
NUMBER: Final = re.compile(r"[0-9]{1,10}")
"""Of a goods item."""
OF_TRADER: Final = ("importer", "seller", "declarant")
"""Histories that belong to one trader: all his inspections count there."""
LATEST_OF_TRADER: Final = 8
"""Inspected declarations of one trader that count in any other history."""
AHEAD_S: Final = timedelta(days=1).total_seconds()
"""So far a decision's clock may be ahead. Unit: s."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an inspection of a declaration counts for."""

    arrived: float
    """When the declaration arrived. Unit: s since 1970-01-01T00:00Z."""
    trader: str
    """Keyed hash of the importer, as `Observation.traders` gives it."""
    histories: Mapping[str, tuple[str, ...]]
    """Goods item's sequence number → its histories; see `inspection_histories`."""


_read_remembered = reader(Remembered)
_DECISION: Final = TypeAdapter(tuple[float, str])


def remembered(keys: SignalKeys, observation: Observation) -> str:
    """Return what is kept of a declaration until it is inspected."""
    _, trader = observation.traders(keys)
    histories = inspection_histories(keys, observation)
    return json.dumps(asdict(Remembered(observation.at, trader, histories)))


def read_remembered(content: bytes) -> Remembered:
    """Read what was kept.

    Raises:
        ValueError: it is not as this version writes it.
    """
    read = _read_remembered(content)
    named = all(
        HISTORY.fullmatch(history) for of_item in read.histories.values() for history in of_item
    )
    numbered = all(NUMBER.fullmatch(number) for number in read.histories)
    arrived = 0 < read.arrived <= MOST_SECONDS
    if not (named and numbered and arrived and DIGEST.fullmatch(read.trader)):
        raise ValueError("not what an inspection can count for")
    return read


def read_decision(content: bytes) -> tuple[float, str]:
    """Read the last decision: its time (s since 1970-01-01T00:00Z), and the outcome's id.

    Raises:
        ValueError: it is not as this version writes it.
    """
    at, outcome_id = _DECISION.validate_json(content, strict=True)
    return within(at, MOST_SECONDS), outcome_id


class PastInspections:
    """Counts each declaration's last inspection in all its histories."""

    def __init__(
        self, redis: Redis, *, keys: SignalKeys, now: Callable[[], float] = time.time
    ) -> None:
        """Take the store; `now` is the clock (s since 1970-01-01T00:00Z)."""
        self._redis = redis
        self._keys = keys
        self._now = now

    async def record(self, outcome: InspectionOutcome, arrived: float) -> str:
        """Record an outcome, unless this or a later decision on the declaration is already.

        It counts from when it arrived. The order of decisions is theirs, as far as one can have
        been taken when it says: after the declaration arrived, and before the outcome did.

        Args:
            outcome: of an inspection.
            arrived: when its event did. Unit: s since 1970-01-01T00:00Z.

        Returns:
            its result; or `known` where it was recorded already, and `unknown` where the
            declaration was not selected here, or more than a year ago.

        Raises:
            RedisError, OSError: the store fails; to record again is safe.
        """
        id_ = outcome.declaration_id
        now = await self._read(self._keys.inspected(id_), read_remembered)
        if now is None:
            return "unknown"
        decided_at = outcome.decided_at.timestamp()
        if not now.arrived <= decided_at <= arrived + AHEAD_S:
            decided_at = arrived
        decision = decided_at, outcome.outcome_id
        last = await self._read(self._keys.decided(id_), read_decision)
        if last is not None and (last >= decision or last[1] == outcome.outcome_id):
            return "known"
        before = await self._read(self._keys.learned(id_), read_remembered)
        member = self._keys.digest(id_)
        async with self._redis.pipeline(transaction=True) as pipeline:
            # An amendment may have changed the code or a trader since the last decision: what was
            # declared before must not keep it.
            if before is not None:
                self._remove(pipeline, member, before)
            self._add(pipeline, member, outcome, now, arrived)
            pipeline.set(self._keys.learned(id_), json.dumps(asdict(now)), ex=YEAR)
            pipeline.set(self._keys.decided(id_), json.dumps(decision), ex=YEAR)
            await replies(self._redis, pipeline)
        await self._bound(now)
        return outcome.result

    async def _read(self, key: str, read: Callable[[bytes], T]) -> T | None:
        """Return what lies under a key; None for nothing, or for what cannot be read."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(key)
            (content,) = await replies(self._redis, pipeline)
        if content is None:
            return None
        try:
            return read(content)
        except ValueError as error:
            refused(key, error)
            await discard(self._redis, key, content)
            return None

    def _remove(self, pipeline: Pipeline, member: str, before: Remembered) -> None:
        for history in _histories(before):
            for key in (*inspection_keys(history), trader_inspections(history, before.trader)):
                pipeline.zrem(key, member)

    def _add(
        self,
        pipeline: Pipeline,
        member: str,
        outcome: InspectionOutcome,
        now: Remembered,
        arrived: float,
    ) -> None:
        expired = min(arrived, self._now()) - 2 * YEAR
        for history, items in _histories(now).items():
            inspected, irregular = inspection_keys(history)
            keys = [inspected, irregular]
            pipeline.zadd(inspected, {member: arrived})
            if any(_is_irregular(outcome, item) for item in items):
                pipeline.zadd(irregular, {member: arrived})
            else:
                pipeline.zrem(irregular, member)
            if _is_shared(history):
                keys.append(trader_inspections(history, now.trader))
                pipeline.zadd(keys[-1], {member: arrived})
            for key in keys:
                pipeline.zremrangebyscore(key, "-inf", expired)
                pipeline.expire(key, YEAR)

    async def _bound(self, now: Remembered) -> None:
        """Leave only the latest of a trader in each history that is not his own."""
        shared = [history for history in _histories(now) if _is_shared(history)]
        own = {history: trader_inspections(history, now.trader) for history in shared}
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in own.values():
                pipeline.zrange(key, 0, -LATEST_OF_TRADER - 1)
            older = dict(zip(shared, await replies(self._redis, pipeline), strict=True))
        if not any(older.values()):
            return
        async with self._redis.pipeline(transaction=True) as pipeline:
            for history, members in older.items():
                for key in (*inspection_keys(history), own[history]) if members else ():
                    pipeline.zrem(key, *members)
            await replies(self._redis, pipeline)


def _histories(remembered_: Remembered) -> dict[str, list[int]]:
    """Return histories → the goods items that are in them."""
    histories: dict[str, list[int]] = {}
    for item, of_item in remembered_.histories.items():
        for history in of_item:
            histories.setdefault(history, []).append(int(item))
    return histories


def _is_shared(history: str) -> bool:
    """Whether a history is of goods, routes or offices, so of many traders."""
    return history.partition(":")[0] not in OF_TRADER


def _is_irregular(outcome: InspectionOutcome, item: int) -> bool:
    """Whether a goods item is; a finding on no goods item is one on the whole declaration."""
    numbers = {finding.sequence_number for finding in outcome.findings}
    return outcome.result == "irregular" and (not numbers or 0 in numbers or item in numbers)
