"""What the scorer is given of a declaration, and what it answers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from models.encoding.encoders import Vector
from models.hs.modalities import GoodsEmbeddings
from models.risk.acceptance import accepted
from models.risk.attributes import Attributes
from models.risk.likelihoods import LikelihoodRatio
from models.risk.signals import LiveSignals, Peers
from models.risk.tariff import Tariff
from schemas.records import Declaration, GoodsItem, ItemAssessment


@dataclass(frozen=True, slots=True)
class ItemEvidence:
    """A goods item with its embeddings."""

    item: GoodsItem
    text: Vector | None
    """Of its description; of its title where that names no goods."""
    photos: tuple[Vector, ...]
    title: Vector | None = None
    """Of its title, where its description is read too."""

    @property
    def embeddings(self) -> GoodsEmbeddings:
        """What the model is asked about."""
        return GoodsEmbeddings(self.text, self.photos, self.title)

    @property
    def content(self) -> bytes:
        """Hash of the embeddings: equal for goods items of which the model says the same."""
        content = hashlib.blake2b(digest_size=16)
        for vector in (self.text, self.title, *self.photos):
            content.update(b"-" if vector is None else vector.tobytes())
        return content.digest()


@dataclass(frozen=True, slots=True)
class DeclarationEvidence:
    """A declaration with the evidence of each goods item, or of some, in the order declared."""

    declaration: Declaration
    """With all its goods items; prepared for comparison, see `models.risk.exchange.comparable`."""
    items: tuple[ItemEvidence, ...]
    live: LiveSignals | None = None
    """None where they are unavailable. Its items are those whose evidence is here."""
    tariff: Tariff = field(default_factory=Tariff)
    arrived: datetime | None = None
    """When the declaration's event arrived; None where it never was one."""

    @property
    def accepted(self) -> datetime:
        """When it was accepted, for all we know: its duties are those of then (Art. 85 UCC)."""
        return accepted(self.declaration.acceptance_time, self.arrived)

    def part(self, places: Sequence[int]) -> Self:
        """Return the evidence of some goods items."""
        live = None if self.live is None else self.live.part(places)
        return replace(self, items=tuple(self.items[place] for place in places), live=live)


@dataclass(frozen=True, slots=True)
class ItemContext:
    """What is known of a goods item besides its text and photos."""

    attributes: Attributes
    peers: Peers | None
    """Unit prices of comparable goods."""
    likelihood_ratios: Mapping[str, LikelihoodRatio]
    """Names of EXTERNAL → likelihood ratios; those without evidence are left out."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The risk of a declaration."""

    risk: float
    expected_revenue_at_risk: float
    """Unit: EUR."""
    items: tuple[ItemAssessment, ...]
    revenue_of_items: tuple[float, ...]
    """Of which the expected revenue at risk is the sum. Unit: EUR."""

    @classmethod
    def of(cls, items: Sequence[ItemAssessment], revenue: Sequence[float]) -> Self:
        """Join what is known of the goods items, in the order declared."""
        return cls(
            # The riskiest item speaks for all: items of one declaration share their trader, so
            # their risks do not multiply as independent ones would.
            risk=max(item.risk for item in items),
            expected_revenue_at_risk=round(sum(revenue), 2),
            items=tuple(items),
            revenue_of_items=tuple(revenue),
        )
