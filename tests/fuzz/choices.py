"""Bytes → choices: what hypothesis and atheris vary, a target reads as decisions.

Bytes that are missing count as zeros, and zero is always the plainest choice; so a case that was
cut short is still a case, and a simpler one.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")
BYTE: Final = 256


class Choices:
    """Reads decisions from bytes, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0

    @property
    def left(self) -> int:
        """Bytes that are not read yet."""
        return max(0, len(self._data) - self._next)

    def bytes(self, count: int) -> bytes:
        """Return the next bytes; fewer at the end."""
        taken = self._data[self._next : self._next + count]
        self._next += count
        return taken

    def below(self, count: int) -> int:
        """Return a number from 0 to `count` - 1."""
        size = max(1, (count - 1).bit_length() + 7 >> 3)
        return int.from_bytes(self.bytes(size)) % count

    def between(self, least: int, most: int) -> int:
        """Return a number from `least` to `most`."""
        return least + self.below(most - least + 1)

    def pick(self, values: Sequence[T]) -> T:
        """Return one of the values."""
        return values[self.below(len(values))]

    def one_in(self, count: int) -> bool:
        """Return True once in so many; False where nothing is left."""
        return self.left > 0 and self.below(BYTE) * count >= BYTE * (count - 1)
