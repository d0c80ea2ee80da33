"""The steps of the micro-batch that a task works on, where somebody wants to know them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

NANOSECONDS: Final = 1_000_000_000


@dataclass(slots=True)
class Step:
    """A step, with all its slices."""

    start: int
    """Of the first slice. Unit: ns since 1970-01-01T00:00Z."""
    end: int
    """Of the last one. Unit: ns since 1970-01-01T00:00Z."""
    busy_s: float
    """Sum of all. Unit: s."""
    slices: int = 1


_STEPS: ContextVar[dict[str, Step] | None] = ContextVar("steps", default=None)


@contextmanager
def collected() -> Iterator[dict[str, Step]]:
    """Collect the steps of this task, and of those that it starts, by name."""
    steps: dict[str, Step] = {}
    token = _STEPS.set(steps)
    try:
        yield steps
    finally:
        _STEPS.reset(token)


def add(name: str, seconds: float) -> None:
    """Note a step, or a slice of one, that has just ended; nothing where nobody collects them."""
    steps = _STEPS.get()
    if steps is None:
        return
    end = time.time_ns()
    step = steps.get(name)
    if step is None:
        steps[name] = Step(end - int(seconds * NANOSECONDS), end, seconds)
    else:
        step.end = end
        step.busy_s += seconds
        step.slices += 1
