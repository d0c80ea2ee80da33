"""What Kubernetes does for a worker: starts it again when it stopped on purpose."""

import time

from schemas.topics import ASSESSMENTS, DEAD_LETTERS, DECLARATIONS
from tests.chaos.verifier import committed, ends
from tests.conftest import ready

FATES = (ASSESSMENTS, DEAD_LETTERS)


class Supervisor:
    """Keeps one worker running; call `tend` all the time, from the main thread."""

    def __init__(self, start, **settings):
        """Start the first one.

        Args:
            start: see `start_worker`.
            settings: of the worker.
        """
        self._start = lambda: start(**settings)
        self.worker = self._start()
        self.exits = []
        """Exit status of each that stopped by itself."""

    def tend(self):
        """Start it again if it ended; it has to say so with status 1."""
        status = self.worker.returncode
        if status is not None:
            self.exits.append(status)
            assert status == 1, self.worker.tail()
            self.worker = self._start()

    def restart(self):
        """Stop it in order, and start another one."""
        assert self.worker.stop() == 0, self.worker.tail()
        self.worker = self._start()

    def wait(self, condition, *, within_s):
        """Tend until a condition holds; returns the seconds that it took."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() < begun + within_s, self.worker.tail()
            self.tend()
            time.sleep(0.1)
        return time.monotonic() - begun

    def wait_ready(self):
        """Tend until the worker says that it is ready."""
        self.wait(lambda: ready(self.worker), within_s=180)

    def sleep(self, seconds):
        """Tend for a time."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, within_s=seconds + 60)

    def recover(self, settings, heal, figures, *, within_s=180):
        """End a fault, and wait until all that was sent until then has its fate and is committed.

        Args:
            settings: of the services.
            heal: ends the fault.
            figures: of the test, which get the time to the first new fate.
            within_s: for all of it.

        Returns:
            the seconds to the first new fate, and to the last.
        """
        before = ends(settings, FATES)
        heal()
        begun = time.monotonic()
        target = ends(settings, (DECLARATIONS,))
        self.wait(lambda: ends(settings, FATES) != before, within_s=within_s)
        first = time.monotonic() - begun
        self.wait(lambda: not behind(settings, target), within_s=within_s)
        figures.recovery_s.append(round(first, 1))
        return first, time.monotonic() - begun


def behind(settings, target):
    """Whether something below these ends of the declarations is not committed."""
    offsets = committed(settings, settings.consumer_group)
    return any(offsets[partition] < end for (_, partition), end in target.items())
