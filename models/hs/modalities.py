"""What a goods item's text and photos say of its code: each alone, and both together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from models.hs.classifier import CodeEvidence, HsModel, Posterior
from models.vectors import Array


class ModalityPosteriors(NamedTuple):
    """What text and photos of one goods item say of its code, alone and together."""

    text: Posterior | None
    photo: Posterior | None
    both: Posterior | None
    agreement: float | None
    """As `HsModel.agreement` gives it."""
    title: Posterior | None = None
    """By the title, where the text is another."""


class GoodsEmbeddings(NamedTuple):
    """What is embedded of one goods item."""

    text: Array | None  # (D,)
    photos: Sequence[Array] = ()  # (I,) each
    title: Array | None = None  # (D,)
    """Of its title, where the text is another."""


class _Compared:
    """Texts, or photos, of some goods, each compared with every code once."""

    def __init__(self, vectors: Iterable[Array], compare: Callable[[Array], Array]) -> None:
        distinct = {id(vector): vector for vector in vectors}
        self._rows = {key: row for row, key in enumerate(distinct)}
        if distinct:
            self._vectors = np.stack(list(distinct.values()))
            self._evidence = compare(self._vectors)

    def of(self, vectors: Iterable[Array | None]) -> tuple[Array, Array]:
        """Return vectors, none of them None, in rows, and what they say of every code."""
        rows = [self._rows[id(vector)] for vector in vectors]
        return self._vectors[rows], self._evidence[rows]


def modality_posteriors(hs: HsModel, goods: Sequence[GoodsEmbeddings]) -> list[ModalityPosteriors]:
    """Ask the model about text alone, photos alone and both; of several photos the mean.

    Of each goods item what would be said of it alone, in a few large products.
    """
    texts = _Compared(
        (text for each in goods for text in (each.text, each.title) if text is not None),
        hs.text_experts.log_probabilities,
    )
    photos = _Compared(
        (photo for each in goods for photo in each.photos),
        hs.nomenclature.similarities_of_photo,
    )
    answers = [ModalityPosteriors(None, None, None, None)] * len(goods)
    for ask, has_text, has_photos in (
        (_ask_text, True, False),
        (_ask_photos, False, True),
        (_ask_both, True, True),
    ):
        places = [
            place
            for place, each in enumerate(goods)
            if (each.text is not None, bool(each.photos)) == (has_text, has_photos)
        ]
        if places:
            some = [goods[place] for place in places]
            for place, answer in zip(places, ask(hs, some, texts, photos), strict=True):
                answers[place] = answer
    titled = [place for place, each in enumerate(goods) if each.title is not None]
    if titled:
        titles = [GoodsEmbeddings(goods[place].title) for place in titled]
        for place, answer in zip(titled, _ask_text(hs, titles, texts, photos), strict=True):
            answers[place] = answers[place]._replace(title=answer.text)
    return answers


def _ask_text(
    hs: HsModel, goods: Sequence[GoodsEmbeddings], texts: _Compared, _: _Compared
) -> Iterator[ModalityPosteriors]:
    text, by_text = texts.of(each.text for each in goods)
    posteriors = hs.posteriors(text, None, evidence=CodeEvidence(by_text, None))
    for row in range(len(goods)):
        yield ModalityPosteriors(posteriors.mean(slice(row, row + 1)), None, None, None)


def _ask_photos(
    hs: HsModel, goods: Sequence[GoodsEmbeddings], _: _Compared, photos: _Compared
) -> Iterator[ModalityPosteriors]:
    photo, by_photo = photos.of(photo for each in goods for photo in each.photos)
    posteriors = hs.posteriors(None, photo, evidence=CodeEvidence(None, by_photo))
    for rows in _photo_rows(goods):
        yield ModalityPosteriors(None, posteriors.mean(rows), None, None)


def _ask_both(
    hs: HsModel, goods: Sequence[GoodsEmbeddings], texts: _Compared, photos: _Compared
) -> Iterator[ModalityPosteriors]:
    """All evidence together shows best how familiar the goods are.

    So its gate weight also serves for text alone and photos alone.
    """
    text, by_text = texts.of(each.text for each in goods)
    photo, by_photo = photos.of(photo for each in goods for photo in each.photos)
    of_item = np.repeat(range(len(goods)), [len(each.photos) for each in goods])
    of_both = hs.posteriors(text[of_item], photo, evidence=CodeEvidence(by_text[of_item], by_photo))
    both = [of_both.mean(rows) for rows in _photo_rows(goods)]
    weights = np.array([posterior.gate_weight for posterior in both])
    of_text = hs.posteriors(text, None, gate_weights=weights, evidence=CodeEvidence(by_text, None))
    of_photo = hs.posteriors(
        None, photo, gate_weights=weights[of_item], evidence=CodeEvidence(None, by_photo)
    )
    agreement = hs.agreement(text[of_item], photo)
    for row, rows in enumerate(_photo_rows(goods)):
        yield ModalityPosteriors(
            of_text.mean(slice(row, row + 1)),
            of_photo.mean(rows),
            both[row],
            float(agreement[rows].mean()),
        )


def _photo_rows(goods: Sequence[GoodsEmbeddings]) -> list[slice]:
    """Return where the photos of each goods item stand among all."""
    counts = [len(each.photos) for each in goods]
    return [slice(end - count, end) for end, count in zip(accumulate(counts), counts, strict=True)]
