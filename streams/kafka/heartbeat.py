"""Signs of life: a stage that works long on one event says after each slice that it gets on.

The watchdog (health.py) asks for the last sign of life, not for the age of an event: a declaration
of 999 goods items may take minutes, and others may wait behind it for longer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Heartbeat:
    """The last sign of life of a pump."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.at = clock()
        """By the clock. Unit: s."""

    def beat(self) -> None:
        """Give a sign of life."""
        self.at = self._clock()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make `beat` in this task, and in those that it starts, a sign of this one."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)


_CURRENT: ContextVar[Heartbeat | None] = ContextVar("heartbeat", default=None)


def beat() -> None:
    """Say that the work on an event gets on; call it after each slice."""
    heartbeat = _CURRENT.get()
    if heartbeat is not None:  # else the stage runs outside a pump
        heartbeat.beat()
