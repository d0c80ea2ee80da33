"""A model of codes → one whose parameters or labels are shuffled (Adebayo et al., NeurIPS 2018)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.encoding.backends import Backend
from models.hs.classifier import HsModel
from models.hs.text_experts import Head
from models.vectors import Array


@dataclass(frozen=True, slots=True)
class _Shuffled:
    """A network whose inputs and outputs are permuted."""

    network: Backend
    text: NDArray[np.int64]
    photo: NDArray[np.int64]
    scores: NDArray[np.int64]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        permuted = dict(inputs)
        permuted["text"] = inputs["text"][:, self.text]
        permuted["photo"] = inputs["photo"][:, self.photo]
        return self.network.run(permuted)[:, self.scores]


def with_parameters_shuffled(hs: HsModel, dice: np.random.Generator) -> HsModel:
    """Return a model that reads the embeddings' dimensions in another order."""
    index, nomenclature = hs.index, hs.nomenclature
    text = dice.permutation(index.text_projection.centre.size)
    photo = dice.permutation(index.photo_projection.centre.size)
    general = dice.permutation(nomenclature.lines.shape[1])
    weights, biases = nomenclature.classifier
    features = dice.permutation(weights.shape[1])
    experts = hs.text_experts
    ngrams = dice.permutation(experts.ngrams.weights.shape[1])
    return replace(
        hs,
        text_experts=replace(
            experts,
            meaning=replace(experts.meaning, weights=experts.meaning.weights[:, text]),
            ngrams=replace(experts.ngrams, weights=experts.ngrams.weights[:, ngrams]),
            projection=replace(experts.projection, axes=experts.projection.axes[:, text]),
        ),
        network=_Shuffled(hs.network, text, photo, np.arange(len(hs.trained_codes))),
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
            classifier=(weights[:, features], biases),
        ),
    )


def with_labels_shuffled(hs: HsModel, dice: np.random.Generator) -> HsModel:
    """Return a model whose codes are permuted."""
    index, nomenclature = hs.index, hs.nomenclature
    goods, lines = dice.permutation(len(index.codes)), dice.permutation(len(nomenclature.lines))
    unchanged = (
        np.arange(index.text_projection.centre.size),
        np.arange(index.photo_projection.centre.size),
    )
    experts, codes = hs.text_experts, dice.permutation(len(hs.codes))
    return replace(
        hs,
        text_experts=replace(
            experts,
            meaning=Head(experts.meaning.weights[codes], experts.meaning.bias[codes]),
            ngrams=Head(experts.ngrams.weights[codes], experts.ngrams.bias[codes]),
            past_texts=experts.past_texts[dice.permutation(len(experts.past_texts))],
        ),
        network=_Shuffled(hs.network, *unchanged, dice.permutation(len(hs.trained_codes))),
        index=replace(index, texts=index.texts[goods], photos=index.photos[goods]),
        nomenclature=replace(nomenclature, lines=nomenclature.lines[lines]),
    )
