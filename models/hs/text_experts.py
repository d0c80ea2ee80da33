"""Which HS subheading does a goods text name? Three experts, over every code.

The network over the text's meaning reads what the words are about, in several languages. The one
over its n-grams reads brands, part numbers, and words that are misspelt or cut short. The past
texts of known code show how goods are worded, also those of rare codes; their index can grow
without training. How far to trust each was learned on texts of sources that none of them saw.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.encoding.text import NGRAMS
from models.hs.exemplars import Projection, from_whole, whole
from models.vectors import Array, dequantised, log_softmax, products

HEADS: Final = "heads.safetensors"
TEXTS: Final = "texts.safetensors"
MEANING_FACTOR: Final = np.float32(20.0)
"""Factor on the meaning's embedding, of length 1, before its head; as in training."""


@dataclass(frozen=True, slots=True)
class Head:
    """A linear classifier."""

    weights: Array  # (C, D)
    bias: Array  # (C,)

    def log_probabilities(self, vectors: Array) -> Array:
        """Classify embeddings: (..., D) → (..., C). Unit: nats."""
        return log_softmax(products(vectors, self.weights) + self.bias)


class Answers(NamedTuple):
    """What each expert says of texts."""

    meaning: Array  # (..., C), log-probabilities; unit: nats
    ngrams: Array  # (..., C), the same
    past_texts: Array  # (..., C), cosine with the nearest past text of each code

    def features(self) -> Array:
        """Return how sure each expert is, and which agree on the best code: (..., 7)."""
        first, second, third = (expert.argmax(axis=-1) for expert in self)
        features = [
            *(expert.max(axis=-1) for expert in self),
            first == second,
            first == third,
            second == third,
            np.ones(first.shape),
        ]
        return np.stack(features, axis=-1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Trust:
    """How far to trust the experts."""

    meaning: float
    """Weight of its log-probabilities."""
    ngrams: float
    """Weight of their log-probabilities."""
    past_texts: float
    """Weight of the cosine with the nearest past text of a code."""
    certainty: tuple[float, ...]
    """Weights of `Answers.features` → log of the factor on all of it."""

    def joined(self, answers: Answers) -> Array:
        """Return the codes' log-probabilities (..., C). Unit: nats.

        The sum of what the experts say, times a factor for each text, a temperature: less where
        they are unsure, where the nearest past text lies far, and where they differ.
        """
        total = (
            np.float32(self.meaning) * answers.meaning
            + np.float32(self.ngrams) * answers.ngrams
            + np.float32(self.past_texts) * answers.past_texts
        )
        weights = np.array(self.certainty, np.float32)
        factor: Array = np.exp((answers.features() * weights).sum(axis=-1, keepdims=True))
        return log_softmax(total * factor)


@dataclass(frozen=True)
class TextExperts:
    """The experts and how they are joined; embeddings in, probabilities out."""

    meaning: Head
    ngrams: Head
    codes: NDArray[np.int64]  # (M,): of the past texts, as places in the nomenclature, ascending
    past_texts: Array  # (M, d)
    projection: Projection
    trust: Trust

    @classmethod
    def load(cls, directory: Path, trust: Trust) -> Self:
        """Load the experts of a verified bundle."""
        heads, texts = load_file(directory / HEADS), load_file(directory / TEXTS)
        meaning, ngrams = (
            Head(
                dequantised(heads[f"{name}.weight"], heads[f"{name}.scale"]),
                heads[f"{name}.bias"].astype(np.float32),
            )
            for name in ("meaning", "ngrams")
        )
        return cls(
            meaning,
            ngrams,
            texts["codes"].astype(np.int64),
            from_whole(texts["texts"]),
            Projection(texts["centre"], texts["axes"].astype(np.float32)),
            trust,
        )

    def log_probabilities(self, text: Array) -> Array:
        """Return the codes' log-probabilities by texts: (..., D) → (..., C). Unit: nats."""
        return self.trust.joined(self.answers(text))

    def answers(self, text: Array) -> Answers:
        """Return what each expert says of texts (..., D)."""
        return Answers(
            self.meaning.log_probabilities(MEANING_FACTOR * text[..., NGRAMS:]),
            self.ngrams.log_probabilities(text[..., :NGRAMS]),
            self.cosines(text),
        )

    def cosines(self, text: Array) -> Array:
        """Return the cosine with the nearest past text of each code: (..., D) → (..., C)."""
        places, starts = self._groups
        nearest = np.maximum.reduceat(
            products(self.projection(text[..., NGRAMS:]), self.past_texts), starts, axis=-1
        )
        cosines = np.full((*text.shape[:-1], len(self.meaning.bias)), -1, np.float32)
        cosines[..., places] = nearest
        return cosines

    @cached_property
    def _groups(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The codes of the past texts, and where those of each begin."""
        return np.unique(self.codes, return_index=True)


def past_texts(
    codes: NDArray[np.int64], vectors: Array, projection: Projection
) -> dict[str, NDArray[Any]]:
    """Return the arrays of TEXTS: past texts (M, D) of codes (M,), near duplicates left out."""
    order = np.argsort(codes, kind="stable")
    codes, projected = codes[order], projection(vectors[order])
    _, starts = np.unique(codes, return_index=True)
    kept = np.concatenate(
        [
            start + _distinct(projected[start:end])
            for start, end in zip(starts, [*starts[1:], len(codes)], strict=True)
        ]
    )
    return {
        "codes": codes[kept].astype(np.int16),
        "texts": whole(projected[kept]),
        "centre": projection.centre.astype(np.float32),
        "axes": projection.axes.astype(np.float16, order="C"),
    }


DUPLICATE: Final = 0.95
"""Cosine from which a past text adds nothing to another of its code."""


def _distinct(vectors: Array) -> NDArray[np.int64]:
    """Return the places of vectors (N, d) that resemble none before them."""
    kept: list[int] = []
    for place, vector in enumerate(vectors):
        if not kept or (vectors[kept] @ vector).max() < DUPLICATE:
            kept.append(place)
    return np.array(kept)
