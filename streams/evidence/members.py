"""Members of the sets of signals in Redis: named fields ↔ text.

One member for each declaration, or few, however many goods items it has. An amendment adds members
beside those of the version that it amends; `latest_of_others` leaves only the highest version of
each declaration.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, Self, TypeVar

from streams.redis.contents import MOST_EUR, MOST_NATS, within

SEPARATOR: Final = "|"
DIGEST: Final = re.compile(r"[0-9a-f]{24}")
PHOTO_HASH: Final = re.compile(r"[0-9a-f]{16}")


class Member(Protocol):
    """A member of a set of signals."""

    @property
    def declaration(self) -> str:
        """Keyed hash of the declaration's id."""

    @property
    def version(self) -> int:
        """Version of the declaration."""

    @classmethod
    def decode(cls, member: bytes) -> Self:
        """Read a member from Redis.

        Raises:
            ValueError: it is not as `encode` writes it.
        """

    def encode(self) -> str:
        """Return what is written to Redis."""


M = TypeVar("M", bound=Member)


class DeclarationMember(NamedTuple):
    """A declaration of a trader."""

    declaration: str
    declarant: str
    """Keyed hash of who lodged it."""

    @property
    def version(self) -> int:
        """One member stands for all versions."""
        return 1

    def encode(self) -> str:
        """Return what is written to Redis."""
        return SEPARATOR.join(self)

    @classmethod
    def decode(cls, member: bytes) -> Self:
        """Read a member from Redis."""
        declaration, declarant = member.decode().split(SEPARATOR)
        return cls(_digest(declaration), _digest(declarant))


class ConsignmentMember(NamedTuple):
    """A consignment from a seller to an importer."""

    declaration: str
    version: int
    value: float
    """0 for one above the de minimis value, or unknown. Unit: EUR."""

    def encode(self) -> str:
        """Return what is written to Redis."""
        return SEPARATOR.join((self.declaration, str(self.version), repr(self.value)))

    @classmethod
    def decode(cls, member: bytes) -> Self:
        """Read a member from Redis."""
        declaration, version, value = member.decode().split(SEPARATOR)
        return cls(_digest(declaration), int(version), within(float(value), MOST_EUR))


class PriceMember(NamedTuple):
    """The unit price of a declaration's goods of one code: the median of its goods items."""

    declaration: str
    version: int
    seller: str
    """Keyed hash of the seller, as `Observation.traders` gives it."""
    importer: str
    """The same of the importer."""
    log_price: float
    """Unit: log EUR/kg."""

    def encode(self) -> str:
        """Return what is written to Redis."""
        return SEPARATOR.join(
            (self.declaration, str(self.version), self.seller, self.importer, repr(self.log_price))
        )

    @classmethod
    def decode(cls, member: bytes) -> Self:
        """Read a member from Redis."""
        declaration, version, seller, importer, log_price = member.decode().split(SEPARATOR)
        return cls(
            _digest(declaration),
            int(version),
            _digest(seller),
            _digest(importer),
            within(float(log_price), MOST_NATS),
        )


class PhotoMember(NamedTuple):
    """The use of a photo for a declaration's goods of one heading."""

    declaration: str
    version: int
    perceptual_hash: int
    """64 bits."""
    seller: str
    """Keyed hash of the seller, as `Observation.traders` gives it."""
    importer: str
    """The same of the importer."""
    log_price: float | None
    """Median of these goods items. Unit: log EUR/kg."""
    heading: str
    """HS heading (4 digits) that was declared."""
    declaration_id: str
    """As inspectors may read it."""

    def encode(self) -> str:
        """Return what is written to Redis."""
        return SEPARATOR.join(
            (
                self.declaration,
                str(self.version),
                f"{self.perceptual_hash:016x}",
                self.seller,
                self.importer,
                "" if self.log_price is None else repr(self.log_price),
                without_separator(self.heading),
                without_separator(self.declaration_id),
            )
        )

    @classmethod
    def decode(cls, member: bytes) -> Self:
        """Read a member from Redis."""
        parts = member.decode().split(SEPARATOR)
        declaration, version, perceptual_hash, seller, importer, log_price, heading, id_ = parts
        return cls(
            _digest(declaration),
            int(version),
            int(_matching(PHOTO_HASH, perceptual_hash), 16),
            _digest(seller),
            _digest(importer),
            within(float(log_price), MOST_NATS) if log_price else None,
            heading,
            id_,
        )


def without_separator(text: str) -> str:
    """Return declared text so that it can stand in a member."""
    return text.replace(SEPARATOR, "_")


@lru_cache(maxsize=1 << 14)
def decoded(kind: type[M], member: bytes) -> M:
    """Read a member from Redis; declarations of the same goods read the same ones.

    Raises:
        ValueError: it is not as this version writes it.
    """
    read = kind.decode(member)
    if read.encode().encode() != member:
        raise ValueError("not as it is written")
    return read


def latest_of_others(members: Iterable[M], *, declaration: str) -> list[M]:
    """Return the members of the highest version of each declaration, without those of one.

    Args:
        members: in any order, which the result keeps.
        declaration: keyed hash of the id that is left out.
    """
    others = [member for member in members if member.declaration != declaration]
    latest: dict[str, int] = {}
    for member in others:
        latest[member.declaration] = max(member.version, latest.get(member.declaration, 0))
    return [member for member in others if member.version == latest[member.declaration]]


def _digest(text: str) -> str:
    return _matching(DIGEST, text)


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError("not a hash")
    return text
