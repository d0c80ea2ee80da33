"""Commands to Redis, each with the parser of its replies: what asks also says how to read."""

from collections.abc import Callable, Sequence
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
        """Return the newest members of sets, each once, newest first.

        Args:
            kind: of the members.
            keys: of the sets.
            until: time of the newest, included. Unit: s.
            within: before `until`. Unit: s.
            most: members that are read of each set.
        """
        for key in keys:
            self._pipeline.zrevrangebyscore(
                key, until, until - within, start=0, num=most, withscores=True
            )

        def parse(*sets: Sequence[tuple[bytes, float]]) -> list[M]:
            places = zip(keys, sets, strict=True)
            distinct = {
                member: (score, key) for key, members in places for member, score in members
            }
            newest_first = sorted(distinct, key=lambda member: (-distinct[member][0], member))
            return [
                read
                for member in newest_first
                for read in self._decoded(kind, member, distinct[member][1])
            ]

        return self._reply(len(keys), parse)

    def newest_of_shards(self, kind: type[M], *sets: Sequence[str], until: float) -> Reply[list[M]]:
        """Return the newest members of sharded sets, each once; `NEWEST` of each set."""
        keys = [key for shards in sets for key in shards]
        return self.newest(kind, *keys, until=until, most=NEWEST // SHARDS)

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
        for key in inspection_keys(history):
            self._pipeline.zcount(key, before - within, f"({before}")

        def parse(inspected: int, irregular: int) -> Rate:
            return Rate(inspected, min(inspected, irregular))

        return self._reply(2, parse)

    def _reply(self, count: int, parse: Callable[..., T]) -> Reply[T]:
        """Pair the last `count` commands with the parser of their replies."""
        end = len(self._pipeline)
        return lambda: parse(*self._replies[end - count : end])
