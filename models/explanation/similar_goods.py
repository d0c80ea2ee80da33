"""Goods → the past goods of known code that resemble them most."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from models.hs.classifier import HsModel
from models.scoring.scorer import DIGITS
from models.vectors import Array, best
from schemas.records import SimilarGoods

SIMILAR: Final = 5


def similar_goods(
    hs: HsModel, text: Array | None, photos: Sequence[Array]
) -> Iterator[SimilarGoods]:
    """Yield the most similar past goods, the nearest first; none without text and photo.

    Args:
        hs: the model, with its past goods.
        text: embedding (D,), or None.
        photos: embeddings (I,); of several the mean cosine counts.
    """
    tuned = None if text is None else text[-hs.index.text_projection.centre.size :]
    if tuned is None and not photos:
        return
    cosines = np.mean([hs.index.similarities(tuned, photo) for photo in photos or (None,)], axis=0)
    for place in best(cosines, SIMILAR):
        code = int(hs.index.codes[place])
        number = int(place - np.searchsorted(hs.index.codes, code)) + 1
        yield SimilarGoods(
            reference=f"{hs.codes[code]}/{number}",
            hs6=hs.codes[code],
            similarity=round(float(cosines[place]), DIGITS),
        )
