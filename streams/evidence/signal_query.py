"""A declaration → its live signals: what is looked up for it, and what the replies mean."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from models.encoding.perceptual_hash import NEAR, distance
from models.risk.attributes import Attributes
from models.risk.signals import (
    DE_MINIMIS,
    MIN_PEERS,
    MIN_SPREAD,
    MIN_USES,
    USES_SPREAD,
    ItemSignals,
    LiveSignals,
    Peers,
    PhotoUse,
    Rate,
)
from streams.evidence.lookups import Lookups, Reply
from streams.evidence.members import (
    ConsignmentMember,
    DeclarationMember,
    PhotoMember,
    PriceMember,
    latest_of_others,
)
from streams.evidence.observations import Observation
from streams.redis.keys import SignalKeys

DAY: Final = 86_400
SPLIT: Final = 3 * DAY
YEAR: Final = 365 * DAY
LODGED: Final = 16
"""Declarations of a trader in a day that count of one declarant."""
USES_OF_TRADER: Final = 3
"""Declarations of one seller that count as uses of a photo: alone they are half of what the uses
of a photo can weigh (models.risk.likelihoods.USES)."""


@dataclass(frozen=True, slots=True)
class _ItemReplies:
    """The replies for a goods item."""

    heading: str
    """Empty where no code is declared."""
    peers: tuple[Reply[list[PriceMember]], ...]
    """Prices of the code and origin, then of the code alone; none without a code."""
    photos: tuple[tuple[int, Reply[list[PhotoMember]]], ...]
    """Perceptual hash of each photo, and the uses of photos that may be near it."""
    rates: Mapping[str, Reply[Rate]]


class SignalQuery:
    """The look-ups for a declaration. None sees beyond its arrival."""

    def __init__(self, keys: SignalKeys, observation: Observation, lookups: Lookups) -> None:
        """Add the commands; `signals` reads the replies once `lookups` are executed."""
        self._keys = keys
        self._observation = observation
        self._id_hash = keys.digest(observation.declaration.declaration_id)
        self._seller, _ = observation.traders(keys)
        self._at = observation.at
        importer, seller = observation.importer, observation.seller
        self._importer_day, self._seller_day = (
            lookups.newest(DeclarationMember, key, until=self._at, within=DAY)
            for key in (keys.importer(importer), keys.seller(seller))
        )
        self._consignments = lookups.newest_of_shards(
            ConsignmentMember, keys.pair(importer, seller), until=self._at, within=SPLIT
        )
        self._items = [
            self._ask(lookups, attributes, photos) for _, attributes, photos in observation.items()
        ]

    def _ask(self, lookups: Lookups, attributes: Attributes, photos: Iterable[int]) -> _ItemReplies:
        keys, hs6 = self._keys, attributes.hs6
        price_sets = (keys.prices(hs6, attributes.origin), keys.prices(hs6)) if hs6 else ()
        return _ItemReplies(
            attributes.heading,
            tuple(
                lookups.newest_of_shards(PriceMember, shards, until=self._at)
                for shards in price_sets
            ),
            tuple(
                (
                    photo,
                    lookups.newest_of_shards(PhotoMember, *keys.photo_bands(photo), until=self._at),
                )
                for photo in photos
            ),
            {
                name: lookups.rate(history, before=self._at, within=YEAR)
                for name, history in keys.histories(attributes).items()
            },
        )

    def signals(self) -> LiveSignals:
        """Return the signals; the look-ups must be executed."""
        consignments = latest_of_others(self._consignments(), declaration=self._id_hash)
        small = [other.value for other in consignments if 0 < other.value <= DE_MINIMIS]
        items = [self._item_signals(item) for item in self._items]
        of_importer = self._others(self._importer_day())
        beyond = len(self._observation.declaration.goods_items) - len(items)
        return LiveSignals(
            items=(*items, *[ItemSignals()] * beyond),
            importer_day=len(of_importer),
            seller_day=len(self._others(self._seller_day())),
            importer_day_ignored=sum(
                max(0, lodged - LODGED) for lodged in Counter(of_importer.values()).values()
            ),
            small_count=len(small),
            small_value=round(math.fsum(small), 2),
            arrived=self._at,
        )

    def _others(self, members: Iterable[DeclarationMember]) -> dict[str, str]:
        """Return a trader's other declarations → who lodged each."""
        others = latest_of_others(members, declaration=self._id_hash)
        return {member.declaration: member.declarant for member in others}

    def _item_signals(self, item: _ItemReplies) -> ItemSignals:
        peers = (
            _peers(latest_of_others(prices(), declaration=self._id_hash)) for prices in item.peers
        )
        uses = [self._photo_use(item.heading, photo, near()) for photo, near in item.photos]
        rates = {name: rate() for name, rate in item.rates.items()}
        return ItemSignals(
            price=next((some for some in peers if some is not None), None),
            photo=max(uses, key=lambda use: use.other_heading, default=None),
            rates={name: rate for name, rate in rates.items() if rate.inspected},
        )

    def _photo_use(self, heading: str, photo: int, members: Iterable[PhotoMember]) -> PhotoUse:
        latest = latest_of_others(members, declaration=self._id_hash)
        uses = [use for use in latest if distance(use.perceptual_hash, photo) <= NEAR]
        # Where no code was declared, then or now, headings cannot be compared.
        coded = [use for use in uses if use.heading and heading]
        elsewhere = [use for use in coded if use.heading != heading]
        here = [use for use in coded if use.heading == heading]
        return PhotoUse(
            same_heading=_bounded(here),
            other_heading=_bounded(elsewhere),
            other_trader=_bounded(use for use in uses if use.seller != self._seller),
            price=_peers(here, least=MIN_USES, spread=USES_SPREAD),
            example=elsewhere[0].declaration_id if elsewhere else "",
        )


def _peers(
    members: Iterable[PriceMember | PhotoMember],
    *,
    least: int = MIN_PEERS,
    spread: float = MIN_SPREAD,
) -> Peers | None:
    """Summarise unit prices, of which no seller and no importer has more than a bounded share."""
    priced = [member for member in members if member.log_price is not None]
    return Peers.of_traders(
        [member.log_price for member in priced if member.log_price is not None],
        [member.seller for member in priced],
        [member.importer for member in priced],
        least=least,
        spread=spread,
    )


def _bounded(uses: Iterable[PhotoMember]) -> int:
    """Count the declarations that used a photo, at most `USES_OF_TRADER` of each seller."""
    by_seller = defaultdict[str, set[str]](set)
    for use in uses:
        by_seller[use.seller].add(use.declaration)
    return sum(min(len(declarations), USES_OF_TRADER) for declarations in by_seller.values())
