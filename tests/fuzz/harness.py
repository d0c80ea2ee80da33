"""Targets, and what watches a case: how it ends, its time, its memory, where it connects to.

Every case ends in a reason code, or in one of the ends that its target names, within limits. Peak
memory is the kernel's (VmHWM), so that what libraries of C take counts too.
"""

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from schemas.reasons import Reason
from tests.fuzz.choices import Choices

T = TypeVar("T")
MAX_SECONDS: Final = 2.0
MAX_BYTES: Final = 100_000_000
"""That memory may grow by, at its peak."""
TRIES: Final = 3
"""Of a case that took too long or too much: others use the machine too."""
STATUS: Final = Path("/proc/self/status")
CLEAR: Final = Path("/proc/self/clear_refs")
RESET_PEAK: Final = "5"
TASKS: Final = Path("/proc/self/task")
WATCHED: Final = {
    "socket.connect",
    "socket.sendto",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "subprocess.Popen",
    "os.system",
}


class Broken(AssertionError):  # noqa: N818 - says what it is
    """A case that did not end as every case must."""


@dataclass(frozen=True, slots=True)
class Target:
    """A border, and how hostile input gets to it."""

    name: str
    run: Callable[[Choices], object]
    """Returns how the case ended, or how each part of it did."""
    ends: frozenset[str]
    """Besides reason codes."""
    weight: float
    """Share of examples, relative to the others: a slow target gets fewer."""


TARGETS: Final[dict[str, Target]] = {}


def target(
    name: str, *ends: str, weight: float = 1.0
) -> Callable[[Callable[[Choices], object]], Callable[[Choices], object]]:
    """Register a target."""

    def register(run: Callable[[Choices], object]) -> Callable[[Choices], object]:
        TARGETS[name] = Target(name, run, frozenset(ends), weight)
        return run

    return register


@dataclass(slots=True)
class Watch:
    """What a case does outside its memory."""

    allowed: set[tuple[str, int]] = field(default_factory=set)
    """Addresses of services that targets themselves started."""
    active: bool = False
    seen: list[str] = field(default_factory=list)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See an event of the interpreter, which code cannot hide; refuse a connection."""
        if not self.active or event not in WATCHED:
            return
        if event == "socket.connect" and tuple(arguments[1][:2]) in self.allowed:
            return
        if event == "socket.getaddrinfo" and tuple(arguments[:2]) in self.allowed:
            return
        self.seen.append(f"{event} {arguments[1:]!r:.200}")
        raise PermissionError("not on the allow-list of the fuzz harness")

    @contextmanager
    def case(self) -> Iterator[None]:
        """Watch a case."""
        self.seen.clear()
        self.active = True
        try:
            yield
        finally:
            self.active = False


@cache
def watch() -> Watch:
    """Return the one watch: an audit hook stays for as long as the process."""
    one = Watch()
    sys.addaudithook(one.hook)
    return one


def check(tested: Target, data: bytes, *, patience: float = 1.0) -> list[str]:
    """Run a case and return how it ended.

    Args:
        tested: the target.
        data: the case.
        patience: factor of the time that it may take, where the code is traced.

    Raises:
        Broken: it did not end in a reason code, took too long or too much, or connected elsewhere.
    """
    for attempt in range(TRIES):
        ends, seconds, grown = _measured(tested, data)
        if wrong := [end for end in ends if end not in tested.ends and end not in set(Reason)]:
            raise Broken(f"{tested.name} ended in {wrong[0]!r:.200}, which is no reason code")
        if watch().seen:
            raise Broken(f"{tested.name} left the allow-list: {watch().seen[0]}")
        if seconds <= MAX_SECONDS * patience and grown <= MAX_BYTES:
            return ends
        if attempt == TRIES - 1:
            raise Broken(f"{tested.name} took {seconds:.1f} s and {grown / 1e6:.0f} MB more")
        gc.collect()
    return ends


def _measured(tested: Target, data: bytes) -> tuple[list[str], float, int]:
    CLEAR.write_text(RESET_PEAK)
    before = memory("VmRSS")
    start, waited, worked = time.perf_counter(), _waited(), time.process_time()
    with watch().case():
        ended = tested.run(Choices(data))
    # Others use the machine too: what the scheduler kept it waiting does not count.
    seconds = time.perf_counter() - start - (_waited() - waited)
    seconds = max(seconds, time.process_time() - worked)
    ends = [ended] if isinstance(ended, str) else list(ended)  # type: ignore[call-overload]
    return list(map(str, ends)), seconds, memory("VmHWM") - before


def _waited() -> float:
    """Return how long the threads of this process were ready and did not run. Unit: s."""
    waited = 0
    for thread in TASKS.iterdir():
        with contextlib.suppress(OSError):  # it ended
            waited += int((thread / "schedstat").read_text().split()[1])
    return waited / 1e9


def memory(name: str) -> int:
    """Return a figure of this process's memory. Unit: bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


@cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=asyncio.new_event_loop)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the event loop of all cases."""
    return _runner().run(coroutine)
