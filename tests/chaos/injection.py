"""Code that `start_worker(bug=…)` runs in a worker's process, before it starts."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def injected(function, *arguments, **options):
    """Return a line of code that calls a function of the tests in another process."""
    return (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        f"from {function.__module__} import {function.__name__}; "
        f"{function.__name__}(*{arguments!r}, **{options!r})"
    )
