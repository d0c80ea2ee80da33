"""How long work tells of its progress. `print` will do; the command line draws a bar."""

from typing import Protocol


class Say(Protocol):
    """Called with the step at hand and, where it can be counted, how much of it is done."""

    def __call__(self, step: str, done: int = 0, total: int = 0, /) -> None:
        """Tell of progress; `total` 0: it cannot be counted."""
