"""What is observed of a declaration, and what is asked about it: sets in Redis, and their members.

Members are observed again without effect. A set keeps the newest; each look-up is bounded.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio.client import Pipeline

from models.encoding.perceptual_hash import NEAR, distance
from models.risk.attributes import Attributes, histories, identified
from models.risk.prices import declared_log_unit_price
from models.risk.signals import (
    DE_MINIMIS,
    MIN_USES,
    USES_SPREAD,
    ItemSignals,
    LiveSignals,
    Peers,
    PhotoUse,
    Rate,
)
from schemas.records import Declaration, GoodsItem

FORMAT: Final = 1
"""Raise it when a record or a member changes its meaning: older ones are then not read."""
ITEMS: Final = 32
"""Goods items of a declaration that are looked up."""
READ: Final = 128
"""Newest members that one look-up reads."""
DAY: Final = 86_400
SPLIT: Final = 3 * DAY
YEAR: Final = 365 * DAY
BAND_BITS: Final = 16
"""Four bands: hashes that differ in at most 3 of 64 bits are equal in one of them."""
SEPARATOR: Final = "|"
Answer = Any


@dataclass(frozen=True, slots=True)
class Observed:
    """A declaration that came."""

    event_id: str
    """Of this event and its content."""
    declaration: Declaration
    attributes: tuple[Attributes, ...]
    """Of each goods item."""
    photos: tuple[tuple[int, ...], ...]
    """Of each goods item: the perceptual hashes of its photos."""


class Keys:
    """Names of the sets. Whatever comes from a declaration appears as a keyed hash alone."""

    def __init__(self, key: bytes) -> None:
        """Take the key; a ValueError tells that it has not 1 to 64 bytes."""
        if not 0 < len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise ValueError("The pseudonym key has not 1 to 64 bytes: set REDLANE_PSEUDONYM_KEY.")
        self._key = key

    def of(self, name: str, *values: str) -> str:
        """Return the key of a set."""
        return f"signals:{FORMAT}:{name}:{self.digest(*values)}"

    def digest(self, *values: str) -> str:
        """Return the hash of values; how they are cut takes part."""
        content = json.dumps(values).encode()
        return hashlib.blake2b(content, digest_size=12, key=self._key).hexdigest()

    def record(self, event_id: str) -> str:
        """Return the key of an event's signals."""
        return f"signals:{FORMAT}:record:{event_id}"

    def inspected(self, declaration_id: str) -> str:
        """Return the key of what is rated of a declaration, by goods item."""
        return self.of("declaration", declaration_id)

    def rated(self, one: Observed) -> dict[str, list[str]]:
        """Return what past inspections are counted by: item's sequence number → names of sets."""
        items = zip(one.declaration.goods_items[:ITEMS], one.attributes, strict=False)
        return {str(item.sequence_number): list(self.rates(of).values()) for item, of in items}

    def rates(self, attributes: Attributes) -> dict[str, str]:
        """Return HISTORIES → the end of its sets' names."""
        found = histories(attributes)
        return {name: f"{name}:{self.digest(*values)}" for name, values in found.items()}


def rate_keys(rated: str) -> tuple[str, str]:
    """Return the sets of the inspected and of the irregular goods items, of one of `Keys.rated`."""
    return f"signals:{FORMAT}:inspected:{rated}", f"signals:{FORMAT}:irregular:{rated}"


def observations(keys: Keys, one: Observed) -> Iterator[tuple[str, float, str]]:
    """Yield what is observed of a declaration: set, score (acceptance time) and member."""
    declaration = one.declaration
    id_, version, at = (
        declaration.declaration_id,
        declaration.version,
        declaration.acceptance_time.timestamp(),
    )
    who = keys.digest(id_)
    importer, seller = traders(declaration)
    for name, trader in (("importer", importer), ("seller", seller)):
        if trader:
            yield keys.of(name, trader), at, who
    value = small_value(declaration)
    # An amendment may raise the value: it must be seen, or the first version would stay.
    if importer and seller and (value is not None or version > 1):
        member = SEPARATOR.join((who, str(version), repr(value or 0.0)))
        yield keys.of("pair", importer, seller), at, member
    shown = zip(declaration.goods_items[:ITEMS], one.photos, strict=False)
    for item, photos in shown:
        place = SEPARATOR.join((who, str(item.sequence_number), str(version)))
        price = log_price(item)
        if price is not None:
            member = SEPARATOR.join((place, repr(price)))
            yield keys.of("price", item.commodity_code[:6], item.country_of_origin), at, member
            yield keys.of("price", item.commodity_code[:6]), at, member
        for photo in photos:
            member = SEPARATOR.join(
                (
                    place,
                    f"{photo:016x}",
                    keys.digest(seller),
                    "" if price is None else repr(price),
                    _heading(item),
                    id_.replace(SEPARATOR, "_"),
                )
            )
            for key in bands(keys, photo):
                yield key, at, member


def bands(keys: Keys, photo: int) -> list[str]:
    """Return the sets in which near duplicates of a photo are found."""
    mask = (1 << BAND_BITS) - 1
    return [
        keys.of("photo", str(band), f"{(photo >> band * BAND_BITS) & mask:04x}")
        for band in range(64 // BAND_BITS)
    ]


class Question:
    """What is asked for one declaration, and what the answers say."""

    def __init__(self, keys: Keys, one: Observed) -> None:
        self._keys = keys
        self._one = one
        self._at = one.declaration.acceptance_time.timestamp()
        self._who = keys.digest(one.declaration.declaration_id)
        self._items = list(
            zip(one.declaration.goods_items[:ITEMS], one.attributes, one.photos, strict=False)
        )

    def ask(self, pipeline: Pipeline) -> int:
        """Add the commands; returns how many. None looks beyond the acceptance time."""
        before = len(pipeline)
        importer, seller = traders(self._one.declaration)
        for name, trader in (("importer", importer), ("seller", seller)):
            pipeline.zcount(self._keys.of(name, trader), self._at - DAY, self._at)
            pipeline.zscore(self._keys.of(name, trader), self._who)
        self._newest(pipeline, self._keys.of("pair", importer, seller), within=SPLIT)
        for item, attributes, photos in self._items:
            code, origin = item.commodity_code[:6], item.country_of_origin
            self._newest(pipeline, self._keys.of("price", code, origin))
            self._newest(pipeline, self._keys.of("price", code))
            for photo in photos:
                for key in bands(self._keys, photo):
                    self._newest(pipeline, key)
            for rated in self._keys.rates(attributes).values():
                for key in rate_keys(rated):
                    pipeline.zcount(key, self._at - YEAR, f"({self._at}")
        return len(pipeline) - before

    def _newest(self, pipeline: Pipeline, key: str, within: float = math.inf) -> None:
        pipeline.zrevrangebyscore(key, self._at, self._at - within, start=0, num=READ)

    def signals(self, answers: Sequence[Answer]) -> LiveSignals:
        """Read the answers, in the order asked."""
        rest = iter(answers)
        importer_day, seller_day = (self._day(next(rest), next(rest)) for _ in range(2))
        pair = self._others(next(rest), place=1)
        small = [float(value) for *_, value in pair if 0 < float(value) <= DE_MINIMIS]
        return LiveSignals(
            items=tuple(self._item(*item, lambda: next(rest)) for item in self._items)
            + (ItemSignals(),) * (len(self._one.declaration.goods_items) - len(self._items)),
            importer_day=importer_day,
            seller_day=seller_day,
            small_count=len(small),
            small_value=round(math.fsum(small), 2),
        )

    def _day(self, count: int, own: float | None) -> int:
        """Return how many others a count tells of.

        It includes this declaration, unless another version in the micro-batch gave it another
        time, or newer ones took its place.
        """
        return count - (own is not None and self._at - DAY <= own <= self._at)

    def _item(
        self,
        item: GoodsItem,
        attributes: Attributes,
        photos: Sequence[int],
        answer: Callable[[], Answer],
    ) -> ItemSignals:
        near, wide = (self._others(answer(), place=2) for _ in range(2))
        peers = (Peers.of(float(price) for *_, price in some) for some in (near, wide))
        uses = [
            self._use(item, photo, [answer() for _ in bands(self._keys, photo)]) for photo in photos
        ]
        counts = {name: Rate(answer(), answer()) for name in self._keys.rates(attributes)}
        return ItemSignals(
            price=next((one for one in peers if one is not None), None),
            photo=max(uses, key=lambda use: use.other_heading, default=None),
            rates={name: rate for name, rate in counts.items() if rate.inspected},
        )

    def _use(self, item: GoodsItem, photo: int, found: Sequence[Sequence[bytes]]) -> PhotoUse:
        members = dict.fromkeys(member for some in found for member in some)
        # First by photo, then by goods item: another photo of the item must not hide this one.
        near = (
            one
            for one in members
            if distance(int(one.split(SEPARATOR.encode())[3], 16), photo) <= NEAR
        )
        uses = self._others(near, place=2)
        _, seller = traders(self._one.declaration)
        elsewhere = [one for one in uses if one[6] != _heading(item)]
        here = (one for one in uses if one[6] == _heading(item))
        return PhotoUse(
            same_heading=len(uses) - len(elsewhere),
            other_heading=len(elsewhere),
            other_trader=sum(one[4] != self._keys.digest(seller) for one in uses),
            price=Peers.of(
                (float(one[5]) for one in here if one[5]), least=MIN_USES, spread=USES_SPREAD
            ),
            example=elsewhere[0][7] if elsewhere else "",
        )

    def _others(self, members: Iterable[bytes], *, place: int) -> list[list[str]]:
        """Return the parts of members of other declarations, each in its highest version.

        Args:
            members: the newest first.
            place: where the version stands; what comes before tells the members apart.
        """
        newest: dict[tuple[str, ...], list[str]] = {}
        for member in members:
            parts = member.decode().split(SEPARATOR)
            if parts[0] != self._who:
                known = newest.setdefault(tuple(parts[:place]), parts)
                if int(parts[place]) > int(known[place]):
                    newest[tuple(parts[:place])] = parts
        return list(newest.values())


def traders(declaration: Declaration) -> tuple[str, str]:
    """Return who imports and who sells; empty for nobody."""
    return identified(declaration.importer), identified(declaration.seller)


def small_value(declaration: Declaration) -> float | None:
    """Return the value of a consignment of at most DE_MINIMIS; None of others. Unit: EUR."""
    amounts = [item.item_amount for item in declaration.goods_items]
    if any(item.item_currency != "EUR" for item in declaration.goods_items):
        return None
    value = float(sum(amount for amount in amounts if amount is not None))
    return value if all(amounts) and 0 < value <= DE_MINIMIS else None


def log_price(item: GoodsItem) -> float | None:
    """Return the logarithm of the unit price; None where it is not known. Unit: log EUR/kg."""
    return declared_log_unit_price(item)


def _heading(item: GoodsItem) -> str:
    return item.commodity_code[:4].replace(SEPARATOR, "_")
