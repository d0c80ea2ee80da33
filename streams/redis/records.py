"""JSON in Redis → dataclasses, as far as this version knows their fields."""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter

T = TypeVar("T")


def reader(kind: type[T]) -> Callable[[bytes | str], T]:
    """Return a function that reads a dataclass from JSON.

    It raises a ValueError where the record is of another format: a field that the dataclass lacks
    counts, for a worker of another version may have written it; so does a number that is none.
    """
    # Pydantic takes a configuration for a union, though not for a dataclass.
    optional: Any = kind | None
    adapter: TypeAdapter[T | None] = TypeAdapter(
        optional, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    )

    def read(record: bytes | str) -> T:
        value = adapter.validate_json(record)
        if value is None:
            raise ValueError(f"null is no {kind.__name__}")
        return value

    return read
