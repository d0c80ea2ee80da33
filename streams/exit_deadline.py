"""An orderly stop that hangs → the end of the process, within a time that others can rely on.

Kubernetes and Docker kill a process that outlasts their grace period without a word in its log. To
end without order is always safe here: what is not committed is delivered again.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

POLL_S: Final = 0.2
CUT_OFF_S: Final = 5.0
"""For an orderly stop without Kafka: nothing can be published or committed any more."""
log = structlog.get_logger(__name__)


class ExitDeadline:
    """Ends the process with status 1 when its stop takes too long."""

    def __init__(
        self,
        within_s: float,
        cut_off: Callable[[], bool] = lambda: False,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        """Take the limits; nothing happens before `start`.

        Args:
            within_s: for an orderly stop. Unit: s.
            cut_off: whether Kafka is out of reach; then CUT_OFF_S are enough.
            end: ends the process with a status, without unwinding.
        """
        self._within_s = within_s
        self._cut_off = cut_off
        self._end = end
        self._thread = threading.Thread(target=self._wait, name="exit-deadline", daemon=True)
        self._lock = threading.Lock()

    def start(self) -> None:
        """The stop begins; a second call changes nothing."""
        with self._lock:
            if self._thread.ident is None:
                self._thread.start()

    def _wait(self) -> None:
        begun = time.monotonic()
        while (took := time.monotonic() - begun) < self._within_s:
            if took > CUT_OFF_S and self._cut_off():
                break
            time.sleep(POLL_S)
        log.error("the stop takes too long: ending without it", after_s=round(took))
        self._end(1)
