"""A declaration → what of it is kept for later ones to compare with: members of sets in Redis.

To observe a declaration again changes nothing.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from models.risk.attributes import Attributes, identified
from models.risk.prices import declared_log_unit_price
from models.risk.signals import DE_MINIMIS
from schemas.records import Declaration, GoodsItem
from streams.evidence.members import (
    ConsignmentMember,
    DeclarationMember,
    PhotoMember,
    PriceMember,
)
from streams.redis.keys import SHARDS, SignalKeys, shard

ITEMS: Final = 32
"""Goods items of a declaration that are looked at."""
NEWEST: Final = 1024
"""Newest members that a set keeps, all its shards together."""
HEADINGS: Final = 4
"""Headings of a declaration under which the use of one photo is kept."""


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
    at: float
    """When it arrived: by the broker's clock, or ours. Unit: s since 1970-01-01T00:00Z."""

    @property
    def importer(self) -> str:
        """Identification of the importer; empty for nobody."""
        return identified(self.declaration.importer)

    @property
    def seller(self) -> str:
        """Identification of the seller; empty for nobody."""
        return identified(self.declaration.seller)

    def traders(self, keys: SignalKeys) -> tuple[str, str]:
        """Return the keyed hashes of seller and importer.

        Who is missing is taken for another party: else nobody would be a trader of his own, or one
        with all the others that are missing.
        """
        declarant = identified(self.declaration.declarant)
        seller = self.seller or self.importer or declarant
        return keys.digest(seller), keys.digest(self.importer or self.seller or declarant)

    def declarant(self, keys: SignalKeys) -> str:
        """Return the keyed hash of who lodged it; where nobody is named, of another party."""
        declarant = identified(self.declaration.declarant)
        return keys.digest(declarant or self.importer or self.seller)

    def items(self) -> Iterator[tuple[GoodsItem, Attributes, tuple[int, ...]]]:
        """Yield each of the first `ITEMS` goods items, with its attributes and photos' hashes."""
        items = self.declaration.goods_items
        yield from zip(items[:ITEMS], self.attributes, self.photos, strict=False)


class Kept(NamedTuple):
    """What is kept of a declaration."""

    key: str
    """Of the set."""
    member: str
    newest: int
    """Members that the set keeps."""


def set_members(keys: SignalKeys, observation: Observation) -> Iterator[Kept]:
    """Yield what is kept of a declaration.

    Its goods items of one code are one price, those of one heading one use of a photo: else a
    declaration of many items would speak for the whole market.
    """
    declaration = observation.declaration
    version = declaration.version
    id_hash = keys.digest(declaration.declaration_id)
    importer, seller = observation.importer, observation.seller
    lodged = DeclarationMember(id_hash, observation.declarant(keys)).encode()
    if importer:
        yield Kept(keys.importer(importer), lodged, NEWEST)
    if seller:
        yield Kept(keys.seller(seller), lodged, NEWEST)
    value = small_value(declaration)
    # An amendment may raise the value: it must be kept too, or the first version would count on.
    if importer and seller and (value is not None or version > 1):
        consignment = ConsignmentMember(id_hash, version, value or 0.0)
        shards = keys.pair(importer, seller)
        yield Kept(shard(shards, id_hash), consignment.encode(), NEWEST // SHARDS)
    traders = seller_hash, importer_hash = observation.traders(keys)
    for code, prices in _prices(observation).items():
        member = PriceMember(id_hash, version, *traders, statistics.median(prices)).encode()
        yield Kept(shard(keys.prices(*code), seller_hash), member, NEWEST // SHARDS)
    for (photo, heading), prices in _photo_uses(observation).items():
        member = PhotoMember(
            id_hash,
            version,
            photo,
            seller_hash,
            importer_hash,
            statistics.median(prices) if prices else None,
            heading,
            declaration.declaration_id,
        ).encode()
        for band in keys.photo_bands(photo):
            yield Kept(shard(band, seller_hash), member, NEWEST // SHARDS)


def _prices(observation: Observation) -> dict[tuple[str, ...], list[float]]:
    """Return code and origin, and code alone → unit prices. Unit: log EUR/kg."""
    prices = defaultdict[tuple[str, ...], list[float]](list)
    for item, attributes, _ in observation.items():
        price = declared_log_unit_price(item)
        if price is not None and attributes.hs6:
            prices[attributes.hs6, attributes.origin].append(price)
            prices[attributes.hs6,].append(price)
    return prices


def _photo_uses(observation: Observation) -> dict[tuple[int, str], list[float]]:
    """Return photo and heading → unit prices, for the first `HEADINGS` of each photo."""
    uses: dict[tuple[int, str], list[float]] = {}
    headings = Counter[int]()
    for item, attributes, photos in observation.items():
        price = declared_log_unit_price(item)
        for photo in dict.fromkeys(photos):
            use = photo, attributes.heading
            if use not in uses:
                headings[photo] += 1
                if headings[photo] > HEADINGS:
                    continue
            uses.setdefault(use, []).extend([] if price is None else [price])
    return uses


def inspection_histories(keys: SignalKeys, observation: Observation) -> dict[str, tuple[str, ...]]:
    """Return goods item's sequence number → the histories that an inspection of it counts for."""
    return {
        str(item.sequence_number): tuple(keys.histories(attributes).values())
        for item, attributes, _ in observation.items()
    }


def small_value(declaration: Declaration) -> float | None:
    """Return the value of a consignment of at most DE_MINIMIS; None of others. Unit: EUR."""
    amounts = [item.item_amount for item in declaration.goods_items]
    if any(item.item_currency != "EUR" for item in declaration.goods_items):
        return None
    value = float(sum(amount for amount in amounts if amount is not None))
    return value if all(amounts) and 0 < value <= DE_MINIMIS else None
