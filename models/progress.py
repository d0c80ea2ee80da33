"""How long-running work reports its progress. `print` will do; the command line draws a bar."""

from typing import Protocol


class Say(Protocol):
    """Called with the current step and, where it can be counted, how much of it is done."""

    def __call__(self, step: str, done: int = 0, total: int = 0, /) -> None:
        """Report progress; a `total` of 0 means that it cannot be counted."""
