"""Which HS subheading are these goods? From text, photo or both, over the whole nomenclature.

Each modality has two experts: similarity to the nomenclature's texts, which knows every code, and
a head learned on goods of known code, which knows only theirs. How much the head is heard depends
on how near the goods lie to what it has seen: a head that never saw a laptop must not judge one.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array = NDArray[np.float32]
FLOOR: Final = 1e-7
"""Least probability of a code: no evidence rules a code out."""


HEAD_ARRAYS: Final = ("centre", "weights", "biases", "means")


def unit(vectors: NDArray[Any]) -> Array:
    """Scale vectors (..., D) to length 1."""
    scaled: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled.astype(np.float32)


def softmax(logits: Array) -> Array:
    """Return probabilities along the last axis."""
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = exp / exp.sum(axis=-1, keepdims=True)
    return shares


@dataclass(frozen=True, slots=True)
class Belief:
    """What one modality says of the code."""

    probabilities: Array  # (C,)
    familiar: float
    """How far a head that knows such goods was heard, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Head:
    """A softmax regression on the embeddings of one modality, and where it may be heard."""

    centre: Array  # (D,): mean embedding of the goods it was learned on
    weights: Array  # (K, D)
    biases: Array  # (K,)
    means: Array  # (K, D): of each code's embeddings as `seen`, of length 1
    columns: NDArray[np.int64]  # (K,): the codes' places in the nomenclature
    chapters: NDArray[np.bool_]  # (C,): the codes in the known codes' chapters
    gate: tuple[float, float, float]
    """Two slopes and an offset: what `nearness` returns → log-odds that the code is known."""

    def seen(self, vector: NDArray[Any]) -> Array:
        """Return embeddings (..., D) as the head sees them: centred, of length 1.

        Photos in the wild have longer features than photos on white, which would make it sure of
        what it never saw.
        """
        return unit(vector - self.centre)

    def nearness(self, vector: Array, everywhere: Array) -> tuple[float, float]:
        """Return how near the goods are to what the head has seen.

        Args:
            vector: the goods' embedding (D,).
            everywhere: probabilities (C,) by the nomenclature's texts.

        Returns:
            Cosine with the nearest known code's mean, and the probability of its chapters.
        """
        nearest = float((self.means @ self.seen(vector)).max())
        return nearest, float(everywhere[self.chapters].sum())

    def trust(self, vector: Array, everywhere: Array) -> float:
        """Return how far the head is heard, 0 to 1: what its odds of knowing exceed even ones.

        Below even odds it is silent: sure of one code where the nomenclature's texts are spread
        over many, even a small share of it would outvote them.
        """
        nearest, known = self.nearness(vector, everywhere)
        by_mean, by_chapter, offset = self.gate
        probability = float(1 / (1 + np.exp(-(by_mean * nearest + by_chapter * known + offset))))
        return max(0.0, 2 * probability - 1)

    def probabilities(self, vector: Array, codes: int) -> Array:
        """Return probabilities (codes,): nothing outside the known codes."""
        spread = np.zeros(codes, np.float32)
        spread[self.columns] = softmax(self.weights @ self.seen(vector) + self.biases)
        return spread

    @classmethod
    def of(
        cls,
        codes: tuple[str, ...],
        known: Iterable[str],
        arrays: Mapping[str, NDArray[Any]],
        gate: tuple[float, float, float],
    ) -> Self:
        """Take a head of the `known` codes from its arrays: centre, weights, biases and means."""
        known = tuple(known)
        place = {code: number for number, code in enumerate(codes)}
        seen = {code[:2] for code in known}
        return cls(
            **{name: arrays[name].astype(np.float32) for name in HEAD_ARRAYS},
            columns=np.array([place[code] for code in known]),
            chapters=np.array([code[:2] in seen for code in codes]),
            gate=gate,
        )


@dataclass(frozen=True, slots=True)
class HsModel:
    """The experts and how they are joined; embeddings in, probabilities out."""

    codes: tuple[str, ...]  # (C,), sorted
    line_starts: NDArray[np.int64]  # (C,): each code's first nomenclature line
    lines: Array  # (L, D): the lines' embeddings, centred, of length 1
    centre: Array  # (D,): mean embedding of the lines
    words: Array  # (W, D): embeddings of the image classifier's words
    words_centre: Array  # (D,): their mean
    classifier: tuple[Array, Array]  # (W, I), (W,): photo features → words
    text_head: Head
    image_head: Head
    sharpness: tuple[float, float]
    """Factors on the similarity to nomenclature texts in the softmax: of text, of photo words."""
    photo_weight: float
    """Weight of the photo's log-probabilities beside the text's."""

    def says(self, photo: Array) -> Array:
        """Return the probability of each word of the image classifier: (I,) → (W,)."""
        weights, biases = self.classifier
        return softmax(weights @ photo + biases)

    def shown(self, photo: Array) -> Array:
        """Translate a photo into the text space, by the words of what it shows: (I,) → (D,).

        Centred by the words' own mean, as texts are by the nomenclature's: what all words have in
        common says nothing of the goods.
        """
        return unit(self.says(photo) @ self.words - self.words_centre)

    def meant(self, text: Array) -> Array:
        """Centre a goods text's embedding: (D,) → (D,), of length 1."""
        return unit(text - self.centre)

    def agreement(self, text: Array, photo: Array) -> float:
        """Return how far the photo shows what the text says: a log-overlap, at most 0.

        The overlap (Bhattacharyya coefficient) of the words that the photo says and those that the
        text is near to.
        """
        near = unit(self.words - self.words_centre) @ self.meant(text)  # (W,)
        read = softmax(self.sharpness[0] * near)
        return float(np.log(np.sqrt(read * self.says(photo)).sum()))

    def similarities(self, vector: Array) -> Array:
        """Return each code's similarity to what is `shown` or `meant`: (D,) → (C,)."""
        near = self.lines @ vector  # (L,)
        best: Array = np.maximum.reduceat(near, self.line_starts)
        return best

    def from_text(self, text: Array) -> Belief:
        """Return what a goods text's embedding says."""
        by_text = softmax(self.sharpness[0] * self.similarities(self.meant(text)))
        return self._joined(by_text, self.text_head, text)

    def from_photo(self, photo: Array) -> Belief:
        """Return what a photo's embedding says."""
        by_words = softmax(self.sharpness[1] * self.similarities(self.shown(photo)))
        return self._joined(by_words, self.image_head, photo)

    def fused(self, text: Belief | None, photo: Belief | None) -> Array | None:
        """Join the modalities' probabilities (C,) that are there; None where none is."""
        if text is None or photo is None:
            one = photo if text is None else text
            return None if one is None else one.probabilities
        joined = np.log(text.probabilities) + self.photo_weight * np.log(photo.probabilities)
        return softmax(joined.astype(np.float32))

    def _joined(self, everywhere: Array, head: Head, vector: Array) -> Belief:
        trust = head.trust(vector, everywhere)
        known = head.probabilities(vector, len(self.codes))
        mixed = trust * known + (1 - trust) * everywhere + FLOOR
        return Belief((mixed / mixed.sum()).astype(np.float32), trust)


def load_nomenclature(directory: Path) -> dict[str, Any]:
    """Return the fields of an HsModel that are not learned, from a verified bundle."""
    names = json.loads((directory / "nomenclature.json").read_text())
    arrays = load_file(directory / "nomenclature.safetensors")
    codes, starts = np.unique(names["line_codes"], return_index=True)
    centre = arrays["lines"].mean(axis=0)
    return {
        "codes": tuple(map(str, codes)),
        "line_starts": starts,
        "lines": unit(arrays["lines"] - centre),
        "centre": centre,
        "words": arrays["words"],
        "words_centre": arrays["words"].mean(axis=0),
        "classifier": (arrays["classifier.weights"], arrays["classifier.biases"]),
    }
