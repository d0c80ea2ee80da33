"""A failing service is called again for a while; then its error propagates and stops the worker.

Each wait is logged; see streams/logs.py.
"""

from typing import TypedDict

from stamina import AsyncRetryingCaller, RetryingCaller


class _Waits(TypedDict):
    attempts: int
    timeout: None
    wait_initial: float
    wait_jitter: float
    wait_max: float


def retrying(*, attempts: int, delay_s: float) -> AsyncRetryingCaller:
    """Return what calls a function again while it raises one of the given errors.

    Args:
        attempts: at most; the error of the last one propagates.
        delay_s: before the second attempt; each wait is twice the last, and up to `delay_s` longer
            by chance, so that workers do not all come back at once. Unit: s.
    """
    return AsyncRetryingCaller(**_waits(attempts, delay_s))


def retrying_blocking(*, attempts: int, delay_s: float) -> RetryingCaller:
    """Return the same for a function that is not a coroutine; the waits block the thread."""
    return RetryingCaller(**_waits(attempts, delay_s))


def _waits(attempts: int, delay_s: float) -> _Waits:
    return {
        "attempts": attempts,
        "timeout": None,
        "wait_initial": delay_s,
        "wait_jitter": delay_s,
        "wait_max": delay_s * 2**attempts,
    }
