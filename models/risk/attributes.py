"""The declared attributes of a goods item, and what past inspections are counted by. Pure.

Nothing here is a vocabulary: a new trader, code or route has no past inspections, and that is all
that the model learns of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from models.hs.editions import SUBHEADING, current
from schemas.records import Declaration, GoodsItem, Party


def identified(party: Party | None) -> str:
    """Return a party's identification, without case and blanks; empty for nobody."""
    return "".join(party.identification.split()).upper() if party else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """The attributes of one goods item and of its declaration."""

    office: str
    declarant: str
    importer: str
    seller: str
    hs6: str
    """Of HS 2022; empty where no code is declared."""
    origin: str
    """ISO 3166-1 alpha-2, as the dispatch."""
    dispatch: str
    mode: str
    procedure: str
    regime: str
    """Tariff regime or preference that is claimed; empty where the declaration names none."""
    duty_rate: float | None
    """Unit: percent; None where it is unknown."""
    net_mass: float | None
    """Unit: kg."""
    amount: float | None
    """In any currency: only compared within one stream."""

    @property
    def heading(self) -> str:
        """The HS heading."""
        return self.hs6[:4]

    @property
    def chapter(self) -> str:
        """The HS chapter."""
        return self.hs6[:2]

    @classmethod
    def of(cls, declaration: Declaration, item: GoodsItem, duty_rate: float | None = None) -> Self:
        """Take the attributes from a declaration."""
        in_euro = item.item_amount is not None and item.item_currency == "EUR"
        return cls(
            office=declaration.declaration_office,
            declarant=identified(declaration.declarant),
            importer=identified(declaration.importer),
            seller=identified(declaration.seller),
            hs6=current(item.commodity_code)[:SUBHEADING],
            origin=item.country_of_origin,
            dispatch=declaration.country_of_dispatch,
            mode=declaration.mode_of_transport,
            procedure=declaration.procedure,
            regime="",
            duty_rate=duty_rate,
            net_mass=None if item.net_mass is None else float(item.net_mass),
            amount=float(item.item_amount or 0) if in_euro else None,
        )


HISTORIES: Final[Mapping[str, tuple[str, ...]]] = {
    "all": (),
    "importer": ("importer",),
    "seller": ("seller",),
    "declarant": ("declarant",),
    "office": ("office",),
    "code": ("hs6",),
    "origin": ("origin",),
    "code_origin": ("hs6", "origin"),
    "code_dispatch": ("hs6", "dispatch"),
    "route": ("hs6", "origin", "dispatch"),
    "heading_origin": ("heading", "origin"),
    "heading_dispatch": ("heading", "dispatch"),
    "chapter_origin": ("chapter", "origin"),
    "regime": ("hs6", "origin", "dispatch", "regime", "duty_rate"),
    "procedure": ("hs6", "origin", "procedure"),
    "mode": ("hs6", "origin", "mode"),
}
"""Name → the attributes that past inspections are counted by. The result of a search on the year
2020 of the Customs Declaration Datasets (first nine months → last three): routes of a code are the
best predictors."""


def histories(attributes: Attributes) -> dict[str, tuple[str, ...]]:
    """Return what past inspections of a goods item are counted by: name → values.

    Those with an empty first value are left out: missing importers are not one and the same.
    """
    keys = {}
    for name, fields in HISTORIES.items():
        values = tuple(str(getattr(attributes, field)) for field in fields)
        if not values or values[0]:
            keys[name] = values
    return keys
