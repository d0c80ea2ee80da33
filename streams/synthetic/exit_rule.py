"""When `redlane demo --once` ends, and whether it succeeded. Pure: the clock is injected."""

import time
from collections.abc import Callable
from typing import Final

from streams.synthetic.scoreboard import Scoreboard

QUIET_S: Final = 60.0
"""With no event for this long after the last declaration was sent, missing fates are lost."""


class ExitRule:
    """Decides when there is nothing left to wait for."""

    def __init__(self, scoreboard: Scoreboard, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock.

        Args:
            scoreboard: fates so far.
            clock: seconds, never decreasing.
        """
        self._scoreboard = scoreboard
        self._clock = clock
        self._last = clock()

    def is_over(self, *, received: bool, all_sent: bool) -> bool:
        """Return whether the demo should end.

        Args:
            received: whether an event arrived since the last call.
            all_sent: whether the last declaration was sent.
        """
        if received or not all_sent:
            self._last = self._clock()
        board = self._scoreboard
        complete = all_sent and board.settled == len(board.truths) and not board.unexplained
        return complete or self._clock() - self._last > QUIET_S


def is_faultless(scoreboard: Scoreboard) -> bool:
    """Return whether every declaration got exactly one fate and every alert an explanation."""
    summary = scoreboard.summary()
    faults = summary["lost"] or summary["conflicting"] or summary["unexplained"]
    return bool(summary["sent"] and not faults)
