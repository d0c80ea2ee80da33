"""How many members a value's lists have, counted without decoding it.

A list of a million members fits into two million bytes, and takes some hundred times as much memory
once it is decoded.
"""

from typing import Any, Final

SIZES: Final = {"null": 0, "boolean": 1, "float": 4, "double": 8}
"""Types of a fixed size. Unit: bytes."""
BITS: Final = 70
"""Of an integer's bytes, at most; seven in each."""
PREFIX: Final = 5
"""Before the record: a zero byte and the schema id. Unit: bytes."""


class _TooMany(Exception):  # noqa: N818 - says what it is
    """The limit is exceeded."""


def has_more_members(value: bytes, writer: dict[str, Any], most: int) -> bool:
    """Return whether all lists and maps of a value together have more members than that.

    Args:
        value: in the Confluent wire format; damaged ones are left to the decoder.
        writer: the schema that it was written under, as fastavro parsed it.
        most: of the members.
    """
    try:
        _Walk(value, writer.get("__named_schemas", {}), most).over(writer)
    except _TooMany:
        return True
    except (IndexError, KeyError, TypeError):  # no value of this schema: decoding it fails too
        return False
    return False


class _Walk:
    """Goes over a value, from its first byte on."""

    def __init__(self, value: bytes, named: dict[str, Any], left: int) -> None:
        self._value = value
        self._named = named
        self._left = left
        self._at = PREFIX

    def over(self, node: Any) -> None:
        """Go over a value of a type."""
        if isinstance(node, list):
            node = node[self._integer()]
        if isinstance(node, str):
            if node not in self._named:
                self._over_primitive(node)
                return
            node = self._named[node]
        kind = node["type"]
        if kind == "record":
            for field in node["fields"]:
                self.over(field["type"])
        elif kind in {"array", "map"}:
            self._over_members(node)
        elif kind == "fixed":
            self._at += node["size"]
        elif kind == "enum":
            self._integer()
        else:
            self.over(kind)

    def _over_members(self, node: dict[str, Any]) -> None:
        while count := self._integer():
            if count < 0:  # then the size of the block follows
                count = -count
                self._integer()
            self._left -= count
            if self._left < 0:
                raise _TooMany
            for _ in range(count):
                if node["type"] == "map":
                    self._over_primitive("string")
                    self.over(node["values"])
                else:
                    self.over(node["items"])

    def _over_primitive(self, kind: str) -> None:
        if kind in {"string", "bytes"}:
            length = self._integer()
            self._at += length
            if not 0 <= self._at <= len(self._value):
                raise IndexError
        elif kind in SIZES:
            self._at += SIZES[kind]
        else:
            self._integer()

    def _integer(self) -> int:
        """Return a variable-length integer."""
        number = 0
        for shift in range(0, BITS, 7):
            byte = self._value[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return (number >> 1) ^ -(number & 1)
        raise IndexError("an integer without an end")
