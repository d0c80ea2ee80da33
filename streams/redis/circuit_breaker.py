"""A Redis that fails or is slow is left alone for a while, so that no declaration waits for it."""

import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

import structlog
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from streams import logs

FAILURES: Final = (RedisError, OSError)
"""What a failing Redis looks like."""
DENIALS: Final = (AuthenticationError, NoPermissionError)
REMEDY: Final = (
    "check user and password in REDLANE_REDIS_URL, and the user's rights: "
    "`redlane deploy --print-acls`"
)
TLS_REMEDY: Final = "check REDLANE_REDIS_CA_FILE, and when the server's certificate expires"
log = structlog.get_logger(__name__)
logs.tell_plainly(REMEDY, *DENIALS)


def is_of_tls(error: Exception) -> bool:
    """Whether the connection failed for a certificate; the client names no cause."""
    return isinstance(error.__cause__ or error.__context__, ssl.SSLError)


class CircuitBreaker:
    """Opens for a while when Redis fails; a context manager that swallows such a failure.

    Ask `is_open` first, and go without Redis while it is: `with breaker:` itself skips nothing.
    """

    def __init__(
        self, lost: str, *, pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start closed.

        Args:
            lost: what is missing without Redis, for the log.
            pause_s: for which it stays open.
            clock: monotonic. Unit: s.
        """
        self._lost = lost
        self._pause_s = pause_s
        self._clock = clock
        self._open_until = -float("inf")

    @property
    def is_open(self) -> bool:
        """Whether Redis failed within the last `pause_s`."""
        return self._clock() < self._open_until

    def trip(self, error: Exception) -> None:
        """Open for `pause_s`, and log the kind of the error; and what to do, where Redis denies."""
        self._open_until = self._clock() + self._pause_s
        more = {"error": type(error).__name__, "pause_s": self._pause_s}
        if isinstance(error, DENIALS):
            log.error(self._lost, **more, remedy=REMEDY)
        elif is_of_tls(error):
            log.error(self._lost, **more, remedy=TLS_REMEDY)
        else:
            log.warning(self._lost, **more)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, FAILURES):
            return False
        self.trip(error)
        return True
