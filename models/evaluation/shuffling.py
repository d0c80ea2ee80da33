"""A model of codes → one whose parameters or labels are shuffled (Adebayo et al., NeurIPS 2018)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.encoding.backends import Backend
from models.hs.classifier import HsModel
from models.vectors import Array


@dataclass(frozen=True, slots=True)
class _Shuffled:
    """A network with its inputs and outputs in other places."""

    network: Backend
    text: NDArray[np.int64]
    photo: NDArray[np.int64]
    scores: NDArray[np.int64]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        given = dict(inputs)
        given["text"] = given["text"][:, self.text]
        given["photo"] = given["photo"][:, self.photo]
        return self.network.run(given)[:, self.scores]


def with_parameters_shuffled(hs: HsModel, dice: np.random.Generator) -> HsModel:
    """Return a model whose weights on the embeddings' dimensions changed places."""
    index, nomenclature = hs.index, hs.nomenclature
    text = dice.permutation(index.text_projection.centre.size)
    photo = dice.permutation(index.photo_projection.centre.size)
    general = dice.permutation(nomenclature.lines.shape[1])
    weights, biases = nomenclature.classifier
    seen = dice.permutation(weights.shape[1])
    return replace(
        hs,
        network=_Shuffled(hs.network, text, photo, np.arange(len(hs.known))),
        index=replace(
            index,
            text_projection=replace(
                index.text_projection, axes=index.text_projection.axes[:, text]
            ),
            photo_projection=replace(
                index.photo_projection, axes=index.photo_projection.axes[:, photo]
            ),
        ),
        nomenclature=replace(
            nomenclature,
            lines=nomenclature.lines[:, general],
            classifier=(weights[:, seen], biases),
        ),
    )


def with_labels_shuffled(hs: HsModel, dice: np.random.Generator) -> HsModel:
    """Return a model whose codes changed places."""
    index, nomenclature = hs.index, hs.nomenclature
    goods, lines = dice.permutation(len(index.codes)), dice.permutation(len(nomenclature.lines))
    here = (
        np.arange(index.text_projection.centre.size),
        np.arange(index.photo_projection.centre.size),
    )
    return replace(
        hs,
        network=_Shuffled(hs.network, *here, dice.permutation(len(hs.known))),
        index=replace(index, texts=index.texts[goods], photos=index.photos[goods]),
        nomenclature=replace(nomenclature, lines=nomenclature.lines[lines]),
    )
