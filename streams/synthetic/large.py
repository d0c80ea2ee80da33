"""Clean consignments → one declaration of hundreds of goods items, to try what that costs."""

from dataclasses import replace
from itertools import islice
from typing import Final

from schemas.codec import encode
from schemas.records import ImageReference
from schemas.rules import MAX_GOODS_ITEMS
from streams.synthetic.irregularities import Consignment, Irregularities, Truth

KIND: Final = "clean"


def large(
    source: Irregularities, declaration_id: str, *, items: int = MAX_GOODS_ITEMS, photos: int = 1
) -> Consignment:
    """Join the goods items of clean consignments into one declaration, each text a different one.

    Args:
        source: of clean consignments alone.
        declaration_id: of the declaration.
        items: number of its goods items.
        photos: of each goods item: its own, then those of others.
    """
    parts = list(source.consignments(items))
    goods_items = list(
        islice((item for part in parts for item in part.declaration.goods_items), items)
    )
    references: list[ImageReference] = [item.images[0] for item in goods_items]
    declaration = replace(
        parts[0].declaration,
        declaration_id=declaration_id,
        data_set="H1",
        goods_items=tuple(
            replace(
                item,
                sequence_number=number,
                description=f"{item.description} {number}",
                images=tuple(references[(number - 1 + n) % items] for n in range(photos)),
            )
            for number, item in enumerate(goods_items, 1)
        ),
    )
    return Consignment(
        declaration,
        lambda schema_id: encode(declaration, schema_id),
        {key: photo for part in parts for key, photo in part.photos.items()},
        Truth(declaration_id, KIND, 0, ""),
    )
