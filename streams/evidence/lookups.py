"""Commands to Redis, each with the parser of its replies: what asks also says how to read."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, Final, TypeAlias, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from models.risk.signals import Rate
from streams.evidence.members import M, decoded
from streams.redis.contents import refused, replies
from streams.redis.keys import SHARDS, inspection_keys

T = TypeVar("T")
Reply: TypeAlias = Callable[[], T]
"""Gives the parsed reply, once the pipeline is executed."""
NEWEST: Final = 128
"""Most members of a set that a look-up reads."""


class Lookups:
    """The look-ups of a pipeline. Each is bounded, and none sees beyond the time it is given."""

    def __init__(self, redis: Redis, pipeline: Pipeline) -> None:
        """Take a pipeline of that store, which may hold other commands already."""
        self._redis = redis
        self._pipeline = pipeline
        self._replies: Sequence[Any] = ()
        self._asked: dict[Any, Reply[Any]] = {}
        self.refused: list[tuple[str, bytes]] = []
        """Sets, and what was read of them that is no member."""

    async def execute(self) -> None:
        """Send all commands of the pipeline in one round trip; then every `Reply` can be read.

        Raises:
            RedisError, OSError: the store fails.
        """
        self._replies = await replies(self._redis, self._pipeline)

    def newest(
        self,
        kind: type[M],
        *keys: str,
        until: float,
        within: float = float("inf"),
        most: int = NEWEST,
    ) -> Reply[list[M]]:
        """Return the newest members of sets, each once, the newest of each set first.

        Args:
            kind: of the members.
            keys: of the sets.
            until: time of the newest, included. Unit: s.
            within: before `until`. Unit: s.
            most: members that are read of each set.
        """
        asked = (kind, keys, until, within, most)
        if asked in self._asked:  # as for goods items of one code
            return self._asked[asked]
        for key in keys:
            self._pipeline.zrevrangebyscore(key, until, until - within, start=0, num=most)

        def parse(*sets: Sequence[bytes]) -> list[M]:
            distinct: dict[bytes, str] = {}
            for newest in zip_longest(*sets):
                for key, member in zip(keys, newest, strict=True):
                    if member is not None:
                        distinct.setdefault(member, key)
            return [read for item in distinct.items() for read in self._decoded(kind, *item)]

        self._asked[asked] = self._reply(len(keys), parse)
        return self._asked[asked]

    def newest_of_shards(
        self, kind: type[M], *sets: Sequence[str], until: float, within: float = float("inf")
    ) -> Reply[list[M]]:
        """Return the newest members of sharded sets, each once; `NEWEST` of each set."""
        keys = [key for shards in sets for key in shards]
        return self.newest(kind, *keys, until=until, within=within, most=NEWEST // SHARDS)

    def _decoded(self, kind: type[M], member: bytes, key: str) -> list[M]:
        """Return the member in a list; nothing where it is none."""
        try:
            return [decoded(kind, member)]
        except ValueError as error:
            refused(key, error)
            self.refused.append((key, member))
            return []

    def rate(self, history: str, *, before: float, within: float) -> Reply[Rate]:
        """Count the past inspections of a history.

        Args:
            history: one of `SignalKeys.histories`.
            before: time of the last, not included. Unit: s.
            within: before that. Unit: s.
        """
        asked = (history, before, within)
        if asked in self._asked:  # as for goods items of one trader
            return self._asked[asked]
        for key in inspection_keys(history):
            self._pipeline.zcount(key, before - within, f"({before}")

        def parse(inspected: int, irregular: int) -> Rate:
            return Rate(inspected, min(inspected, irregular))

        self._asked[asked] = self._reply(2, parse)
        return self._asked[asked]

    def _reply(self, count: int, parse: Callable[..., T]) -> Reply[T]:
        """Pair the last `count` commands with the parser of their replies."""
        end = len(self._pipeline)
        parsed: list[T] = []

        def reply() -> T:
            if not parsed:
                parsed.append(parse(*self._replies[end - count : end]))
            return parsed[0]

        return reply
