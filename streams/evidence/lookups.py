"""Commands to Redis, each with the parser of its replies: what asks also says how to read."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from redis.asyncio.client import Pipeline

from models.risk.signals import Rate
from streams.evidence.members import M
from streams.redis.keys import inspection_keys

T = TypeVar("T")
Reply: TypeAlias = Callable[[], T]
"""Gives the parsed reply, once the pipeline is executed."""
NEWEST: Final = 128
"""Most members of a set that a look-up reads."""


class Lookups:
    """The look-ups of a pipeline. Each is bounded, and none sees beyond the time it is given."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Take a pipeline, which may hold other commands already."""
        self._pipeline = pipeline
        self._replies: Sequence[Any] = ()

    async def execute(self) -> None:
        """Send all commands of the pipeline in one round trip; then every `Reply` can be read.

        Raises:
            RedisError, OSError: the store fails.
        """
        self._replies = await self._pipeline.execute()

    def others(self, key: str, member: str, *, until: float, within: float) -> Reply[int]:
        """Count the members of a set in a window, apart from the given one.

        Args:
            key: of the set.
            member: that is not counted. It may lie outside the window, where another version of
                its declaration in the micro-batch gave it another time, or be pushed out of the
                set by newer ones.
            until: end of the window, included. Unit: s.
            within: length of the window. Unit: s.
        """
        since = until - within
        self._pipeline.zcount(key, since, until)
        self._pipeline.zscore(key, member)

        def parse(count: int, score: float | None) -> int:
            return count - (score is not None and since <= score <= until)

        return self._reply(2, parse)

    def newest(
        self, kind: type[M], *keys: str, until: float, within: float = float("inf")
    ) -> Reply[list[M]]:
        """Return the newest members of sets, each once.

        Args:
            kind: of the members.
            keys: of the sets; `NEWEST` are read of each.
            until: time of the newest, included. Unit: s.
            within: before `until`. Unit: s.
        """
        for key in keys:
            self._pipeline.zrevrangebyscore(key, until, until - within, start=0, num=NEWEST)

        def parse(*sets: Sequence[bytes]) -> list[M]:
            distinct = dict.fromkeys(member for members in sets for member in members)
            return [kind.decode(member) for member in distinct]

        return self._reply(len(keys), parse)

    def rate(self, history: str, *, before: float, within: float) -> Reply[Rate]:
        """Count the past inspections of a history.

        Args:
            history: one of `SignalKeys.histories`.
            before: time of the last, not included. Unit: s.
            within: before that. Unit: s.
        """
        for key in inspection_keys(history):
            self._pipeline.zcount(key, before - within, f"({before}")
        return self._reply(2, Rate)

    def _reply(self, count: int, parse: Callable[..., T]) -> Reply[T]:
        """Pair the last `count` commands with the parser of their replies."""
        end = len(self._pipeline)
        return lambda: parse(*self._replies[end - count : end])
