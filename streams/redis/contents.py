"""Contents of Redis that this version did not write: they count as absent, and are told.

Another version, or a person, may have written anything under any key: of another type, of other
fields, or garbage. Nothing of that may stop a worker. Contents of the wrong kind are deleted, so
that what belongs there can be written; those of other versions lie under other keys
(streams/redis/keys.py).
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError, WatchError

from streams import metrics
from streams.redis.keys import contents_of

T = TypeVar("T")
WRONG: Final = re.compile(r"\b(WRONGTYPE|INVALIDOBJ) ")
"""Another type, or a HyperLogLog that is none."""
MOST_COUNTED: Final = 2**31 - 1
"""Of anything that is counted: what an event can hold."""
MOST_SECONDS: Final = 253_402_300_798.0
"""A second before the year 10000. Unit: s since 1970-01-01T00:00Z."""
MOST_EUR: Final = 1e15
MOST_NATS: Final = 100.0
"""Logarithm of a price, and its spread, beyond any that can be declared."""
ATTEMPTS: Final = 5
"""At a key that others change meanwhile."""
log = structlog.get_logger(__name__)


def refused(key: str | bytes, error: Exception) -> None:
    """Count and log contents that are not used."""
    contents = contents_of(key)
    metrics.REDIS_REFUSED.labels(contents).inc()
    log.warning("contents of Redis not used", contents=contents, error=type(error).__name__)


def within(value: float, most: float) -> float:
    """Return a number that arithmetic can use.

    Raises:
        ValueError: it is none, or farther from 0 than that.
    """
    if not -most <= value <= most:  # of what is no number, neither holds
        raise ValueError("no number, or out of bounds")
    return value


async def replies(redis: Redis, pipeline: Pipeline) -> list[Any]:
    """Execute a pipeline; contents of the wrong type count as absent.

    They are deleted, and all commands sent again: use it only where that changes nothing more.

    Raises:
        RedisError, OSError: the store fails.
    """
    commands = list(pipeline.command_stack)
    results = await pipeline.execute(raise_on_error=False)
    wrong: dict[Any, Any] = {}
    """Key → a command that does not work on it."""
    for (command, _), result in zip(commands, results, strict=True):
        if isinstance(result, ResponseError) and WRONG.search(str(result)):
            wrong[command[1]] = command[0]
        elif isinstance(result, Exception):
            raise result
    if wrong:
        for key, name in wrong.items():
            await _discard_wrong_type(redis, key, name)
        pipeline.command_stack = commands
        results = await pipeline.execute()
    return results


async def discard(redis: Redis, key: str, value: bytes) -> None:
    """Delete a string that is not used, unless it has changed meanwhile."""
    async with redis.pipeline(transaction=True) as pipeline:
        try:
            await pipeline.watch(key)
            if await pipeline.get(key) == value:
                pipeline.multi()  # type: ignore[no-untyped-call] # redis-py's
                pipeline.delete(key)
                await pipeline.execute()
        except WatchError:
            pass  # somebody wrote another


async def keep_first(
    redis: Redis, key: str, own: T, value: str, read: Callable[[bytes], T], *, seconds: int
) -> T:
    """Keep a value, unless there is one that can be read; return the one that is kept.

    Args:
        redis: the store.
        key: of the value.
        own: what is kept if there is none.
        value: the same as it is written.
        read: raises a ValueError for what cannot be read.
        seconds: that it is kept.

    Raises:
        RedisError, OSError: the store fails.
    """
    for _ in range(ATTEMPTS):
        async with redis.pipeline(transaction=False) as pipeline:
            pipeline.set(key, value, nx=True, get=True, ex=seconds)
            (earlier,) = await replies(redis, pipeline)
        if earlier is None:
            break
        try:
            return read(earlier)
        except ValueError as error:
            refused(key, error)
            await discard(redis, key, earlier)
    return own


async def _discard_wrong_type(redis: Redis, key: str, command: str) -> None:
    """Delete what a command does not work on, unless it works on it by now."""
    async with redis.pipeline(transaction=True) as pipeline:
        try:
            await pipeline.watch(key)
            try:
                if command.startswith("PF"):
                    await pipeline.pfcount(key)
                elif command.startswith("Z"):
                    await pipeline.zcard(key)
                else:
                    await pipeline.get(key)
            except ResponseError as error:
                refused(key, error)
                pipeline.multi()  # type: ignore[no-untyped-call] # redis-py's
                pipeline.delete(key)
                await pipeline.execute()
        except WatchError:
            pass  # somebody wrote another
