"""A declaration → what of it is kept for later ones to compare with: members of sets in Redis.

To observe a declaration again changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from models.risk.attributes import Attributes, identified
from models.risk.prices import declared_log_unit_price
from models.risk.signals import DE_MINIMIS
from schemas.records import Declaration, GoodsItem
from streams.evidence.members import ConsignmentMember, PhotoMember, PriceMember
from streams.redis.keys import SignalKeys

ITEMS: Final = 32
"""Goods items of a declaration that are looked at."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A declaration that came, with what the signals need of it."""

    event_id: str
    """Of this event and its content."""
    declaration: Declaration
    attributes: tuple[Attributes, ...]
    """Of each goods item."""
    photos: tuple[tuple[int, ...], ...]
    """Of each goods item: the perceptual hashes of its photos."""

    @property
    def at(self) -> float:
        """Acceptance time. Unit: s since 1970-01-01T00:00Z."""
        return self.declaration.acceptance_time.timestamp()

    @property
    def importer(self) -> str:
        """Identification of the importer; empty for nobody."""
        return identified(self.declaration.importer)

    @property
    def seller(self) -> str:
        """Identification of the seller; empty for nobody."""
        return identified(self.declaration.seller)

    def items(self) -> Iterator[tuple[GoodsItem, Attributes, tuple[int, ...]]]:
        """Yield each of the first `ITEMS` goods items, with its attributes and photos' hashes."""
        items = self.declaration.goods_items
        yield from zip(items[:ITEMS], self.attributes, self.photos, strict=False)


def set_members(keys: SignalKeys, observation: Observation) -> Iterator[tuple[str, str]]:
    """Yield what is kept of a declaration: key of the set, and member."""
    declaration = observation.declaration
    version = declaration.version
    id_hash = keys.digest(declaration.declaration_id)
    importer, seller = observation.importer, observation.seller
    if importer:
        yield keys.importer(importer), id_hash
    if seller:
        yield keys.seller(seller), id_hash
    value = small_value(declaration)
    # An amendment may raise the value: it must be kept too, or the first version would count on.
    if importer and seller and (value is not None or version > 1):
        consignment = ConsignmentMember(id_hash, version, value or 0.0)
        yield keys.pair(importer, seller), consignment.encode()
    for item, attributes, photos in observation.items():
        number, price = str(item.sequence_number), declared_log_unit_price(item)
        if price is not None and attributes.hs6:
            member = PriceMember(id_hash, number, version, price).encode()
            yield keys.prices(attributes.hs6, attributes.origin), member
            yield keys.prices(attributes.hs6), member
        for photo in photos:
            member = PhotoMember(
                id_hash,
                number,
                version,
                photo,
                keys.digest(seller),
                price,
                attributes.heading,
                declaration.declaration_id,
            ).encode()
            for key in keys.photo_bands(photo):
                yield key, member


def inspection_histories(keys: SignalKeys, observation: Observation) -> dict[str, list[str]]:
    """Return goods item's sequence number → the histories that an inspection of it counts for."""
    return {
        str(item.sequence_number): list(keys.histories(attributes).values())
        for item, attributes, _ in observation.items()
    }


def small_value(declaration: Declaration) -> float | None:
    """Return the value of a consignment of at most DE_MINIMIS; None of others. Unit: EUR."""
    amounts = [item.item_amount for item in declaration.goods_items]
    if any(item.item_currency != "EUR" for item in declaration.goods_items):
        return None
    value = float(sum(amount for amount in amounts if amount is not None))
    return value if all(amounts) and 0 < value <= DE_MINIMIS else None
