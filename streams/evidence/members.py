"""Members of the sets of signals in Redis: named fields ↔ text, as older versions wrote it.

An amendment adds members beside those of the version that it amends; `latest_of_others` leaves only
the highest version of each.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol, Self, TypeVar

SEPARATOR: Final = "|"


class Member(Protocol):
    """A member of a set of signals."""

    @property
    def declaration(self) -> str:
        """Keyed hash of the declaration's id."""

    @property
    def version(self) -> int:
        """Version of the declaration."""

    @property
    def subject(self) -> tuple[str, ...]:
        """What the versions of one declaration, or of one goods item, have in common."""

    @classmethod
    def decode(cls, member: bytes) -> Self:
        """Read a member from Redis."""


M = TypeVar("M", bound=Member)


class ConsignmentMember(NamedTuple):
    """A consignment from a seller to an importer."""

    declaration: str
    version: int
    value: float
    """0 for one above the de minimis value, or unknown. Unit: EUR."""

    @property
    def subject(self) -> tuple[str, ...]:
        """The declaration."""
        return (self.declaration,)

    def encode(self) -> str:
        """Return what is written to Redis."""
        return SEPARATOR.join((self.declaration, str(self.version), repr(self.value)))

    @classmethod
    def decode(cls, member: bytes) -> Self:
        """Read a member from Redis."""
        declaration, version, value = member.decode().split(SEPARATOR)
        return cls(declaration, int(version), float(value))


class PriceMember(NamedTuple):
    """The unit price of a goods item."""

    declaration: str
    item: str
    """Sequence number."""
    version: int
    log_price: float
    """Unit: log EUR/kg."""

    @property
    def subject(self) -> tuple[str, ...]:
        """The goods item."""
        return (self.declaration, self.item)

    def encode(self) -> str:
        """Return what is written to Redis."""
        return SEPARATOR.join(
            (self.declaration, self.item, str(self.version), repr(self.log_price))
        )

    @classmethod
    def decode(cls, member: bytes) -> Self:
        """Read a member from Redis."""
        declaration, item, version, log_price = member.decode().split(SEPARATOR)
        return cls(declaration, item, int(version), float(log_price))


class PhotoMember(NamedTuple):
    """The use of a photo for a goods item."""

    declaration: str
    item: str
    """Sequence number."""
    version: int
    perceptual_hash: int
    """64 bits."""
    seller: str
    """Keyed hash of the seller's identification."""
    log_price: float | None
    """Unit: log EUR/kg."""
    heading: str
    """HS heading (4 digits) that was declared."""
    declaration_id: str
    """As inspectors may read it."""

    @property
    def subject(self) -> tuple[str, ...]:
        """The goods item."""
        return (self.declaration, self.item)

    def encode(self) -> str:
        """Return what is written to Redis."""
        return SEPARATOR.join(
            (
                self.declaration,
                self.item,
                str(self.version),
                f"{self.perceptual_hash:016x}",
                self.seller,
                "" if self.log_price is None else repr(self.log_price),
                without_separator(self.heading),
                without_separator(self.declaration_id),
            )
        )

    @classmethod
    def decode(cls, member: bytes) -> Self:
        """Read a member from Redis."""
        parts = member.decode().split(SEPARATOR)
        declaration, item, version, perceptual_hash, seller, log_price, heading, id_ = parts
        return cls(
            declaration,
            item,
            int(version),
            int(perceptual_hash, 16),
            seller,
            float(log_price) if log_price else None,
            heading,
            id_,
        )


def without_separator(text: str) -> str:
    """Return declared text so that it can stand in a member."""
    return text.replace(SEPARATOR, "_")


def latest_of_others(members: Iterable[M], *, declaration: str) -> list[M]:
    """Return the highest version of each subject, without the members of one declaration.

    Args:
        members: in any order; the result keeps the order in which subjects come first.
        declaration: keyed hash of the id that is left out.
    """
    latest: dict[tuple[str, ...], M] = {}
    for member in members:
        if member.declaration != declaration:
            best = latest.setdefault(member.subject, member)
            if member.version > best.version:
                latest[member.subject] = member
    return list(latest.values())
